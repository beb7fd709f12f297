"""Faults planted in the text of the PTX, one at a time: each must be noticed, by an error, a finding, the result."""

import re
from functools import cache

import pytest
import torch
import triton
import triton.language as tl

from nerd_fast.kernels.audit.ptx.datatypes import PtxError
from tests.kernels.ptx.snippets import execute, floats, ptx_of, triton_launch

pytestmark = pytest.mark.ptx

SIZE, ROWS = 16, 13  # of a tile, and rows of it that are there
SENTINEL = -1234.0
SITES = 6  # places, at the least where there are as many, in which a fault is planted


@triton.jit
def product_and_sums(out, sums, x, w, rows, SIZE: tl.constexpr, PRECISION: tl.constexpr):
    """y = x w to out; sums of y over rows and over columns to sums: shared memory, shuffles, barriers, products."""
    i, j = tl.arange(0, SIZE)[:, None], tl.arange(0, SIZE)[None, :]
    a = tl.load(x + i * SIZE + j, mask=i < rows, other=0.0)
    y = tl.dot(a, tl.load(w + j * SIZE + i), input_precision=PRECISION)
    tl.store(out + i * SIZE + j, y, mask=i < rows)
    tl.store(sums + tl.arange(0, SIZE), tl.sum(y, 1))
    tl.store(sums + SIZE + tl.arange(0, SIZE), tl.sum(y * y, 0))


class Planted:
    """The kernel on one architecture, its PTX, and its right results."""

    def __init__(self, architecture, precision):
        self.architecture = architecture
        self.x, self.w = floats(ROWS, SIZE), floats(SIZE, SIZE)
        self.out, self.sums = torch.empty(SIZE, SIZE), torch.empty(2 * SIZE)
        arguments = {"out": self.out[:ROWS], "sums": self.sums, "x": self.x, "w": self.w, "rows": ROWS}
        self.launch = triton_launch(product_and_sums, arguments, {"SIZE": SIZE, "PRECISION": precision})
        self.text = ptx_of(self.launch, architecture)
        self.right = self.run(self.text)
        y = self.x.double() @ self.w.T.double()
        for found, expected in zip(self.right, (y, y.sum(1), y.square().sum(0)), strict=True):
            torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)

    def run(self, text):
        """(y, sums over columns, sums over rows). Raises PtxError and AssertionError."""
        self.out.fill_(SENTINEL)
        self.sums.fill_(SENTINEL)
        report = execute(self.launch, self.architecture, change=lambda _: text)
        assert not report.findings, report.lines()
        assert (self.out[ROWS:] == SENTINEL).all()
        return self.out[:ROWS].clone(), self.sums[:ROWS].clone(), self.sums[SIZE:].clone()

    def notices(self, line, changed):
        lines = self.text.splitlines()
        assert lines[line] != changed
        lines[line] = changed
        try:
            found = self.run("\n".join(lines) + "\n")
        except (PtxError, AssertionError):
            return True
        return any(not torch.allclose(f, r, rtol=1e-4, atol=1e-4) for f, r in zip(found, self.right, strict=True))


def later(by):
    """An address that is `by` bytes further."""

    def change(line):
        return re.sub(
            r"\[\s*(%\w+|global_smem)\s*(?:\+\s*(-?\d+))?\s*\]",
            lambda m: f"[{m[1]}+{int(m[2] or 0) + by}]",
            line,
            count=1,
        )

    return change


FAULTS = {  # name: (the lines it can be planted in, what becomes of such a line)
    "a dropped barrier": (r"^\s*bar\.sync", lambda line: ""),
    "a shared store shifted": (r"\bst\.shared", later(16)),
    "a shared load shifted": (r"\bld\.shared", later(16)),
    "rows of matrices shifted": (r"\b(ld|st)matrix", later(16)),
    "a global load shifted": (r"\bld\.global", later(4)),
    "a global store shifted": (r"\bst\.global", later(4)),
    "a store that every thread makes": (r"@%p\d+ st\.global\.v", lambda line: re.sub(r"@%p\d+ ", "", line)),
    "a shuffle from another lane": (
        r"shfl\.sync\.bfly",
        lambda line: re.sub(r", (\d+), 31, -1", lambda m: f", {int(m[1]) * 2 % 31}, 31, -1", line),
    ),
    "operands of a product swapped": (
        r"mma\.sync",
        lambda line: re.sub(r"\}, \{ (%r\d+), (%r\d+), (%r\d+), (%r\d+) \}", r"}, { \2, \1, \3, \4 }", line, count=1),
    ),
    "a sum that forgets what it had": (
        r"\bfma\.rn\.f32(?!.* 0f00000000;)",
        lambda line: line.replace("fma.rn.f32", "mul.f32").rsplit(",", 1)[0] + ";",
    ),
}


OF_TENSOR_CORES = ("rows of matrices shifted", "operands of a product swapped")
MULTIPLIED = {"by FMA, sm_80": (80, "ieee"), "by tensor cores, sm_90": (90, "tf32x3")}
PLACES = [(how, fault) for how in MULTIPLIED for fault in FAULTS if "FMA" not in how or fault not in OF_TENSOR_CORES]


@pytest.fixture(scope="module")
def planted():
    return cache(lambda how: Planted(*MULTIPLIED[how]))


@pytest.mark.parametrize(("how", "fault"), PLACES)
def test_every_planted_fault_is_noticed(planted, how, fault):
    planted = planted(how)
    pattern, change = FAULTS[fault]
    lines = planted.text.splitlines()
    sites = [i for i, line in enumerate(lines) if re.search(pattern, line.split("//")[0])]
    assert sites, f"the kernel has no place for {fault}"
    sites = sites[:: max(1, len(sites) // SITES)]
    missed = [lines[site].strip() for site in sites if not planted.notices(site, change(lines[site].split("//")[0]))]
    assert not missed
