"""The state of the threads that run in lockstep: registers, shared memory, barriers passed, copies under way."""

import numpy as np

from nerd_fast.kernels.audit.ptx.datatypes import RAW, WARP, PtxError
from nerd_fast.kernels.audit.ptx.shadow import OF_BLOCK, Shadow

UNDEFINED = {4: 0x7FC0DEAD, 8: 0x7FC0DEAD7FC0DEAD}  # what stands in a register that nothing writes: NaN as a float


class Threads:
    """The threads of the blocks `blocks` (numbers in the grid) of one launch, all at once.

    A mask is a bool for each thread, None for all of them. `report` takes findings, `counts` may be None.
    """

    def __init__(self, launch, blocks):
        self.kernel, self.memory, self.parameters = launch.kernel, launch.memory, launch.parameters
        self.shared_size, self.report, self.counts = launch.shared, launch.report, launch.counts
        self.block_size = self.kernel.threads
        self.size = len(blocks) * self.block_size
        self.now = None  # the instruction that is executed
        lane = np.arange(self.size)
        self.block = np.repeat(np.asarray(blocks, np.int64), self.block_size)
        self.number = (self.block * self.block_size + lane % self.block_size).astype(np.int32)  # in the launch
        self.epoch = np.zeros(self.size, np.int32)
        self.registers = {name: self._undefined(name) for name in launch.undefined}
        self.special = {
            "%tid.x": (lane % self.block_size).astype(np.uint32),
            "%ctaid.x": self.block.astype(np.uint32),
            "%ntid.x": np.full(self.size, self.block_size, np.uint32),
            "%nctaid.x": np.full(self.size, launch.grid, np.uint32),
            "%laneid": (lane % WARP).astype(np.uint32),
        }
        self.copying, self.committed = [], []  # cp.async: pieces since the last commit, and groups before it
        stride = -(-max(self.shared_size, 1) // 16) * 16
        self.shared_base = (lane // self.block_size * stride).astype(np.int64)
        shared = np.full(stride * len(blocks), 0xFF, np.uint8)
        self._shared = {width: shared.view(RAW[width]) for width in (1, 2, 4, 8)}
        self.shared_granule = launch.shared_granule
        self.shared_shadow = Shadow(len(shared) // self.shared_granule, False) if self.memory.checks else None

    def read(self, name):
        try:
            return self.registers[name]
        except KeyError:
            raise PtxError(f"{self.now} reads {name}, which nothing has written") from None

    def write(self, name, value, mask):
        """Puts value (scalar or one for each thread) into a register, for the threads of the mask."""
        if np.ndim(value) == 0:
            value = np.full(self.size, value)
        if mask is not None:
            old = self.registers.get(name)
            value = np.where(mask, value, value.dtype.type(0) if old is None else old)
        self.registers[name] = value

    def shared(self, width):
        """Shared memory of all blocks as numbers of this width."""
        return self._shared[width]

    def _undefined(self, name):
        size = self.kernel.size_of(name)
        if size not in UNDEFINED:
            raise PtxError(f"{self.kernel.name}: no instruction writes {name}")
        return np.full(self.size, UNDEFINED[size], RAW[size])

    # What several threads do together

    def require_whole(self, ins, mask, size, what):
        """All or none of the threads of each warp or block must be there."""
        if mask is not None:
            groups = mask.reshape(-1, size)
            if (groups.any(1) & ~groups.all(1)).any():
                raise PtxError(f"{ins}: part of a {what} is missing")

    def pass_barrier(self, mask, of_block):
        new = ((self.epoch >> OF_BLOCK) + 1) << OF_BLOCK if of_block else self.epoch + 1
        self.epoch = (new if mask is None else np.where(mask, new, self.epoch)).astype(np.int32)

    # Where a fault lies

    def fault(self, ins, what, position, address, lanes):
        """Raises PtxError for access number `position` of those that the threads `lanes` make."""
        raise PtxError(f"{ins}: {self.who(position, lanes)} at byte {int(address[position])}: {what}")

    def who(self, position, lanes):
        lane = position if lanes is None else int(lanes[position])
        return f"block {int(self.block[lane])} thread {lane % self.block_size}"
