"""Triton's own CUDA driver and launcher on a libcuda without a GPU: everything up to the launch itself, on a CPU.

Kernels are compiled as far as PTX, which is what the launches are held against. A process that has made the stub its
libcuda has no use for a GPU any more.
"""

import ctypes
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CAPABILITY = (9, 0)
SOURCE = Path(__file__).with_name("libcuda.c")
MOST_ARGUMENTS = 128  # as in libcuda.c
BYTES = {"u64": 8, "s64": 8, "b64": 8, "u32": 4, "s32": 4, "b32": 4, "f32": 4}


class _Launched(ctypes.Structure):
    _fields_ = (
        ("count", ctypes.c_uint64),
        ("programs", ctypes.c_uint64),
        ("threads", ctypes.c_uint64),
        ("shared", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * MOST_ARGUMENTS),
    )


@dataclass(frozen=True)
class Received:
    """What a kernel was launched with: programs, threads of each, bytes of shared memory, arguments as raw integers."""

    programs: int
    threads: int
    shared: int
    arguments: tuple[int, ...]


def compiler():
    """The C compiler at hand, as Triton looks for it; None without one."""
    return os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")


def parameter_sizes(ptx):
    """Bytes of each parameter that the kernel of a PTX text declares."""
    entry = ptx[ptx.index(".entry") :]
    return [BYTES[kind] for kind in re.findall(r"\.param \.(\w+)", entry[: entry.index("{")])]


class Stub:
    """The stub libcuda, built in `folder`, and Triton's driver on it."""

    def __init__(self, folder):
        import triton
        from triton.backends.nvidia.driver import CudaDriver

        library = Path(folder) / "libcuda.so.1"
        include = Path(triton.__file__).parent / "backends" / "nvidia" / "include"
        command = [compiler(), "-shared", "-fPIC", "-O1", "-Wl,-soname,libcuda.so.1", f"-I{include}"]
        subprocess.run([*command, "-o", str(library), str(SOURCE)], check=True)
        os.environ["TRITON_LIBCUDA_PATH"] = str(folder)  # what Triton links its driver with, and where it finds it:
        self.library = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)

        class Driver(CudaDriver):
            def __init__(self):
                super().__init__()
                self.get_current_device = lambda: 0
                self.set_current_device = lambda device: None
                self.get_current_stream = lambda device: 0
                self.get_device_capability = lambda device: CAPABILITY

        triton.runtime.driver.set_active(Driver())
        triton.knobs.runtime.add_stages_inspection_hook = _stop_at_ptx
        self._launched = _Launched.in_dll(self.library, "launched")
        self._sizes = (ctypes.c_int * MOST_ARGUMENTS).in_dll(self.library, "expected_sizes")
        self._count = ctypes.c_int.in_dll(self.library, "expected_count")

    @property
    def launches(self):
        """How many launches there have been."""
        return self._launched.count

    def expect(self, sizes):
        """The next launches have parameters of these sizes in bytes."""
        self._count.value = len(sizes)
        self._sizes[: len(sizes)] = sizes

    def received(self):
        """What the last launch came with."""
        last = self._launched
        return Received(last.programs, last.threads, last.shared, tuple(last.arguments[: self._count.value]))


def _stop_at_ptx(*arguments):
    """A hook of Triton's that leaves out ptxas, half of the time of a compilation."""
    if arguments:
        arguments[1]["cubin"] = lambda source, metadata: b""
    return "no cubin", "no cubin"
