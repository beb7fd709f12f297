"""How the kernels of position maps and of the normalisation are called: how often, in how many shares of the batch."""

import itertools

import pytest
import torch

from nerd_fast import kernels
from nerd_fast.kernels import map_plan, map_tiling
from nerd_fast.kernels.plan import Features

pytestmark = pytest.mark.interpreter


def forget_plans():
    map_plan.forward.cache_clear()
    map_plan.backward.cache_clear()


def tensors(batch=9, channels=16, classes=2, spatial=(4, 8), layout=torch.contiguous_format, device="cpu"):
    x = torch.randn(batch, channels, *spatial, device=device).contiguous(memory_format=layout)
    weight, beta = (torch.randn(classes, *shape, device=device) for shape in ((channels, *spatial), spatial))
    return torch.randn(batch, classes, *spatial, device=device), x, weight, beta


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_map_is_one_launch_forward_and_at_most_two_backward(layout, launches, device):
    grad, *operands = tensors(layout=layout, device=device)
    kernels.position_map_forward(*operands)
    assert len(launches) == 1
    kernels.position_map_backward(grad, *operands, wants=[True, False, False])
    assert len(launches) == 2
    kernels.position_map_backward(grad, *operands, wants=[True, True, True])
    assert [step.kernel.__name__ for step in launches[2:]] == ["map_backward", "sum_rows"]


def test_a_map_of_an_empty_batch_launches_nothing(launches, device):
    grad, *operands = tensors(batch=0, device=device)
    assert kernels.position_map_forward(*operands).shape == grad.shape
    gradients = kernels.position_map_backward(grad, *operands, wants=[True, True, True])
    assert not launches
    assert not any(gradient.count_nonzero() for gradient in gradients)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_one_share_of_a_batch_gives_what_several_give_in_one_launch(layout, launches, monkeypatch, device):
    grad, *operands = tensors(batch=11, layout=layout, device=device)
    logits = kernels.position_map_forward(*operands)
    shared = kernels.position_map_backward(grad, *operands, wants=[True, True, True])
    assert all(step.arguments["shares"] > 1 for step in launches[:2])
    forget_plans()
    monkeypatch.setattr(map_tiling, "shares", lambda *_: 1)
    launches.clear()
    assert torch.equal(kernels.position_map_forward(*operands), logits)
    whole = kernels.position_map_backward(grad, *operands, wants=[True, True, True])
    assert [step.kernel.__name__ for step in launches] == ["map_forward", "map_backward"]
    forget_plans()
    for one, several in zip(whole, shared, strict=True):
        torch.testing.assert_close(one, several)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_map_copies_features_in_neither_memory_format(layout, launches, device):
    _, x, weight, beta = tensors(layout=layout, device=device)
    kernels.position_map_forward(x, weight, beta)
    assert launches[0].arguments["x"].data_ptr() == x.data_ptr()
    adjacent = map_plan.adjacency(Features.of(x.shape, x.stride()), x.shape[1])
    assert adjacent == ("positions" if layout is torch.contiguous_format else "channels")


def test_a_normalisation_is_one_launch_forward_and_at_most_three_backward(launches, device):
    x, grad = torch.randn(2, 2, 16, 3, 4, device=device)
    weights, biases = [torch.randn(8, 4), torch.randn(32, 8)], [torch.randn(8), torch.randn(32)]
    weights, biases = ([tensor.to(device) for tensor in tensors] for tensors in (weights, biases))
    options = {"activation": "relu", "scale": None, "origin": (0, 0), "extent": (3, 4), "precision": "ieee"}
    kernels.normalisation_forward(x, weights, biases, **options)
    assert len(launches) == 1
    kernels.normalisation_backward(grad, x, weights, biases, **options, wants=[True] + [False] * 4)
    assert len(launches) == 2
    kernels.normalisation_backward(grad, x, weights, biases, **options, wants=[True] * 5)
    names = [step.kernel.__name__ for step in launches[2:]]
    assert names == ["norm_backward", "calibrator_backward_narrow", "sum_rows"]


def test_large_images_take_one_share_and_small_ones_many():
    assert map_tiling.shares(programs=1120, batch=64, samples=8) == 1
    assert map_tiling.shares(programs=8, batch=64, samples=8) == 8
    assert map_tiling.shares(programs=8, batch=3, samples=8) == 1


@pytest.mark.parametrize("adjacent", ["positions", "channels", None])
def test_every_tile_is_one_that_the_kernels_take(adjacent):
    for classes, channels in itertools.product(range(1, 65), (1, 3, 16, 20, 32, 256)):
        if adjacent == "channels" and channels % 16:
            continue
        forward = map_tiling.forward(channels, classes, adjacent)
        assert channels % forward.channel_step == 0
        assert adjacent != "channels" or forward.channel_step % 4 == 0
        assert 0 <= -classes % forward.class_step < forward.class_step
        backward = map_tiling.backward(channels, classes, adjacent)
        held = 2 * classes * backward.positions * backward.channels // map_tiling.THREADS  # W and dW of a thread
        assert held <= 128
