"""Finding the head by running the network: what is seen, what is refused, and that nothing is left behind."""

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from nerd_fast import NeRDc, NeRDm, replace_head
from nerd_fast.surgery.watching import Watched, watch
from tests.surgery.small import DeeplySupervised, heads_of, output, small_unet


@pytest.mark.parametrize("tail", [nn.Upsample(scale_factor=2), nn.Softmax(dim=1), nn.Sigmoid(), nn.ReLU(inplace=True)])
def test_watching_finds_the_head_before_layers_without_parameters(tail):
    model, x = nn.Sequential(small_unet(), tail), torch.randn(1, 1, 8, 8)
    before = output(model, x, training=False)
    replace_head(model, NeRDm, example_input=x)
    assert heads_of(model) == ["0.3"]
    torch.testing.assert_close(output(model, x, training=False), before, rtol=1e-5, atol=1e-6)


def test_watching_follows_the_data_and_not_the_order_of_the_modules():
    class Reversed(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Conv2d(4, 2, 1)
            self.scale = nn.Parameter(torch.ones(1, 4, 1, 1))
            self.stem = nn.Conv2d(1, 4, 1)

        def forward(self, x):
            return {"logits": self.head(self.stem(x) * self.scale)}

    assert heads_of(replace_head(Reversed(), NeRDm, example_input=torch.randn(1, 1, 4, 4))) == ["head"]


def test_a_network_that_reads_the_weight_of_its_head_is_seen_and_refused():
    class Reading(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Conv2d(1, 4, 3, padding=1)
            self.head = nn.Conv2d(4, 2, 1)

        def forward(self, x):
            return nn.functional.conv2d(self.body(x), self.head.weight, self.head.bias)

    model, x = Reading(), torch.randn(1, 1, 8, 8)
    with pytest.raises(ValueError, match=r"comes from several layers, \['body', 'head.bias', 'head.weight'\]"):
        replace_head(model, NeRDm, example_input=x)
    before = model(x)
    replace_head(model, NeRDm, path="head")(x).sum().backward()
    assert torch.equal(model(x), before)
    assert model.head.calibrator[0].weight.grad is None  # as docs/networks.md says


def test_watching_takes_several_arguments():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Conv2d(2, 1, 1)

        def forward(self, flair, t1):
            return self.head(torch.cat([flair, t1], 1))

    x = torch.randn(1, 1, 4, 4)
    assert heads_of(replace_head(Two(), NeRDc, example_input=(x, x))) == ["head"]


def test_watching_leaves_statistics_flags_hooks_and_random_state():
    class Noisy(nn.Module):
        """Draws numbers and keeps a statistic of its own, in place and anew, in training."""

        def __init__(self):
            super().__init__()
            self.register_buffer("steps", torch.zeros(1))
            self.register_buffer("mean", torch.zeros(1))

        def forward(self, x):
            if self.training:
                self.steps += 1
                self.mean = self.mean.lerp(x.detach().mean(), 0.1)
            return x + torch.rand_like(x)

    model = nn.Sequential(Noisy(), small_unet())
    model[1][0][3].eval()
    before, flags = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    mean = model[0].mean
    torch.manual_seed(3)
    random_state = torch.get_rng_state()
    seen = watch(model, torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert seen == Watched(["1.3"], "1.3", ["1.3"])
    assert torch.equal(torch.get_rng_state(), random_state)
    assert [m.training for m in model.modules()] == flags
    assert model[0].mean is mean
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert all(not m._forward_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_watching_restores_the_network_when_it_fails():
    model = small_unet()
    with pytest.raises(ValueError, match=r"example_input: the network failed on it: .*channels"):
        replace_head(model, NeRDm, example_input=torch.randn(1, 3, 8, 8))
    assert all(m.training and not m._forward_hooks for m in model.modules())


def test_a_layer_without_bias_is_no_obstacle_to_an_operation_after_the_head():
    body = nn.Conv2d(1, 4, 3, bias=False)
    model = nn.Sequential(body, nn.Conv2d(4, 2, 1), nn.Upsample(scale_factor=2), nn.Softmax(dim=1))
    assert heads_of(replace_head(model, NeRDm, example_input=torch.randn(1, 1, 8, 8))) == ["1"]


def test_a_head_that_runs_in_training_alone_is_seen_and_nothing_is_swapped():
    model, x = DeeplySupervised(), torch.randn(2, 1, 8, 8)
    assert watch(model, x) == Watched(["fine"], "fine", ["coarse", "fine"])
    with pytest.raises(ValueError, match=r"comes from 'fine', in training from \['coarse', 'fine'\]: pass the heads"):
        replace_head(model, NeRDm, example_input=x)
    assert heads_of(model) == []
    assert heads_of(replace_head(model, NeRDm, path=["coarse", "fine"])) == ["coarse", "fine"]


def test_training_mode_needs_no_batch():
    """As in the image pooling of DeepLab: a batch normalisation of one number for each channel."""
    pooled = nn.Sequential(nn.Conv2d(1, 4, 1), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    assert heads_of(replace_head(pooled, NeRDm, example_input=torch.randn(1, 1, 8, 8))) == ["3"]


def test_a_network_that_fails_in_training_mode_alone_is_refused_as_it_was():
    class NeedsTargets(DeeplySupervised):
        def forward(self, x, targets=None):
            if self.training and targets is None:
                raise ValueError("targets are missing")
            return super().forward(x)

    model = NeedsTargets().eval()
    with pytest.raises(ValueError, match=r"failed on it in training mode.*path= needs no run.*targets are missing"):
        replace_head(model, NeRDm, example_input=torch.randn(2, 1, 8, 8))
    assert heads_of(model) == []
    assert not any(m.training or m._forward_hooks for m in model.modules())


def test_an_output_in_a_dataclass_is_followed_back():
    @dataclass
    class Output:
        logits: torch.Tensor
        loss: torch.Tensor | None = None

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = small_unet()

        def forward(self, x):
            return Output(self.net(x).sigmoid())

    assert heads_of(replace_head(Net(), NeRDm, example_input=torch.randn(2, 1, 8, 8))) == ["net.3"]


def test_a_function_of_others_that_keeps_a_path_is_not_taken_for_a_layer():
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.path = "elsewhere"
            return 2 * x

        @staticmethod
        def backward(ctx, grad):
            return 2 * grad

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = small_unet()

        def forward(self, x):
            return Doubled.apply(self.net(x))

    assert heads_of(replace_head(Net(), NeRDm, example_input=torch.randn(2, 1, 8, 8))) == ["net.3"]
