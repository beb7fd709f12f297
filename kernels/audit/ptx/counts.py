"""Counts what a launch does, instruction by instruction: how often, how many sectors, how many wavefronts.

A sector is 32 bytes of global memory, the least that is moved. A wavefront is what shared memory serves at once: a warp
takes an access of 4 bytes a thread in one, of 8 in two halves, of 16 in four quarters, and each part as many times as
its busiest bank of 32 has different words. The ideal is one for each part.
"""

import re
from collections import Counter

import numpy as np

from nerd_fast.kernels.audit.ptx.datatypes import WARP

SECTOR = 32  # bytes
UNIT = 2  # bytes: the grain in which the distinct bytes of a tensor are told apart
BANKS = 32
KINDS = (
    ("ld.global", "global loads"),
    ("st.global", "global stores"),
    ("ld.shared", "shared loads"),
    ("st.shared", "shared stores"),
    ("ldmatrix", "shared loads"),
    ("stmatrix", "shared stores"),
    ("cp.async", "asynchronous copies"),
    ("bar.", "barriers"),
    ("shfl", "shuffles"),
    ("mma", "mma"),
    ("fma", "fma"),
    ("mov", "moves"),
    ("ld.param", "moves"),
    ("bra", "branches"),
)
FLOAT = re.compile(r"(?:add|sub|mul|div|ex2|lg2|min|max|rcp|abs|neg|sqrt|rsqrt)\..*f32(?:x2)?")


def kind_of(op):
    """The kind of instruction that an op is counted as."""
    for start, kind in KINDS:
        if op.startswith(start):
            return kind
    return "other float32" if FLOAT.fullmatch(op) else "integer and logic"


class Counts:
    """Arrays with an entry for each instruction of a kernel: warps that ran it, threads, sectors, wavefronts."""

    def __init__(self, kernel):
        self.instructions = kernel.instructions
        size = len(self.instructions)
        self.warps, self.threads, self.sectors, self.wavefronts, self.ideal = np.zeros((5, size), np.int64)
        self._touched = {}  # (buffer, whether stored): units of UNIT bytes, as arrays yet to be made distinct
        self._sectors = Counter()  # the same: sectors that warps touched
        self._buffer_of = {}  # instruction: buffer

    def count_instruction(self, ins, size, mask):
        self.warps[ins.index] += size // WARP if mask is None else int(mask.reshape(-1, WARP).any(1).sum())
        self.threads[ins.index] += size if mask is None else int(mask.sum())

    def count_global(self, ins, buffer, offset, there, size):
        """An access of `size` bytes at the byte offsets (warps, 32) of a buffer, by the threads that are there."""
        if size > SECTOR:
            raise ValueError(f"{ins}: accesses of {size} bytes are not counted")
        sectors = int(_distinct(np.sort(np.where(there, offset // SECTOR, -1), 1)).sum())
        self.sectors[ins.index] += sectors
        self._buffer_of[ins.index] = buffer.base
        self._sectors[buffer.base, ins.op.startswith("st")] += sectors
        units = np.unique(offset[there])[:, None] // UNIT + np.arange(max(1, size // UNIT))
        _, pieces = self._touched.setdefault((buffer.base, ins.op.startswith("st")), (buffer, []))
        pieces.append(np.unique(units))

    def count_shared(self, ins, offset, there, size):
        """The same for an access of shared memory; offsets in that of each block."""
        served = min(WARP, 4 * BANKS // max(size, 4))  # threads of one part
        words = max(1, size // 4)
        offset, there = offset.reshape(-1, served), there.reshape(-1, served)
        present = there.any(1)
        offset, there = offset[present], there[present]
        touched = (offset[:, :, None] // 4 + np.arange(words)).reshape(len(offset), -1)
        touched = np.sort(np.where(np.repeat(there, words, 1), touched, -1), 1)
        banks = np.zeros((len(touched), BANKS), np.int64)
        rows, columns = np.nonzero(_distinct(touched))
        np.add.at(banks, (rows, touched[rows, columns] % BANKS), 1)
        self.wavefronts[ins.index] += int(banks.max(1, initial=0).sum())
        self.ideal[ins.index] += len(touched)

    # Sums

    def by_kind(self, of=None):
        """{kind: sum} of one of the arrays, by default of `threads`."""
        found = Counter()
        for ins, number in zip(self.instructions, self.threads if of is None else of, strict=True):
            found[kind_of(ins.op)] += int(number)
        return +found

    def by_op(self):
        """{op: warps that ran it}."""
        found = Counter()
        for ins, number in zip(self.instructions, self.warps, strict=True):
            found[ins.op] += int(number)
        return +found

    def rounds(self):
        """How often in all a warp ran that load of the tensor with most bytes loaded which it ran most often."""
        loaded = {base: sum(map(len, pieces)) for (base, stored), (_, pieces) in self._touched.items() if not stored}
        if not loaded:
            return 0
        most = max(loaded, key=loaded.get)
        loads = [i for i, base in self._buffer_of.items() if base == most and self.instructions[i].op.startswith("ld")]
        return int(self.warps[loads].max(initial=0))

    def touched(self):
        """{(tensor, "loads" or "stores"): (distinct bytes, distinct sectors, sectors of the whole tensor)}."""
        found = {}
        for (_, stored), (buffer, pieces) in self._touched.items():
            units = np.unique(np.concatenate(pieces))
            sectors = np.unique(units // (SECTOR // UNIT))
            whole = buffer.high // SECTOR - buffer.low // SECTOR + 1
            found[buffer.name, "stores" if stored else "loads"] = UNIT * len(units), len(sectors), whole
        return found

    def sectors_of_tensors(self):
        """{(tensor, "loads" or "stores"): sectors that warps touched, each as often as they did}."""
        names = {base: buffer.name for (base, _), (buffer, _) in self._touched.items()}
        return {
            (names[base], "stores" if stored else "loads"): number for (base, stored), number in self._sectors.items()
        }


def _distinct(values):
    """Where each number of a sorted row stands first among its equals; -1 is none."""
    first = np.concatenate([np.ones((len(values), 1), bool), values[:, 1:] != values[:, :-1]], 1)
    return first & (values >= 0)
