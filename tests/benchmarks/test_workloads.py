"""The workloads and cases of a device."""

import pytest

from benchmarks import scaling, workloads
from benchmarks.peers import PEERS, peers_of

EVERYTHING = tuple(workloads.WORKLOADS)


def test_a_gpu_runs_every_workload_whole():
    for name in EVERYTHING:
        assert workloads.workload_on(name, "cuda") == workloads.WORKLOADS[name]


def test_a_cpu_runs_what_fits_and_says_what_was_cut():
    for name in EVERYTHING:
        workload = workloads.workload_on(name, "cpu")
        assert workload.elements <= 18.4e6
        assert bool(workload.cut) == (workload.elements != workloads.WORKLOADS[name].elements)
    assert workloads.workload_on("large-batch", "cpu").cut == "batch 128 -> 32, float32 and contiguous alone"


def test_every_workload_has_two_dtypes_and_two_layouts_and_two_have_wide_calibrators():
    cases = workloads.cases(EVERYTHING, "cuda")
    assert len(cases) == len(EVERYTHING) * 4 + 2
    assert {case.workload.name for case in cases if case.hidden == (64, 64)} == {"wmh", "large-batch"}
    assert len({str(case) for case in cases}) == len(cases)


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_cpu_runs_the_large_batches_in_their_plain_case_alone_and_says_so(name):
    large = name in ("large-batch", "large-batch-wide")
    assert (len(workloads.cases([name], "cpu")) == 1) == large
    assert ("float32 and contiguous alone" in workloads.workload_on(name, "cpu").cut) == large


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_plain_case_of_every_workload_has_every_peer(device):
    for case in workloads.cases(EVERYTHING, device, quick=True):
        assert peers_of(case, device) == list(PEERS)


def test_float16_stands_in_where_bfloat16_is_not_native(monkeypatch):
    monkeypatch.setattr(workloads.torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert workloads.half_dtype("cuda") == "float16"
    assert workloads.half_dtype("cpu") == "bfloat16"


def test_scaling_runs_the_batch_from_1_to_256():
    batches = [case.workload.batch for axis, case in scaling.points("cpu") if axis == "batch"]
    assert batches == [1, 2, 4, 8, 16, 32, 64, 128, 256]


def test_scaling_on_a_gpu_has_the_sizes_of_wmh():
    wmh = workloads.WORKLOADS["wmh"]
    for axis, case in scaling.points("cuda"):
        assert case.workload.spatial == wmh.spatial if axis == "batch" else case.workload.batch == wmh.batch
