"""Single instructions against what they are defined to do; what is not known raises."""

import numpy as np
import pytest
import torch

from nerd_fast.kernels.audit.ptx.datatypes import PtxError
from tests.kernels.ptx.snippets import run

pytestmark = pytest.mark.ptx

NUMBERS = torch.tensor([0, 1, -1, 7, -8, 2**31 - 1, -(2**31), 12345678, -87654321, 0x3F801234], dtype=torch.int32)
NUMBERS = NUMBERS.repeat(4)[:32].clone()


def of_integers(body):
    """The 32 results in %r6 of statements that find a number in %r5."""
    out = torch.zeros(32, dtype=torch.int32)
    run(f"ld.global.b32 %r5, [%rd5];\n{body}\nst.global.b32 [%rd4], %r6;", out, NUMBERS)
    return out.numpy()


def of_floats(values, body):
    out = torch.zeros(32)
    x = torch.tensor(values, dtype=torch.float32).repeat(32)[:32].clone()
    run(f"ld.global.b32 %r5, [%rd5];\n{body}\nst.global.b32 [%rd4], %r6;", out, x)
    return out[: len(values)]


SIGNED, UNSIGNED = NUMBERS.numpy().astype(np.int64), NUMBERS.numpy().view(np.uint32).astype(np.int64)
INTEGER = {
    "div.s32 %r6, %r5, 7;": np.trunc(SIGNED / 7).astype(np.int64),
    "rem.s32 %r6, %r5, 7;": np.fmod(SIGNED, 7),
    "div.u32 %r6, %r5, 7;": UNSIGNED // 7,
    "shr.s32 %r6, %r5, 40;": np.where(SIGNED < 0, -1, 0),
    "shr.u32 %r6, %r5, 40;": np.zeros(32),
    "shl.b32 %r6, %r5, 32;": np.zeros(32),
    "shr.b32 %r6, %r5, 4;": UNSIGNED >> 4,
    "mul.hi.s32 %r6, %r5, %r5;": (SIGNED * SIGNED) >> 32,
    "bfe.u32 %r6, %r5, 4, 8;": (UNSIGNED >> 4) & 0xFF,
    "bfi.b32 %r6, 5, %r5, 8, 4;": (UNSIGNED & ~0xF00) | 0x500,
    "prmt.b32 %r6, %r5, 0, 0x0123U;": np.ascontiguousarray(NUMBERS.numpy()).view(np.uint32).byteswap(),
    "lop3.b32 %r6, %r5, 255, 3855, 0xEA;": (UNSIGNED & 255) | 3855,
    "shf.l.wrap.b32 %r6, %r5, %r5, 8;": (UNSIGNED << 8 | UNSIGNED >> 24) & 0xFFFFFFFF,
    "setp.lt.s32 %p1, %r5, 0;\nselp.b32 %r6, 1, 2, %p1;": np.where(SIGNED < 0, 1, 2),
    "setp.hi.u32 %p1, %r5, 100;\nselp.b32 %r6, 1, 2, %p1;": np.where(UNSIGNED > 100, 1, 2),
    "max.s32 %r6, %r5, 5;": np.maximum(SIGNED, 5),
    "min.u32 %r6, %r5, 5;": np.minimum(UNSIGNED, 5),
}


@pytest.mark.parametrize("body", INTEGER, ids=lambda body: body.split()[0])
def test_integers(body):
    assert np.array_equal(
        of_integers(body).view(np.uint32), np.asarray(INTEGER[body]).astype(np.int64).astype(np.uint32)
    )


NAN, BELOW_HALF = float("nan"), 1 + 2**-11 - 2**-20
FLOAT = {
    ("fma.rn.f32 %r6, %r5, %r5, 0fBF800000;", (1 + 2**-12,)): (2**-11 + 2**-24,),  # once rounded, not 2^-11
    ("min.f32 %r6, %r5, 0f00000000;", (NAN, -1.0)): (0.0, -1.0),
    ("min.NaN.f32 %r6, %r5, 0f00000000;", (NAN, -1.0)): (NAN, -1.0),
    ("cvt.rna.tf32.f32 %r6, %r5;", (1 + 2**-11, BELOW_HALF, -1 - 2**-11)): (1 + 2**-10, 1.0, -1 - 2**-10),
    ("cvt.rn.bf16.f32 %rs6, %r5;\ncvt.f32.bf16 %r6, %rs6;", (1 + 2**-8, 1 + 3 * 2**-8)): (1.0, 1 + 2**-6),
    ("cvt.rn.f16.f32 %rs6, %r5;\ncvt.f32.f16 %r6, %rs6;", (1 + 2**-11, 70000.0)): (1.0, float("inf")),
    ("cvt.rzi.s32.f32 %r7, %r5;\ncvt.rn.f32.s32 %r6, %r7;", (-1.9, 3e10, NAN)): (-1.0, 2.0**31, 0.0),
    ("setp.ne.f32 %p1, %r5, %r5;\nselp.b32 %r6, 0f3F800000, 0f00000000, %p1;", (NAN, 1.0)): (0.0, 0.0),
    ("setp.neu.f32 %p1, %r5, %r5;\nselp.b32 %r6, 0f3F800000, 0f00000000, %p1;", (NAN, 1.0)): (1.0, 0.0),
    ("mov.b64 %rd6, {%r5, %r5};\nadd.rn.f32x2 %rd7, %rd6, %rd6;\nmov.b64 {_, %r6}, %rd7;", (1.5,)): (3.0,),
    ("cvt.rn.bf16x2.f32 %r7, %r5, 0f40000000;\nmov.b32 {%rs6, %rs7}, %r7;\ncvt.f32.bf16 %r6, %rs6;", (1.0,)): (2.0,),
}


@pytest.mark.parametrize(("body", "values"), FLOAT, ids=lambda part: part.split()[0] if isinstance(part, str) else "")
def test_floats(body, values):
    assert torch.equal(of_floats(values, body).nan_to_num(9e9), torch.tensor(FLOAT[body, values]).nan_to_num(9e9))


@pytest.mark.parametrize(("mode", "by", "source"), [("bfly", 5, lambda i: i ^ 5), ("idx", 3, lambda i: i * 0 + 3)])
def test_a_shuffle_takes_the_value_of_another_lane(mode, by, source):
    found = of_integers(f"mov.b32 %r7, %r1;\nshfl.sync.{mode}.b32 %r6, %r7, {by}, 31, -1;")
    assert np.array_equal(found, source(np.arange(32)))


def test_a_branch_is_taken_by_the_threads_that_it_is_for():
    body = (
        "setp.lt.u32 %p1, %r1, 10;\nmov.b32 %r6, 1;\n@%p1 bra $done;\nmov.b32 %r6, 2;\n$done:\nadd.s32 %r6, %r6, %r1;"
    )
    assert np.array_equal(of_integers(body), np.arange(32) + np.where(np.arange(32) < 10, 1, 2))


def test_a_loop_runs_as_often_as_each_thread_wants():
    body = (
        "mov.b32 %r6, 0;\n$again:\nadd.s32 %r6, %r6, 2;\nsetp.lt.s32 %p1, %r6, %r1;\n@%p1 bra $again;\nmov.b32 %r7, 0;"
    )
    assert np.array_equal(of_integers(body), np.maximum(2, np.arange(32) + np.arange(32) % 2))


def test_an_asynchronous_copy_is_there_once_it_is_waited_for():
    copy = "shl.b32 %r7, %r1, 2;\ncp.async.ca.shared.global [%r7], [%rd5], 4;\ncp.async.commit_group;\n"
    wait, read = "cp.async.wait_group 0;\n", "ld.shared.b32 %r6, [%r7];\nst.global.b32 [%rd4], %r6;"
    out, x = torch.zeros(32), torch.arange(32.0)
    assert not run(copy + wait + read, out, x, shared=128).findings
    assert torch.equal(out, x)
    assert "reads what nothing wrote" in str(run(copy + read, out, x, shared=128).lines())


@pytest.mark.parametrize(
    "statement",
    [
        "sin.approx.f32 %r6, %r5;",
        "wgmma.fence.sync.aligned;",
        "mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {%r1}, {%r1}, {%r1}, {%r1};",
        "shfl.sync.up.b32 %r6, %r5, 1, 0, -1;",
        "bar.sync 1;",
        "atom.global.add.f32 %r6, [%rd4], %r5;",
        "ld.volatile.global.b32 %r6, [%rd5];",
    ],
)
def test_an_unknown_instruction_raises(statement):
    with pytest.raises(PtxError, match=r"unknown|cannot parse"):
        run(statement, torch.zeros(32), torch.zeros(32))


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("add.s64 %rd6, %r5, %rd5;", "4 bytes, 8 expected"),
        ("div.s32 %r6, %r1, 0;", "divides by zero"),
        ("mov.b32 %r6, %r7;\nadd.s32 %r7, %r6, 1;", "nothing has written"),
    ],
)
def test_a_wrong_operand_raises(statement, told):
    with pytest.raises(PtxError, match=told):
        run(statement, torch.zeros(32), torch.zeros(32))
