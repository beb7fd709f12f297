"""`replace_head`: the right convolutions, the same output, nothing else touched."""

import copy

import pytest
import torch
from torch import nn

from nerd_fast import NeRDc, NeRDm, replace_head
from nerd_fast.surgery.watching import watch

HEADS = [NeRDm, NeRDc]
DYNUNET = {"kernel_size": [3, 3, 3, 3], "strides": [1, 2, 2, 2], "upsample_kernel_size": [2, 2, 2]}
FEATURES = (4, 4, 8, 8, 8, 4)


def dynunet(dims, **options):
    return {"spatial_dims": dims, "in_channels": 1, "out_channels": 2, "filters": [4, 6, 8, 8], **DYNUNET, **options}


def levels(dims, **options):
    return {"spatial_dims": dims, "in_channels": 1, "out_channels": 2, **options}


def attention(dims):
    return levels(dims, channels=(4, 8), strides=(2,))


def transformer(dims):
    sizes = {"feature_size": 4, "hidden_size": 12, "mlp_dim": 12, "num_heads": 2}
    return {"in_channels": 1, "out_channels": 2, "img_size": (32,) * dims, "spatial_dims": dims, **sizes}


def swin(dims):
    return levels(dims, feature_size=12, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1), window_size=2)


MONAI = {
    "BasicUNet": (lambda dims: levels(dims, features=FEATURES), ["final_conv"]),
    "BasicUNetPlusPlus": (
        lambda dims: levels(dims, features=FEATURES, deep_supervision=True),
        [f"final_conv_0_{i}" for i in range(1, 5)],
    ),
    "DynUNet": (dynunet, ["output_block.conv.conv"]),
    "SegResNet": (lambda dims: levels(dims, init_filters=8), ["conv_final.2.conv"]),
    "UNETR": (transformer, ["out.conv.conv"]),
    "SwinUNETR": (swin, ["out.conv.conv"]),
    "AttentionUnet": (attention, ["model.2.conv"]),
}


def monai_network(nets, name, dims):
    """A tiny network with its input and the paths of its heads."""
    if name in ("UNETR", "SwinUNETR"):
        pytest.importorskip("einops", reason="MONAI's transformers need einops")
    options, paths = MONAI[name]
    torch.manual_seed(0)
    size = (64, 64, 32)[-dims:] if name == "SwinUNETR" else (32,) * dims
    return getattr(nets, name)(**options(dims)), torch.randn(4 - dims, 1, *size), paths


@pytest.fixture(scope="module")
def nets():
    return pytest.importorskip("monai.networks.nets", reason="the networks of this test are MONAI's")


def heads_of(model):
    return [path for path, module in model.named_modules() if isinstance(module, (NeRDm, NeRDc))]


def output(model, x, training):
    """What a copy of the model computes, so that its statistics stay as they are."""
    torch.manual_seed(5)
    with torch.no_grad():
        return copy.deepcopy(model).train(training)(x)


def small_unet(head=None):
    """Features with batch normalisation and dropout, then a 1x1 gate that is no head, then the head."""
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5))
    gate = nn.Conv2d(4, 4, 1)
    return nn.Sequential(stem, gate, nn.ReLU(), head or nn.Conv2d(4, 2, 1))


class Forked(nn.Module):
    """Two 1x1 convolutions and a rule that makes the output of them."""

    def __init__(self, combine):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.first = nn.Conv2d(4, 2, 1)
        self.second = nn.Conv2d(4, 2, 1)
        self.combine = combine

    def forward(self, x):
        features = self.stem(x)
        return self.combine(self.first(features), self.second(features))


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
@pytest.mark.parametrize("name", MONAI)
def test_every_head_of_a_monai_network_is_replaced_and_its_outputs_stay(nets, name, dims):
    model, x, paths = monai_network(nets, name, dims)
    before = [output(model, x, training) for training in (True, False)]
    assert replace_head(model, HEADS[dims - 2]) is model
    assert heads_of(model) == paths
    torch.testing.assert_close([output(model, x, training) for training in (True, False)], before, rtol=1e-5, atol=1e-5)


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

    assert heads_of(replace_head(Mine(**levels(2, features=FEATURES)), NeRDm)) == ["final_conv"]


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


@pytest.mark.parametrize("name", ["BasicUNet", "SegResNet", "AttentionUnet", "UNETR", "SwinUNETR"])
def test_watching_sees_what_the_registry_knows(nets, name):
    class Unknown(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x)

    model, x, paths = monai_network(nets, name, 2)
    assert heads_of(replace_head(Unknown(model), NeRDm, example_input=x)) == ["net." + path for path in paths]


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
        def forward(self, x):
            assert not self.training
            return x + torch.rand_like(x)

    model = nn.Sequential(Noisy(), small_unet())
    model[1][0][3].eval()
    before, flags = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    torch.manual_seed(3)
    random_state = torch.get_rng_state()
    assert watch(model, torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))) == (["1.3"], "1.3")
    assert torch.equal(torch.get_rng_state(), random_state)
    assert [m.training for m in model.modules()] == flags
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert all(not m._forward_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_watching_restores_the_network_when_it_fails():
    model = small_unet()
    with pytest.raises(ValueError, match=r"example_input: the network failed on it: .*channels"):
        replace_head(model, NeRDm, example_input=torch.randn(1, 3, 8, 8))
    assert all(m.training and not m._forward_hooks for m in model.modules())


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
