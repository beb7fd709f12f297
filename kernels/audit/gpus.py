"""The GPUs that counts are turned into microseconds for, and what is assumed of them."""

import re
from dataclasses import dataclass

ASSUMPTIONS = """\
Bounds, not times: no latency, no launch, perfect overlap; the largest of a kernel's is the least time it could take.
DRAM: every distinct sector once, at 90 % of the data sheet's bandwidth (2080 Ti 616, 4090 1008, H100 SXM 3350 GB/s).
Shared: one wavefront or one shuffle a clock and multiprocessor (optimistic on Turing, which serves half as much).
Issue: four warp instructions a clock and multiprocessor; PTX is counted as the machine code it usually becomes.
Arithmetic: the fullest of the pipes for float32 (64 lanes on Turing, else 128), integers (64) and matrix products.
Clocks: 1.635, 2.52 and 1.755 GHz; 68, 128 and 132 multiprocessors. Registers are those of the cubin of each GPU."""


@dataclass(frozen=True)
class Gpu:
    """bandwidth and copy_bandwidth (what a copy is assumed to reach) in GB/s, clock in GHz."""

    name: str
    architecture: int
    multiprocessors: int
    clock: float
    bandwidth: float
    copy_bandwidth: float
    float_lanes: int
    integer_lanes: int = 64


GPUS = (
    Gpu("RTX 2080 Ti", 75, 68, 1.635, 616, 530, 64),
    Gpu("RTX 4090", 89, 128, 2.52, 1008, 920, 128),
    Gpu("H100", 90, 132, 1.755, 3350, 3000, 128),
)

REGISTERS = 1 << 16  # of a multiprocessor, given out to warps in groups of 8 a thread
LIMITS = {  # architecture: threads, KiB of shared memory, blocks of a multiprocessor
    75: (1024, 64, 16),
    80: (2048, 164, 32),
    86: (1536, 100, 16),
    89: (1536, 100, 24),
    90: (2048, 228, 32),
    100: (2048, 228, 32),
    120: (1536, 100, 24),
}
RESERVED = 1024  # bytes of shared memory that a block takes for the system, from sm_80 on


def resident_programs(architecture, warps, registers, shared):
    """Programs that fit on a multiprocessor: registers a thread, bytes of shared memory a program."""
    threads, kib, blocks = LIMITS[architecture]
    by_registers = REGISTERS // (-(-registers // 8) * 8 * 32) // warps
    by_shared = 1024 * kib // (shared + RESERVED * (architecture >= 80)) if shared else blocks
    return min(by_registers, by_shared, threads // (32 * warps), blocks)


def machine_instructions(op):
    """(issue slots, of these float32, of these integer) of one PTX instruction, as ptxas usually translates it."""
    base = op.split(".")[0]
    if base == "mov" or op.startswith(("ld.param", "cvt.s64.s32", "cvt.u64.u32", "cvt.u32.u64")):
        return 0, 0, 0
    for pattern, slots in _SLOTS:
        if pattern.fullmatch(op):
            return slots
    if base in ("ld", "st", "ldmatrix", "stmatrix", "bar", "shfl", "mma", "bra", "ret", "cp"):
        return 1, 0, 0
    return 1, 0, 1


_SLOTS = tuple(
    (re.compile(pattern), slots)
    for pattern, slots in (
        (r"div\.rn\.f32", (10, 7, 0)),
        (r"div\.full\.f32", (5, 4, 0)),
        (r"(div|rem)\.[us]32", (18, 2, 14)),
        (r"(fma|add|sub|mul)\.(rn\.)?f32x2", (2, 2, 0)),
        (r"(fma|add|sub|mul|min|max)\.([\w]+\.)?f32(\.b?f16)?", (1, 1, 0)),
        (r"ex2\..*", (3, 2, 0)),
        (r"(mul|mad)\.lo\.[us]64", (4, 0, 4)),
        (r"(add|sub|shl|and|or|setp|selp)\..*64", (2, 0, 2)),
    )
)


def bounds(gpu, count):
    """{"DRAM", "shared", "issue", "arithmetic"}: microseconds that each takes at the least for a Count."""
    per_microsecond = gpu.multiprocessors * gpu.clock * 1e3  # clocks of multiprocessors
    warps = count.programs * count.warps
    pipes = (32 * count.float_slots / gpu.float_lanes, 32 * count.integer_slots / gpu.integer_lanes, 8 * count.products)
    return {
        "DRAM": count.dram_bytes / (0.9 * gpu.bandwidth * 1e3),
        "shared": warps * (count.wavefronts + count.shuffles) / per_microsecond,
        "issue": warps * count.issue_slots / 4 / per_microsecond,
        "arithmetic": warps * max(pipes) / per_microsecond,
    }
