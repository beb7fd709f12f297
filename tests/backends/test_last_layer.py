"""The composed last layer against what it stands for: run the calibrator's last layer, then the classifier."""

import pytest
import torch

from nerd_fast.backends import last_layer

CHANNELS, HIDDEN = 3, 4


def tensors(classes, with_bias):
    shapes = [(classes, CHANNELS), (2 * CHANNELS, HIDDEN), (2 * CHANNELS,), (classes,)]
    classifier, weight, bias, head_bias = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes)
    return classifier, weight, bias, head_bias if with_bias else None


def uncomposed(h, classifier, weight, bias, head_bias):
    """(W, beta) with one class, (a, beta) with several, (N, outputs), from hidden values (N, HIDDEN)."""
    a, b = torch.nn.functional.linear(h, weight, bias).chunk(2, 1)
    beta = torch.nn.functional.linear(b, classifier, head_bias)
    return torch.cat([a * classifier[0] if len(classifier) == 1 else a, beta], 1)


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("with_bias", [True, False])
def test_the_composed_layer_yields_the_map(classes, with_bias):
    arguments, h = tensors(classes, with_bias), torch.randn(7, HIDDEN, dtype=torch.float64)
    composed = torch.nn.functional.linear(h, *last_layer.compose(*arguments))
    torch.testing.assert_close(composed, uncomposed(h, *arguments))


@pytest.mark.parametrize("classes", [1, 2])
def test_its_backward_is_that_of_autograd(classes):
    arguments = tensors(classes, with_bias=True)
    composed = last_layer.compose(*arguments)
    gradients = [torch.randn_like(result) for result in composed]
    expected = torch.autograd.grad(composed, arguments, gradients)
    classifier, weight, bias, _ = arguments
    with torch.no_grad():
        ours = last_layer.backward(*gradients, classifier, weight, bias)
    for gradient, wanted in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, wanted)
