"""How the kernels of a position map are called: how often, in how many shares of the batch, with what memory."""

import itertools

import pytest
import torch

from nerd_fast import kernels
from nerd_fast.kernels import launch, map_launch, map_tiling

pytestmark = pytest.mark.interpreter


@pytest.fixture
def launches(monkeypatch):
    counted = []
    run = launch.Launch.run

    def counting(self):
        counted.append(self)
        run(self)

    monkeypatch.setattr(launch.Launch, "run", counting)
    return counted


def tensors(batch=9, channels=16, classes=2, spatial=(4, 8), layout=torch.contiguous_format, device="cpu"):
    x = torch.randn(batch, channels, *spatial, device=device).contiguous(memory_format=layout)
    weight, beta = (torch.randn(classes, *shape, device=device) for shape in ((channels, *spatial), spatial))
    return torch.randn(batch, classes, *spatial, device=device), x, weight, beta


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_forward_is_one_launch_and_a_backward_at_most_two(layout, launches, device):
    grad, *operands = tensors(layout=layout, device=device)
    kernels.position_map_forward(*operands)
    assert len(launches) == 1
    kernels.position_map_backward(grad, *operands, wants=[True, False, False])
    assert len(launches) == 2
    kernels.position_map_backward(grad, *operands, wants=[True, True, True])
    assert [step.kernel.__name__ for step in launches[2:]] == ["map_backward", "sum_rows"]


def test_an_empty_batch_launches_nothing(launches, device):
    grad, *operands = tensors(batch=0, device=device)
    assert kernels.position_map_forward(*operands).shape == grad.shape
    gradients = kernels.position_map_backward(grad, *operands, wants=[True, True, True])
    assert not launches
    assert not any(gradient.count_nonzero() for gradient in gradients)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_one_share_of_the_batch_gives_what_several_give_and_needs_no_workspace(layout, launches, monkeypatch, device):
    grad, *operands = tensors(batch=11, layout=layout, device=device)
    logits = kernels.position_map_forward(*operands)
    shared = kernels.position_map_backward(grad, *operands, wants=[True, True, True])
    assert all(step.arguments["shares"] > 1 for step in launches[:2])
    monkeypatch.setattr(map_tiling, "shares", lambda *_: 1)
    launches.clear()
    assert torch.equal(kernels.position_map_forward(*operands), logits)
    whole = kernels.position_map_backward(grad, *operands, wants=[True, True, True])
    assert [step.kernel.__name__ for step in launches] == ["map_forward", "map_backward"]
    for one, several in zip(whole, shared, strict=True):
        torch.testing.assert_close(one, several)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_features_in_both_memory_formats_are_not_copied(layout, launches, device):
    _, x, weight, beta = tensors(layout=layout, device=device)
    kernels.position_map_forward(x, weight, beta)
    assert launches[0].arguments["x"].data_ptr() == x.data_ptr()
    assert map_launch.adjacency(x) == ("positions" if layout is torch.contiguous_format else "channels")


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
