"""Strays, misalignment, races and reads of what nothing wrote are told, and what is sound is not."""

import pytest
import torch

from nerd_fast.kernels.audit.ptx.datatypes import PtxError
from tests.kernels.ptx.snippets import floats, machine, run

pytestmark = pytest.mark.ptx

TO_SHARED = "ld.global.b32 %r5, [%rd5];\nshl.b32 %r7, %r1, 2;\nst.shared.b32 [%r7], %r5;\n"
NEIGHBOUR = "xor.b32 %r8, %r7, {bytes};\nld.shared.b32 %r6, [%r8];\nst.global.b32 [%rd4], %r6;\n"
OTHER_WARP, OTHER_LANE = NEIGHBOUR.format(bytes=128), NEIGHBOUR.format(bytes=4)


def findings(body, threads=64, **options):
    return " | ".join(
        run(body, torch.zeros(threads), floats(threads), threads=threads, shared=4 * threads, **options).lines()
    )


def test_what_lies_behind_a_barrier_is_sound():
    assert findings(TO_SHARED + "bar.sync 0;\n" + OTHER_WARP) == ""
    assert findings(TO_SHARED + "bar.warp.sync -1;\n" + OTHER_LANE) == ""


@pytest.mark.parametrize("barrier", ["", "bar.warp.sync -1;\n"])
def test_a_race_between_warps_is_told(barrier):
    assert "another warp or block wrote, no barrier between" in findings(TO_SHARED + barrier + OTHER_WARP)


def test_a_race_within_a_warp_is_told():
    assert "reads what another lane wrote, no barrier between" in findings(TO_SHARED + OTHER_LANE)


def test_a_write_over_what_another_warp_still_reads_is_told():
    written_over = "ld.shared.b32 %r6, [%r7];\nxor.b32 %r8, %r7, 128;\nst.shared.b32 [%r8], %r1;\n"
    assert "what another warp or block read" in findings(TO_SHARED + "bar.sync 0;\n" + written_over)


def test_two_blocks_that_write_one_place_are_told():
    body = "mov.u32 %r5, %ctaid.x;\nst.global.b32 [%rd4], %r5;"
    assert "two warps of one store disagree" in findings(body, grid=2)
    assert findings("st.global.b32 [%rd4], %r1;", grid=2) == ""  # the same bytes


def test_two_threads_of_one_store_that_disagree_are_told():
    assert "two lanes of one store disagree" in findings("st.global.b32 [%rd1], %r1;", threads=32)
    assert "two warps of one store disagree" in findings("shr.u32 %r5, %r1, 5;\nst.global.b32 [%rd1], %r5;")


def test_shared_memory_that_nothing_wrote_is_not_read():
    assert "reads what nothing wrote" in findings("mov.b32 %r7, 0;\nld.shared.b32 %r6, [%r7];")


def test_a_tensor_that_nothing_wrote_is_not_read():
    load = "ld.global.b32 %r5, [%rd5];"
    assert findings(load) == ""
    assert "reads what nothing wrote" in findings(load, unwritten=True)
    assert findings("st.global.b32 [%rd5], %r1;\n" + load, unwritten=True) == ""


def test_torch_too_writes_what_was_empty():
    x = floats(32)
    unwritten = machine("ld.global.b32 %r5, [%rd5];", torch.zeros(32), x)
    unwritten.memory.mark_unwritten(x)
    x.fill_(1)
    unwritten.memory.begin_launch()
    unwritten.memory.register(x, "x"), unwritten.memory.register(torch.zeros(32), "out")
    assert unwritten.memory.buffers[1].shadow.written.all()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("ld.global.b32 %r5, [%rd5+4];", "block 0 thread 31 at byte 128: outside of x"),
        ("ld.global.b32 %r5, [%rd5+-4];", "block 0 thread 0 at byte .*: outside of"),
        ("st.global.b32 [%r1], %r1;", "4 bytes, 8 expected"),
        ("mov.b64 %rd6, 64;\nld.global.b32 %r5, [%rd6];", "outside of every tensor"),
        ("ld.global.b32 %r5, [%rd2+2];", "misaligned for 4 bytes"),
        ("ld.global.v2.b32 {%r5, %r6}, [%rd2+4];", "misaligned for 8 bytes"),
        ("ld.shared.b32 %r5, [%rd1];", "8 bytes, 4 expected"),
        ("mov.b32 %r7, 126;\nld.shared.b32 %r5, [%r7];", "outside of 128 bytes of shared memory"),
        ("setp.lt.u32 %p1, %r1, 3;\n@%p1 bar.sync 0;", "part of a block is missing"),
        ("setp.lt.u32 %p1, %r1, 3;\n@%p1 shfl.sync.bfly.b32 %r6, %r1, 1, 31, -1;", "part of a warp is missing"),
    ],
)
def test_what_a_gpu_would_not_execute_raises(body, told):
    with pytest.raises(PtxError, match=told):
        findings(body, threads=32)


def test_what_lies_between_two_tensors_of_one_storage_is_out_of_bounds():
    storage = floats(96)
    with pytest.raises(PtxError, match="outside of"):
        run("ld.global.b32 %r5, [%rd5+4];", torch.zeros(32), storage[:32])
