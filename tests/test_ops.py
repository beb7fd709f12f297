"""Registration of the operators: schema, shapes for tracing, ahead-of-time tracing (`torch.library.opcheck`)."""

import pytest
import torch
from torch.library import opcheck

import nerd_fast
from nerd_fast import ops

FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}


def operands(variant, spatial, backend, dtype=torch.float32, batch=2, classes=2, channels_last=False, bias=True):
    head_class = nerd_fast.NeRDm if variant == "nerdm" else nerd_fast.NeRDc
    head = head_class(3, classes, spatial_dims=len(spatial), hidden_channels=(8,), bias=bias).requires_grad_(False)
    weights = [layer.weight for layer in head.calibrator[::2]]
    biases = [layer.bias for layer in head.calibrator[::2]]
    x = torch.randn(batch, 3, *spatial, dtype=dtype)
    if channels_last:
        x = x.contiguous(memory_format=FORMATS[len(spatial)])
    place = (classes, "relu", None, [0] * len(spatial), list(spatial), backend, None)
    return (x, getattr(head, "classifier", None), weights, biases, head.bias, *place)


CASES = [
    {"spatial": (4, 5)},
    {"spatial": (2, 3, 4)},
    {"spatial": (4, 5), "dtype": torch.bfloat16},
    {"spatial": (4, 5), "channels_last": True},
    {"spatial": (2, 3, 4), "channels_last": True},
    {"spatial": (4, 5), "batch": 0},
    {"spatial": (4, 5), "bias": False, "classes": 1},
]


@pytest.mark.parametrize("variant", ["nerdm", "nerdc"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_forward_operator_is_registered_right(variant, case, backend):
    opcheck(ops.head_forward, operands(variant, backend=backend, **case))


@pytest.mark.parametrize("variant", ["nerdm", "nerdc"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_backward_operator_is_registered_right(variant, case, backend):
    arguments = operands(variant, backend=backend, **case)
    classifier, weights, biases, bias = arguments[1:5]
    grad = torch.randn_like(ops.head_forward(*arguments))
    everything = [True, classifier is not None, bias is not None] + [True] * (len(weights) + len(biases))
    opcheck(ops.head_backward, (grad, *arguments, everything))
    opcheck(ops.head_backward, (grad, *arguments, [True] + [False] * (len(everything) - 1)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_map_operators_are_registered_right(dtype, backend):
    x, weight, beta = torch.randn(2, 3, 4, 5, dtype=dtype), torch.randn(2, 3, 4, 5), torch.randn(2, 4, 5)
    opcheck(ops.map_forward, (x, weight, beta, backend))
    opcheck(ops.map_forward, (x, weight, None, backend))
    grad = torch.randn(2, 2, 4, 5, dtype=dtype)
    opcheck(ops.map_backward, (grad, x, weight, beta, backend, [True, True, True]))
    opcheck(ops.map_backward, (grad, x, weight, None, backend, [False, True, False]))
