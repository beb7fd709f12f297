"""What `replace_head` refuses: the reason, what to do, and the model left as it was."""

import pytest
import torch
from torch import nn

from nerd_fast import NeRDc, NeRDm, replace_head
from tests.surgery.small import Forked, heads_of, small_unet


def refused(model, match, **options):
    before = list(model.named_modules())
    with pytest.raises(ValueError, match=match):
        replace_head(model, NeRDm, **options)
    assert list(model.named_modules()) == before


def test_an_unknown_network_alone_is_refused_with_its_candidates():
    refused(small_unet(), r"Pass path=, or example_input=.*Its 1x1 convolutions: 1, 3\.")


def test_monai_unet_is_refused_with_what_to_do():
    nets = pytest.importorskip("monai.networks.nets", reason="the network of this test is MONAI's")
    model = nets.UNet(2, 1, 2, channels=(4, 8), strides=(2,))
    refused(model, r"'model.2.conv': it is a ConvTranspose2d.*replace_head\(model, nerd_fast.NeRDNorm\)")
    appended = nn.Sequential(nets.UNet(2, 1, 4, channels=(4, 8), strides=(2,)), nn.Conv2d(4, 2, 1))
    assert heads_of(replace_head(appended, NeRDm, path="1")) == ["1"]


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (nn.Conv2d(4, 2, 3, padding=1), r"kernel size is \(3, 3\)"),
        (nn.ConvTranspose2d(4, 2, 2, stride=2), "ConvTranspose2d, not an nn.Conv2d"),
        (nn.Conv2d(4, 2, 1, groups=2), "groups 2"),
        (nn.Conv2d(4, 2, 1, stride=2), "stride"),
        (nn.Conv2d(4, 2, 1, padding=1), "padding"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 2, 1)), "parametrized"),
        (nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 2, 1)), "parametrized"),
        (NeRDc(4, 2), "is a NeRDc already"),
        (nn.PReLU(4), "PReLU, not an nn.Conv2d"),
    ],
)
@pytest.mark.parametrize("found_by", ["path", "example_input"])
def test_a_head_that_is_no_plain_1x1_convolution_is_refused(head, reason, found_by):
    model = small_unet(head)
    refused(model, reason, **({"path": "3"} if found_by == "path" else {"example_input": torch.randn(2, 1, 8, 8)}))


def test_the_3x3_head_of_segmentation_models_pytorch_is_refused_without_running_it():
    base = type("SegmentationModel", (nn.Module,), {"__module__": "segmentation_models_pytorch.base.model"})
    kind = type("Unet", (base,), {"__module__": "segmentation_models_pytorch.decoders.unet.model"})
    model = kind()
    model.segmentation_head = nn.Sequential(nn.Conv2d(4, 2, 3, padding=1), nn.Identity(), nn.Identity())
    refused(model, r"'segmentation_head.0'.*kernel size.*replace_head\(model, nerd_fast.NeRDNorm\).*append")
    model.segmentation_head[0] = nn.Conv2d(4, 2, 1)
    assert heads_of(replace_head(model, NeRDm)) == ["segmentation_head.0"]


@pytest.mark.parametrize("combine", [lambda a, b: a + b, lambda a, b: [b, a], lambda a, b: torch.cat([a, b], 1)])
def test_two_candidates_are_refused_by_name(combine):
    refused(Forked(combine), r"several layers, \['first', 'second'\].*path=", example_input=torch.randn(1, 1, 8, 8))


def test_a_layer_that_runs_after_the_one_that_makes_the_output_is_refused():
    refused(
        Forked(lambda a, b: a), "comes from 'first', but 'second' runs after it", example_input=torch.randn(1, 1, 8, 8)
    )


def test_an_output_that_cannot_be_followed_back_is_refused():
    model = Forked(lambda a, b: (a + b).argmax(1))
    refused(model, "could not be followed back", example_input=torch.randn(1, 1, 8, 8))


def test_a_parameter_applied_after_the_head_is_seen():
    class Tempered(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.temperature = small_unet(), nn.Parameter(torch.ones(()))

        def forward(self, x):
            return self.net(x) * self.temperature

    refused(Tempered(), r"several layers, \['net.3', 'temperature'\]", example_input=torch.randn(2, 1, 8, 8))


def test_a_network_that_has_not_seen_data_is_refused():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.LazyConv2d(2, 1))
    refused(model, "no weight yet", path="1")
    refused(model, "run one forward pass", example_input=torch.randn(1, 1, 8, 8))


def test_a_weight_shared_with_another_layer_is_refused():
    model = Forked(lambda a, b: a + b)
    model.second.weight = model.first.weight
    refused(model, "shares its weight with 'second'", path="first")
    refused(model, "shares its weight", path=["first", "second"])


def test_a_convolution_with_hooks_or_its_own_forward_is_refused():
    model = small_unet()
    model[3].register_forward_hook(lambda *_: None)
    refused(model, "hooks", path="3")
    standardised = type("StandardisedConv", (nn.Conv2d,), {"forward": lambda self, x: x})
    refused(small_unet(standardised(4, 2, 1)), "StandardisedConv has a forward of its own", path="3")


@pytest.mark.parametrize(
    "held",
    [
        lambda conv: [conv],
        lambda conv: {"head": conv},
        lambda conv: (conv,),
        lambda conv: {"heads": [("fine", conv)]},
        lambda conv: conv.forward,
        lambda conv: [conv.__call__],
    ],
)
def test_a_convolution_that_the_network_holds_out_of_reach_is_refused(held):
    model = small_unet()
    model[0].blocks = held(model[3])
    refused(model, r"'3': 0\.blocks holds it too, out of reach of the swap", path="3")


def test_one_path_that_fails_leaves_the_others_untouched():
    refused(small_unet(), "'0.0'.*kernel size", path=["3", "0.0"])
    refused(small_unet(), r"no module 'nowhere'.*1, 3", path=["3", "nowhere"])


def test_a_model_that_synchronises_its_parameters_is_refused():
    wrapper = type("DistributedDataParallel", (nn.Module,), {})()
    wrapper.module = small_unet()
    refused(wrapper, "wrap the model then", path="3")


def test_a_convolution_or_a_scripted_model_cannot_be_changed_in_place():
    refused(nn.Conv2d(4, 2, 1), "from_conv")
    refused(torch.jit.trace(small_unet().eval(), torch.randn(1, 1, 8, 8)), "scripted or traced", path="3")


@pytest.mark.parametrize(
    ("arguments", "options", "match"),
    [
        ((small_unet, NeRDm), {"path": "3"}, "model: expected an nn.Module"),
        ((small_unet(), "nerdm"), {"path": "3"}, "head_class"),
        ((small_unet(), nn.Conv2d), {"path": "3"}, "head_class"),
        ((small_unet(), NeRDm), {"path": 3}, "path"),
        ((small_unet(), NeRDm), {"path": []}, "path"),
        ((small_unet(), NeRDm), {"path": "3", "hidden": 8}, "'3'.*hidden"),
        ((small_unet(), NeRDm), {"path": "3", "bias": False}, "bias"),
    ],
)
def test_arguments_of_the_wrong_type_are_refused(arguments, options, match):
    with pytest.raises(TypeError, match=match):
        replace_head(*arguments, **options)
