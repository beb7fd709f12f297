"""The oracle against the paper's equations, written out pixel by pixel."""

import itertools

import pytest
import torch
from torch.nn.functional import linear

from nerd_fast import boundary_distances, reference


def calibrator(inputs, outputs):
    sizes = [inputs, 8, outputs]
    weights = [torch.randn(o, i, dtype=torch.float64) for i, o in itertools.pairwise(sizes)]
    return weights, [torch.randn(o, dtype=torch.float64) for o in sizes[1:]]


def f(v, weights, biases):
    return linear(torch.relu(linear(v, weights[0], biases[0])), weights[1], biases[1])


def test_nerdm_is_equation_5_at_every_pixel():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    w, bias = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, dtype=torch.float64)
    weights, biases = calibrator(4, 6)
    s = reference.nerdm(x, w, weights, biases, bias)
    v = boundary_distances((4, 5), dtype=torch.float64)
    for i in range(4):
        for j in range(5):
            inverse_sigma, minus_mu_over_sigma = f(v[:, i, j], weights, biases).chunk(2)
            for n in range(2):
                expected = w @ (x[n, :, i, j] * inverse_sigma + minus_mu_over_sigma) + bias
                torch.testing.assert_close(s[n, :, i, j], expected)


def test_nerdc_is_a_classifier_of_its_own_at_every_voxel():
    x = torch.randn(1, 3, 2, 3, 4, dtype=torch.float64)
    weights, biases = calibrator(6, 2 * 3)
    s = reference.nerdc(x, weights, biases, out_channels=2, distance_scale=0.1)
    v = boundary_distances((2, 3, 4), 0.1, dtype=torch.float64)
    for k in range(2):
        for i in range(3):
            for j in range(4):
                w = f(v[:, k, i, j], weights, biases).view(2, 3)
                torch.testing.assert_close(s[0, :, k, i, j], w @ x[0, :, k, i, j])


def test_a_window_gives_the_logits_that_it_has_in_the_whole_image():
    x = torch.randn(1, 3, 6, 7, dtype=torch.float64)
    weights, biases = calibrator(4, 3)
    whole = reference.nerdc(x, weights, biases, out_channels=1)
    part = reference.nerdc(x[:, :, 2:5, 1:4], weights, biases, out_channels=1, origin=(2, 1), extent=(6, 7))
    torch.testing.assert_close(part, whole[:, :, 2:5, 1:4])


def test_half_precision_features_give_logits_of_their_dtype_near_float64():
    x = torch.randn(1, 4, 5, 5)
    weights, biases = calibrator(4, 4)
    s = reference.nerdc(x.bfloat16(), weights, biases, out_channels=1)
    assert s.dtype == torch.bfloat16
    expected = reference.nerdc(x.double(), weights, biases, out_channels=1)
    assert (s.double() - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"x": 3}, TypeError, r"x: expected a tensor \(B, C, H, W\) or .*, got int"),
        ({"x": torch.zeros(4, 5)}, TypeError, r"x: .*got shape \(4, 5\)"),
        ({"weights": 3}, TypeError, "weights: expected a list of tensors, one for each layer, got int"),
        ({"weights": []}, TypeError, "weights: expected a list"),
        ({"activation": "gelu"}, ValueError, "activation: expected one of .*'tanh'.*, got 'gelu'"),
        ({"origin": 3}, TypeError, "origin: expected 2 whole numbers, one per spatial axis, got 3"),
    ],
)
def test_what_the_equations_cannot_take_is_refused_by_name(changed, error, message):
    weights, biases = calibrator(4, 4)
    arguments = {"x": torch.zeros(1, 4, 5, 5), "weights": weights, "biases": biases, "out_channels": 1}
    with pytest.raises(error, match=message):
        reference.nerdc(**{**arguments, **changed})
