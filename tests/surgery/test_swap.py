"""`replace_head`: the right convolutions, the same output, nothing else touched."""

import pytest
import torch
from torch import nn

from nerd_fast import NeRDc, NeRDm, replace_head
from tests.surgery.small import Forked, heads_of, output, small_unet

HEADS = [NeRDm, NeRDc]
DYNUNET = {"kernel_size": [3, 3, 3, 3], "strides": [1, 2, 2, 2], "upsample_kernel_size": [2, 2, 2]}


def dynunet(dims, **options):
    return {"spatial_dims": dims, "in_channels": 1, "out_channels": 2, "filters": [4, 6, 8, 8], **DYNUNET, **options}


def levels(dims, **options):
    return {"spatial_dims": dims, "in_channels": 1, "out_channels": 2, **options}


@pytest.fixture(scope="module")
def nets():
    return pytest.importorskip("monai.networks.nets", reason="the networks of this test are MONAI's")


class NnUNetLike(nn.Module):
    """The layout of nnU-Net's decoder: one layer per resolution, always built, used as deep supervision says."""

    def __init__(self, dims, deep_supervision):
        super().__init__()
        conv, self.pool = (nn.Conv2d, nn.AvgPool2d(2)) if dims == 2 else (nn.Conv3d, nn.AvgPool3d(2))
        self.encoder = conv(1, 4, 3, padding=1)
        self.decoder = nn.Module()
        self.decoder.deep_supervision = deep_supervision
        self.decoder.seg_layers = nn.ModuleList([conv(4, 2, 1), conv(4, 2, 1)])

    def forward(self, x):
        features = self.encoder(x)
        half, full = self.decoder.seg_layers[0](self.pool(features)), self.decoder.seg_layers[1](features)
        return [full, half] if self.decoder.deep_supervision else full


@pytest.mark.parametrize("dims", [2, 3])
def test_deep_supervision_heads_of_dynunet_are_replaced_under_every_name(nets, dims):
    torch.manual_seed(0)
    model = nets.DynUNet(**dynunet(dims, deep_supervision=True, deep_supr_num=2))
    x = torch.randn(1, 1, *(32,) * dims)
    before = output(model, x, training=True)
    replace_head(model, NeRDm)
    assert sum(isinstance(m, (nn.Conv2d, nn.Conv3d)) and m.out_channels == 2 for m in model.modules()) == 0
    assert model.skip_layers.next_layer.super_head.conv.conv is model.deep_supervision_heads[0].conv.conv
    assert len(heads_of(model)) == 3
    torch.testing.assert_close(output(model, x, training=True), before, rtol=1e-5, atol=1e-5)
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.deep_supervision_heads.parameters())


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("dims", [2, 3])
def test_every_resolution_of_an_nnunet_decoder_is_replaced(head, dims):
    model, x = NnUNetLike(dims, deep_supervision=True), torch.randn(2, 1, *(8,) * dims)
    before = output(model, x, training=False)
    replace_head(model, head)
    assert heads_of(model) == ["decoder.seg_layers.0", "decoder.seg_layers.1"]
    torch.testing.assert_close(output(model, x, training=False), before, rtol=1e-5, atol=1e-6)


def test_a_subclass_of_a_known_network_is_known(nets):
    class Mine(nets.BasicUNet):
        pass

    assert heads_of(replace_head(Mine(**levels(2, features=(4, 4, 8, 8, 8, 4))), NeRDm)) == ["final_conv"]


def test_a_head_of_segresnet_that_is_not_applied_is_not_taken_for_one(nets):
    model = nets.SegResNet(**levels(2, init_filters=8, use_conv_final=False))
    with pytest.raises(ValueError, match="is not known"):
        replace_head(model, NeRDm)


def test_options_reach_the_head_and_the_bias_follows_the_convolution():
    model = replace_head(small_unet(nn.Conv2d(4, 2, 1, bias=False)), NeRDc, path="3", hidden_channels=(8,))
    assert model[3].hidden_channels == (8,)
    assert model[3].bias is None


def test_several_paths_are_replaced_together():
    model, x = Forked(lambda a, b: a + b), torch.randn(1, 1, 8, 8)
    before = model(x)
    replace_head(model, NeRDm, path=["first", "second"])
    assert heads_of(model) == ["first", "second"]
    torch.testing.assert_close(model(x), before)


def test_a_convolution_under_two_names_is_replaced_under_both():
    model = Forked(lambda a, b: a + b)
    model.second = model.first
    assert replace_head(model, NeRDm, path="second").first is model.second


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_mode_and_requires_grad_are_kept(training, frozen):
    model = small_unet().train(training)
    model.requires_grad_(not frozen)
    others = dict(model[:3].named_parameters())
    replace_head(model, NeRDm, example_input=torch.randn(2, 1, 8, 8))
    assert all(m.training == training for m in model.modules())
    assert model[3].classifier.requires_grad != frozen
    assert model[3].bias.requires_grad != frozen
    assert all(parameter.requires_grad for parameter in model[3].calibrator.parameters())  # it is new
    assert all(parameter is others[name] for name, parameter in model[:3].named_parameters())
    assert all(parameter.requires_grad != frozen for parameter in others.values())


def test_dtype_is_kept():
    model = replace_head(small_unet().double(), NeRDc, path="3")
    assert {p.dtype for p in model[3].parameters()} == {torch.float64}


def test_a_compiled_model_is_changed_inside_and_computes_with_the_new_head():
    model, x = small_unet().eval(), torch.randn(2, 1, 8, 8)
    compiled = torch.compile(model, backend="eager")
    before = compiled(x)
    assert replace_head(compiled, NeRDm, example_input=x) is compiled
    assert heads_of(model) == ["3"]
    torch.testing.assert_close(compiled(x), before, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        model[3].classifier.zero_()
        model[3].bias.fill_(3)
    torch.testing.assert_close(compiled(x), torch.full_like(before, 3))


def test_a_model_in_data_parallel_is_changed_inside():
    model = nn.DataParallel(small_unet())
    assert replace_head(model, NeRDm, path="3") is model
    assert heads_of(model) == ["module.3"]
