"""What is counted: sectors of global memory, wavefronts of shared memory, instructions by kind and by warp."""

import pytest
import torch

from tests.kernels.ptx.snippets import floats, machine

pytestmark = pytest.mark.ptx


def counted(body, threads=32, size=None, shared=1 << 14):
    size = size or threads
    launched = machine(
        body, torch.zeros(size), floats(size), threads=threads, shared=shared, counted=True, checks=False
    )
    launched.run()
    return launched.counts


@pytest.mark.parametrize(("stride", "sectors"), [(0, 1), (1, 4), (2, 8), (8, 32)], ids=str)
def test_the_sectors_of_a_load_are_those_that_its_warp_touches(stride, sectors):
    body = f"mul.wide.u32 %rd6, %r1, {4 * stride};\nadd.s64 %rd7, %rd2, %rd6;\nld.global.b32 %r5, [%rd7];"
    assert counted(body, size=256).sectors.sum() == sectors


def test_what_is_needed_are_the_distinct_bytes():
    load, store = "ld.global.b32 %r5, [%rd5];\n", "cvt.u16.u32 %rs6, %r5;\nst.global.b16 [%rd4], %rs6;"
    counts = counted(load + load + store)
    assert counts.touched() == {("x", "loads"): (128, 4, 5), ("out", "stores"): (64, 4, 5)}
    assert counts.sectors_of_tensors() == {("x", "loads"): 8, ("out", "stores"): 4}


@pytest.mark.parametrize(("bytes_", "wavefronts"), [(4, 1), (0, 1), (8, 2), (128, 32), (132, 1)], ids=str)
def test_lanes_on_one_bank_are_served_one_after_another(bytes_, wavefronts):
    counts = counted(f"mul.lo.u32 %r7, %r1, {bytes_};\nst.shared.b32 [%r7], %r1;")
    assert counts.wavefronts.sum() == wavefronts
    assert counts.ideal.sum() == 1


def test_wide_accesses_are_served_in_parts():
    counts = counted("shl.b32 %r7, %r1, 4;\nst.shared.v4.b32 [%r7], {%r1, %r1, %r1, %r1};")
    assert (counts.wavefronts.sum(), counts.ideal.sum()) == (4, 4)


def test_instructions_are_counted_for_the_threads_and_warps_that_run_them():
    body = (
        "setp.lt.u32 %p1, %r1, 40;\n@%p1 ld.global.b32 %r5, [%rd5];\n@%p1 fma.rn.f32 %r6, %r5, %r5, %r5;\nbar.sync 0;"
    )
    counts = counted(body, threads=128)
    assert counts.by_kind(counts.warps)["global loads"] == 2
    assert counts.by_kind()["global loads"] == 40
    assert counts.by_kind()["fma"] == 40
    assert counts.by_kind(counts.warps)["barriers"] == 4
    assert counts.by_op()["fma.rn.f32"] == 2


def test_rounds_are_those_of_the_loop_that_loads():
    loop = "mov.b32 %r6, 0;\n$again:\nld.global.b32 %r5, [%rd5];\nadd.s32 %r6, %r6, 1;\nsetp.lt.s32 %p1, %r6, 5;\n"
    assert counted(loop + "@%p1 bra $again;\nmov.b32 %r7, 0;").rounds() == 5
