"""A hundred steps with the kernels and with the reference on a GPU: the same loss curve."""

import pytest
import torch

from tests.convergence.curves import HEADS, loss_curve

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("head", HEADS)
def test_the_kernels_train_as_the_reference_does(head):
    exact = loss_curve(head, "reference", device="cuda")
    curves = {b: loss_curve(head, b, device="cuda", dtype=torch.float32) for b in ("triton", "reference")}
    drift = (curves["reference"] - exact).abs().max()
    assert (curves["triton"] - exact).abs().max() <= 2 * drift + 1e-4
