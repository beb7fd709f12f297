"""Global memory: the tensors of a launch. Each storage lies alone in 1 TiB of virtual addresses, so that no stray
access lands in another tensor; what lies between the tensors of one storage is out of bounds too.
"""

import ctypes
from dataclasses import dataclass, field

import numpy as np

from nerd_fast.kernels.audit.ptx.datatypes import RAW
from nerd_fast.kernels.audit.ptx.shadow import Shadow

SPACING = 40  # bits of address for each storage


@dataclass
class Buffer:
    """One storage: its bytes, the part of them [low, high) that this launch was given, and its virtual address."""

    base: int
    data: np.ndarray
    granule: int
    shadow: Shadow | None
    name: str = ""
    low: int = 0
    high: int = 0
    views: dict = field(default_factory=dict)

    def view(self, width):
        """The bytes as numbers of this width."""
        if width not in self.views:
            self.views[width] = self.data[: len(self.data) // width * width].view(RAW[width])
        return self.views[width]


class Memory:
    """The tensors that kernels may touch, over one or several launches."""

    def __init__(self, checks=True):
        self.checks = checks
        self.buffers = []
        self._of_storage = {}
        self._unwritten = {}
        self._alive = []  # while a storage is known here no other may take its address

    def mark_unwritten(self, tensor):
        """Tells that nothing has written this tensor yet: no kernel may read from it what no kernel or torch wrote."""
        self._unwritten[tensor.untyped_storage().data_ptr()] = tensor, tensor._version
        self._alive.append(tensor)

    def begin_launch(self):
        """From here on only what is registered again may be touched."""
        for buffer in self.buffers:
            buffer.name, buffer.low, buffer.high = "", len(buffer.data), 0
            if buffer.shadow is not None:
                buffer.shadow.begin_launch()

    def register(self, tensor, name):
        """The virtual address of a tensor."""
        storage = tensor.untyped_storage()
        buffer = self._of_storage.get(storage.data_ptr())
        if buffer is None:
            buffer = self._new(tensor, storage)
        first = tensor.data_ptr() - storage.data_ptr()
        reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True)) + 1
        last = first + reach * tensor.element_size() if tensor.numel() else first
        buffer.low, buffer.high = min(buffer.low, first), max(buffer.high, last)
        buffer.name = buffer.name or name
        if buffer.shadow is not None and not self._is_unwritten(tensor):
            buffer.shadow.written[first // buffer.granule : -(-last // buffer.granule)] = True
        return buffer.base + first

    def _is_unwritten(self, tensor):
        marked, version = self._unwritten.get(tensor.untyped_storage().data_ptr(), (None, None))
        return marked is not None and marked._version == version

    def _new(self, tensor, storage):
        size = storage.nbytes()
        data = np.zeros(0, np.uint8)
        if size:
            data = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(storage.data_ptr()))
        granule = tensor.element_size()
        shadow = Shadow(-(-size // granule), False) if self.checks else None
        buffer = Buffer((len(self.buffers) + 1) << SPACING, data, granule, shadow, low=size)
        self.buffers.append(buffer)
        self._of_storage[storage.data_ptr()] = buffer
        self._alive.append(tensor)
        return buffer
