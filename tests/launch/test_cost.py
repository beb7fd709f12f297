"""What a training step costs the host, read up to the launches: calls of functions, processor time, memory."""

import gc
import sys
import time

import pytest
import torch

import nerd_fast
from benchmarks.memory import peak_bytes

pytestmark = pytest.mark.launch

HEADS = [nerd_fast.NeRDm, nerd_fast.NeRDc]
MICROSECONDS = 250  # of a forward and a backward on one idle core of 2020; the convolution takes 50
LOADED = 2  # a busy machine, or a slower one, takes so many times as long


def training_step(head_class):
    """A call that runs a forward and a backward of every gradient, on features too small to matter."""
    head, x = head_class(16, bias=True, backend="triton"), torch.empty(1, 16, 16, 16, requires_grad=True)
    inputs, grad = [x, *head.parameters()], torch.empty(1, 1, 16, 16)

    def step():
        torch.autograd.grad(head(x), inputs, grad)

    for _ in range(3):
        step()
    return step


def function_calls(call):
    """How many functions, of Python and of C, a call enters in this thread."""
    entered = 0

    def count(frame, event, argument):
        nonlocal entered
        entered += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        call()
    finally:
        sys.setprofile(None)
    return entered


@pytest.mark.parametrize("head_class", HEADS)
def test_a_training_step_enters_few_functions(head_class, driver):
    step = training_step(head_class)
    assert function_calls(step) <= 630


@pytest.mark.parametrize("head_class", HEADS)
def test_a_training_step_takes_little_time_of_the_host(head_class, driver):
    step = training_step(head_class)
    gc.disable()
    try:
        rounds = []
        for _ in range(20):
            start = time.thread_time()
            for _ in range(50):
                step()
            rounds.append((time.thread_time() - start) / 50 * 1e6)
    finally:
        gc.enable()
    assert min(rounds) <= LOADED * MICROSECONDS


SIZES = {  # batch, channels, spatial, and what a step may hold over the gradient of x and the logits
    "wmh": (14, 16, (160, 224), 1.08),
    "wmh-wide": (14, 32, (160, 224), 1.08),
    "la": (14, 16, (290, 240), 1.072),  # C + 1 planes of N floats over (C + 1) B: 1 + 1/14 with any workspace of planes
    "large batch": (128, 16, (160, 224), 1.01),
}


@pytest.mark.parametrize("case", SIZES)
def test_a_training_step_holds_little_more_than_its_results(case, driver):
    batch, channels, spatial, allowed = SIZES[case]
    head = nerd_fast.NeRDm(channels, bias=True, backend="triton")
    x, grad = torch.empty(batch, channels, *spatial, requires_grad=True), torch.empty(batch, 1, *spatial)
    inputs = [x, *head.parameters()]

    def step():
        logits = head(x)  # which live until the gradients are there, as a loss' do
        gradients = torch.autograd.grad(logits, inputs, grad)
        del gradients

    step()
    peak, results = peak_bytes(step, torch.device("cpu")), 4 * (x.numel() + grad.numel())
    assert results < peak <= allowed * results, f"{peak / results:.4f} of the gradient of x and the logits"


def test_a_second_step_is_neither_planned_nor_bound_again(driver, monkeypatch):
    step = training_step(nerd_fast.NeRDm)
    from nerd_fast.kernels import launch, plan

    for name in ("plan_forward", "plan_backward"):
        monkeypatch.setattr(plan, name, None)
    monkeypatch.setattr(launch.Launch, "compile_and_launch", None)
    before = driver.launches
    step()
    assert driver.launches == before + 4


def test_features_at_another_address_are_bound_anew(driver):
    """What is compiled for memory that starts at 16 bytes does not serve memory that does not."""
    head, memory = nerd_fast.NeRDm(4, hidden_channels=(8,), backend="triton"), torch.empty(2 * 4 * 30 + 1)
    aligned, shifted = memory[:-1].view(2, 4, 5, 6), memory[1:].view(2, 4, 5, 6)
    with torch.no_grad():
        head(aligned)
        (kernel,) = kernels_of(head, aligned)
        assert kernels_of(head, aligned) == [kernel]
        assert kernels_of(head, shifted) != [kernel]


def kernels_of(head, x):
    """The compiled kernels that a forward launches."""
    from nerd_fast.kernels import launch

    seen, run = [], launch.Launch.run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch.Launch, "run", lambda self: seen.append(run(self)))
        head(x)
    return seen
