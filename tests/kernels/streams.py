"""Position maps and normalisations at random, run by the kernels and in PyTorch, for the tests of their kernels."""

import itertools

import torch

from nerd_fast import kernels, reference
from tests.exactness import assert_as_exact_as_eager
from tests.kernels.heads import DEVICE, lay_out


def assert_map_is_faithful(batch=3, channels=16, classes=1, spatial=(4, 8), dtype=torch.float32, layout="contiguous"):
    """Logits and every gradient of a position map as exact as eager's, against float64."""
    x = lay_out(_normal(batch, channels, *spatial).to(dtype), layout)
    weight, beta = _normal(classes, channels, *spatial), _normal(classes, *spatial)
    grad = _normal(batch, classes, *spatial).to(dtype)
    ours = [kernels.position_map_forward(x, weight, beta)]
    ours += kernels.position_map_backward(grad, x, weight, beta, wants=[True, True, True])

    def by_pytorch(x, weight, beta):
        return (torch.einsum("kc...,bc...->bk...", weight, x.to(weight.dtype)) + beta).to(x.dtype)

    _assert_faithful(ours, by_pytorch, [x, weight, beta], grad)


def assert_norm_is_faithful(
    batch=3, channels=16, hidden=(32, 32), spatial=(4, 8), dtype=torch.float32, layout="contiguous", precision="ieee"
):
    """The values and every gradient of a normalisation by position as exact as eager's, against float64."""
    x = lay_out(_normal(batch, channels, *spatial).to(dtype), layout)
    widths = (2 * len(spatial), *hidden, 2 * channels)
    weights = [_normal(o, i) / i**0.5 for i, o in itertools.pairwise(widths)]
    biases = [_normal(o) for o in widths[1:]]
    grad = _normal(batch, channels, *spatial).to(dtype)
    place = {"origin": (0,) * len(spatial), "extent": spatial}
    options = {"activation": "relu", "scale": None, "precision": precision, **place}
    ours = [kernels.normalisation_forward(x, weights, biases, **options)]
    wants = [True] * (1 + 2 * len(weights))
    ours += kernels.normalisation_backward(grad, x, weights, biases, **options, wants=wants)

    def by_pytorch(x, *parameters):
        return reference.nerdnorm(x, parameters[: len(weights)], parameters[len(weights) :])

    _assert_faithful(ours, by_pytorch, [x, *weights, *biases], grad)


def _assert_faithful(ours, by_pytorch, tensors, grad):
    def results(tensors):
        tensors = [tensor.detach().requires_grad_() for tensor in tensors]
        out = by_pytorch(*tensors)
        return [out.detach(), *torch.autograd.grad(out, tensors, grad.to(out.dtype))]

    exact = results([tensor.double() for tensor in tensors])
    names = ["result", *(f"gradient {i}" for i in range(len(tensors)))]
    for name, mine, eager, oracle in zip(names, ours, results(tensors), exact, strict=True):
        assert_as_exact_as_eager(mine, eager, oracle, name)


def _normal(*shape):
    return torch.randn(shape).to(DEVICE)
