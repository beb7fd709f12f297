"""What a training step costs the host, read up to the launches: calls of functions, processor time, memory."""

import gc
import sys
import time

import pytest
import torch

import nerd_fast

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
    assert function_calls(step) <= 750


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
