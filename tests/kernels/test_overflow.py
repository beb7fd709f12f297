"""Offsets past 2^31 are computed in 64 bits: shown with the interpreter's overflow checks and with real strides."""

import dataclasses
import os

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime import interpreter

from tests.kernels.heads import Case, assert_faithful, by_kernels, tensors

pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="the checks are the interpreter's"),
]


@pytest.fixture
def overflow_checks(monkeypatch):
    builder = interpreter.interpreter_builder
    monkeypatch.setattr(builder, "options", dataclasses.replace(builder.options, debug=True, sanitize_overflow=True))


@triton.jit
def canary(out, stride):
    tl.store(out, tl.program_id(0) * stride)


@pytest.mark.usefixtures("overflow_checks")
def test_the_overflow_checks_fire():
    out = torch.zeros(1, dtype=torch.int64)
    canary[(2,)](out, 2**30)
    with pytest.raises(Exception, match="overflow detected"):
        canary[(3,)](out, 2**30)


@pytest.mark.usefixtures("overflow_checks")
@pytest.mark.parametrize("variant", ["nerdm", "nerdc"])
def test_no_offset_overflows(variant):
    assert_faithful(Case(variant=variant, classes=2, batch=3, spatial=(5, 8), bias=True))


@pytest.mark.parametrize("axis", [0, 1], ids=("batch", "channels"))
def test_features_and_gradients_more_than_two_to_the_31_elements_apart(axis):
    """Strides as in a tensor beyond 2^31 elements, in memory of which only a few pages are ever touched."""
    case = Case(channels=2, classes=2, batch=2, dtype=torch.float16)
    t = tensors(case)
    expected = by_kernels(case, t)
    t.x, t.grad = _far_apart(t.x, axis), _far_apart(t.grad, axis)
    for name, value in by_kernels(case, t).items():
        assert torch.equal(value, expected[name]), name


def _far_apart(tensor, axis):
    """A copy whose two slices along `axis` lie more than 2^31 elements apart."""
    strides = list(tensor.stride())
    strides[axis] = 2**31 + 16
    memory = torch.tensor([], dtype=tensor.dtype)
    memory.set_(torch.UntypedStorage((2**31 + 4096) * tensor.itemsize), 0, tensor.shape, strides)
    return memory.copy_(tensor)
