"""A row needs parity: a peer that computes something else keeps its row and loses every figure."""

import pytest
import torch

from benchmarks import heads, parity, peers, results, tables
from benchmarks.workloads import Case, Workload
from tests.benchmarks.tiny import CASE, CPU

EFFORT = heads.Effort(seconds=0.01, rounds=4, least=2)


def measured(monkeypatch, plant=None, case=CASE, names=("conv1x1", "reference", "fused", "frozen")):
    if plant is not None:
        monkeypatch.setitem(peers.PEERS, "fused", plant)
    rows, times = heads.measure(case, names, CPU, EFFORT, copy_gbps=10.0)
    return {row["peer"]: row for row in rows}, times


def wrong_logits(head):
    return peers.Peer("fused", lambda x: head.module(x) * 1.01, head.parameters)


def wrong_gradient(head):
    def call(x):
        logits = head.module(x)
        return logits.detach() + (logits - logits.detach()) * 1.01

    return peers.Peer("fused", call, head.parameters)


def not_a_number(head):
    return peers.Peer("fused", lambda x: head.module(x) * torch.nan, head.parameters)


def out_of_memory(head):
    def call(x):
        raise torch.OutOfMemoryError

    return peers.Peer("fused", call, head.parameters)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("spatial", [(6, 5), (4, 3, 5)])
def test_every_uncompiled_peer_passes_and_has_its_figures(monkeypatch, dtype, layout, spatial):
    case = Case(Workload("tiny", 3, 4, 2, spatial, "a test"), dtype, layout, (8,))
    rows, times = measured(monkeypatch, case=case, names=("conv1x1", "paper", "reference", "fused", "frozen"))
    for name, row in rows.items():
        assert row["parity"]["passed"], row
        assert set(row["modes"]) == set(peers.modes_of(name))
        for mode, figures in row["modes"].items():
            assert figures["q20_ms"] <= figures["median_ms"] <= figures["q80_ms"]
            assert figures["uncertainty"] >= 0
            assert figures["rounds"] == len(times[name][mode].device) >= EFFORT.least
            assert row["memory_mib"]["inference" if mode == "inference" else "training"] > 0


@pytest.mark.slow
def test_the_compiled_peers_pass():
    names = ("compiled", "compiled-folded")
    rows, _ = heads.measure(CASE, names, CPU, EFFORT, copy_gbps=10.0)
    assert all(row["parity"]["passed"] and "training" in row["modes"] for row in rows)


@pytest.mark.parametrize(
    ("plant", "tensor"), [(wrong_logits, "logits"), (wrong_gradient, "grad_x"), (not_a_number, "logits")]
)
def test_a_wrong_peer_loses_its_figures_and_its_error_is_told(monkeypatch, plant, tensor):
    rows, times = measured(monkeypatch, plant)
    assert not rows["fused"]["parity"]["passed"]
    assert rows["fused"]["parity"][tensor] > 5e-3
    assert rows["fused"]["modes"] == {}
    assert rows["fused"]["memory_mib"] is None
    assert "fused" not in times
    assert rows["reference"]["modes"]
    assert "fails the parity gate, no figures: logits" in tables._workload_table(list(rows.values()))


def test_a_peer_without_room_keeps_its_row(monkeypatch):
    rows, _ = measured(monkeypatch, out_of_memory)
    assert rows["fused"]["error"] == "out of memory"
    assert rows["fused"]["modes"] == {}
    assert "out of memory" in tables._workload_table(list(rows.values()))


def test_figures_are_bytes_over_time_and_their_share_of_the_copy():
    from benchmarks.timing import Times

    case = Case(Workload("w", 2, 3, 1, (10, 10), ""), "bfloat16", "contiguous")
    figures = heads.figures(case, "training", Times([1e-6] * 3, None), copy_gbps=20.0)
    necessary = 2 * (3 * 600 + 2 * 200)  # bytes: x three times, logits twice, two bytes each
    assert figures["median_ms"] == pytest.approx(1e-3)
    assert figures["gbps"] == pytest.approx(necessary / 1e3, rel=1e-2)
    assert figures["share"] == pytest.approx(necessary / 1e3 / 20, rel=1e-2)


def test_no_convolution_of_a_head_runs_in_tf32_and_the_setting_comes_back(monkeypatch):
    seen = []
    oracles = parity.oracles

    def watched(*arguments):
        seen.append(torch.backends.cudnn.allow_tf32)
        return oracles(*arguments)

    monkeypatch.setattr(parity, "oracles", watched)
    before = torch.backends.cudnn.allow_tf32
    measured(monkeypatch, names=("conv1x1",))
    assert seen == [False]
    assert torch.backends.cudnn.allow_tf32 == before
    written = results.empty({"date": "", "type": "cpu"}, 1.0, quick=True)
    assert written["convolutions"] == {"heads": "float32", "steps": "tf32" if before else "float32"}
