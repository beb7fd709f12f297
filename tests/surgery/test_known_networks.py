"""The registry, on networks that have no more of a library than its names."""

import pytest
from torch import nn

from nerd_fast import NeRDm, NeRDNorm, replace_head
from nerd_fast.surgery.known_networks import known_heads
from tests.surgery.small import heads_of, norms_of


def named(name, module, *bases):
    """A class of another library, by its name alone."""
    return type(name, bases or (nn.Module,), {"__module__": module})


def with_layer(network, path, layer):
    """Puts `layer` at `path`, making the modules on the way."""
    *parents, last = path.split(".")
    for name in parents:
        if name not in network._modules:
            network.add_module(name, nn.Module())
        network = network._modules[name]
    network.add_module(last, layer)


SEGMENTOR = named("BaseSegmentor", "mmseg.models.segmentors.base")
ENCODER_DECODER = named("EncoderDecoder", "mmseg.models.segmentors.encoder_decoder", SEGMENTOR)
CASCADE = named("CascadeEncoderDecoder", "mmseg.models.segmentors.cascade_encoder_decoder", ENCODER_DECODER)


@pytest.mark.parametrize(
    ("kind", "paths"),
    [
        (ENCODER_DECODER, ["decode_head.conv_seg"]),
        (ENCODER_DECODER, ["decode_head.conv_seg", "auxiliary_head.conv_seg"]),
        (ENCODER_DECODER, ["decode_head.conv_seg", "auxiliary_head.0.conv_seg", "auxiliary_head.1.conv_seg"]),
        (CASCADE, ["decode_head.0.conv_seg", "decode_head.1.conv_seg"]),
    ],
)
def test_mmsegmentation_keeps_its_heads_where_its_decode_heads_do(kind, paths):
    network = kind()
    for path in paths:
        with_layer(network, path, nn.Conv2d(4, 2, 1))
    with_layer(network, "decode_head.fusion.conv_seg", nn.Conv2d(4, 2, 1))
    assert heads_of(replace_head(network, NeRDm)) == paths


def test_an_identity_in_the_place_of_a_head_is_none():
    network = named("SegResNetDS", "monai.networks.nets.segresnet_ds")()
    with_layer(network, "up_layers.0.head", nn.Identity())
    with_layer(network, "up_layers.1.head", nn.Conv2d(4, 2, 1))
    assert norms_of(replace_head(network, NeRDNorm)) == ["up_layers.1.head.norm"]


def test_a_name_of_another_library_means_nothing():
    network = named("BasicUNet", "mine.networks")()
    with_layer(network, "final_conv", nn.Conv2d(4, 2, 1))
    assert known_heads(network) == []


def test_one_head_of_several_that_is_no_1x1_convolution_leaves_the_others_untouched():
    network = ENCODER_DECODER()
    with_layer(network, "decode_head.conv_seg", nn.Conv2d(4, 2, 1))
    with_layer(network, "auxiliary_head.conv_seg", nn.Conv2d(4, 2, 3))
    with pytest.raises(
        ValueError, match=r"'auxiliary_head.conv_seg': its kernel size is \(3, 3\).*Nothing was changed"
    ):
        replace_head(network, NeRDm)
    assert heads_of(network) == []
    assert norms_of(replace_head(network, NeRDNorm)) == ["decode_head.conv_seg.norm", "auxiliary_head.conv_seg.norm"]
