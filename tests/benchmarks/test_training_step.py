"""The U-Net step: every head starts as the convolution, and a head that does not loses its figures."""

from dataclasses import replace

import pytest
import torch

from benchmarks import device, heads, training_step, workloads

EFFORT = heads.Effort(seconds=0.05, rounds=2, least=2)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(training_step, "FILTERS", [4, 4, 4, 4, 4])
    monkeypatch.setitem(workloads.WORKLOADS, "wmh", replace(workloads.WORKLOADS["wmh"], spatial=(32, 32)))
    monkeypatch.setattr(training_step, "VARIANTS", (("conv1x1", False), ("reference", False), ("fused", False)))


def rows_of(names=("conv1x1", "reference", "fused")):
    rows, _ = training_step.measure(names, torch.device("cpu"), EFFORT, batch=2)
    return {row["head"]: row for row in rows}


def test_every_head_has_its_figures(tiny):
    rows = rows_of()
    for row in rows.values():
        assert row["parity"]["passed"]
        assert row["images_per_s"] == pytest.approx(2000 / row["median_ms"], rel=1e-2)
        assert row["memory_mib"] > 0
        assert row["uncertainty"] >= 0
        assert row["head_share"] == pytest.approx(row["head_ms"] / row["median_ms"], rel=1e-2)
    assert rows["fused"]["cut"] == "batch 14 -> 2"


def test_a_head_that_is_not_the_convolution_at_the_start_loses_its_figures(tiny, monkeypatch):
    forward = training_step.ReferenceHead.forward
    monkeypatch.setattr(training_step.ReferenceHead, "forward", lambda self, x: forward(self, x) + 0.01)
    rows = rows_of()
    assert not rows["reference"]["parity"]["passed"]
    assert rows["reference"]["median_ms"] is None
    assert rows["fused"]["median_ms"] > 0


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 63, 64, 65, 100, 4095, 4096, 9999])
def test_largest_batch_is_found_exactly(limit):
    asked = []

    def fits(size):
        asked.append(size)
        return size <= limit

    assert training_step.largest_batch(fits) == min(limit, 4096)
    assert len(asked) <= 26


def test_limits_cap_the_process_and_give_the_cap_back(monkeypatch):
    fractions = []
    card = type("Card", (), {"total_memory": 16 * training_step.GIB})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda part, device: fractions.append(part))
    monkeypatch.setattr(training_step, "_fits", lambda head, batch, device: batch <= {"conv1x1": 40, "fused": 41}[head])
    rows = training_step.limits(("conv1x1", "fused"), torch.device("cuda"))
    assert rows == [  # 24 GiB is more than the card has
        {"cap_gib": 11, "head": "conv1x1", "largest_batch": 40},
        {"cap_gib": 11, "head": "fused", "largest_batch": 41},
    ]
    assert fractions == [(11 - training_step.CONTEXT_GIB) / 16, 1.0]


def test_a_cuda_device_has_an_index_which_the_memory_cap_needs(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    for name in (None, "cuda"):
        assert torch.cuda._utils._get_device_index(device.choose(name)) == 3
    assert device.choose("cpu") == torch.device("cpu")
