"""A hundred steps with the fused head and with the reference: the same curve, so that no small error adds up."""

import pytest
import torch

from nerd_fast import NeRDm
from tests.convergence.curves import HEADS, loss_curve


@pytest.mark.parametrize("head", HEADS)
def test_float64_curves_agree_to_rounding(head):
    fused, reference = loss_curve(head, "torch"), loss_curve(head, "reference")
    assert reference[-1] < 0.5 * reference[0]  # it does learn
    torch.testing.assert_close(fused, reference, rtol=1e-9, atol=0)


@pytest.mark.parametrize("head", HEADS)
def test_float32_curves_agree_to_what_rounding_grows_to(head):
    """In float32 two exact implementations drift apart as the network does from itself in float64."""
    exact = loss_curve(head, "reference")
    fused, reference = (loss_curve(head, backend, dtype=torch.float32) for backend in ("torch", "reference"))
    drift = (reference - exact).abs().max()
    assert (fused - exact).abs().max() <= 2 * drift + 1e-4


def test_a_gradient_off_by_one_in_ten_thousand_is_seen():
    class Spoiled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, logits):
            return logits.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * 1.0001

    spoiled = loss_curve(NeRDm, "torch", spoil=Spoiled.apply)
    reference = loss_curve(NeRDm, "reference")
    assert ((spoiled - reference) / reference).abs().max() > 1e-6
