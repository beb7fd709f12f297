"""The memory meter sees what a call allocates: planted allocations of known size."""

import pytest
import torch

from benchmarks.memory import peak_bytes

MIB = 1 << 20


def allocate(mib):
    return torch.empty(mib * MIB, dtype=torch.uint8)


def planted_sum():
    first = allocate(3)
    second = allocate(5)
    del first
    return second, allocate(1)


def planted_transient():
    for _ in range(4):
        allocate(7)


def planted_by_threads():
    x = torch.ones(MIB, requires_grad=True)  # 4 MiB
    return torch.autograd.grad((x * 2).sum(), x)  # x, its double, and a gradient: expand, then multiply


@pytest.mark.parametrize(("call", "mib"), [(planted_sum, 8), (planted_transient, 7), (lambda: allocate(2), 2)])
def test_the_peak_is_what_was_planted(call, mib):
    assert peak_bytes(call, torch.device("cpu")) == pytest.approx(mib * MIB, abs=1024)


def test_what_was_there_before_does_not_count():
    before = allocate(64)
    assert peak_bytes(lambda: before.add_(1), torch.device("cpu")) < 1024


def test_backward_is_seen():
    assert peak_bytes(planted_by_threads, torch.device("cpu")) >= 8 * MIB


def test_cuda_reads_the_allocator_above_what_was_there(monkeypatch):
    state = {"now": 100, "peak": 900}

    def call():
        state["peak"] = max(state["peak"], state["now"] + 40)

    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: state["now"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: state["peak"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: state.update(peak=state["now"]))
    assert peak_bytes(call, torch.device("cuda")) == 40
