"""The U-Net starts as the same function whatever its head, and takes the sizes of the paper."""

import pytest
import torch

from nerd_fast import NeRDc, NeRDm
from nerd_fast.segmentation.base.config import TrainConfig
from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.network.controls import BlindNeRDm
from nerd_fast.segmentation.network.network import build_network, check_normalised, compile_network


def network(head, classes=1, **options):
    torch.manual_seed(0)
    return build_network(TrainConfig(head=head, **{"filters": [4, 4, 4, 4, 8], **options}), 2, classes).eval()


@pytest.mark.parametrize(("head", "kind"), [("nerdm", NeRDm), ("nerdc", NeRDc), ("blind", BlindNeRDm)])
@pytest.mark.parametrize("classes", [1, 3])
def test_a_head_starts_as_the_convolution(head, kind, classes):
    images = torch.rand(2, 2, 32, 48)
    swapped = network(head, classes)
    assert isinstance(swapped.final_conv, kind)
    torch.testing.assert_close(swapped(images), network("conv", classes)(images))


@pytest.mark.parametrize(("classes", "outputs"), [(1, 1), (2, 3), (4, 5)])
def test_one_class_is_one_logit_and_several_get_one_for_the_background(classes, outputs):
    assert network("conv", classes)(torch.rand(1, 2, 32, 32)).shape == (1, outputs, 32, 32)


@pytest.mark.parametrize("filters", [256, 512])
def test_the_paper_s_networks_end_on_features_as_wide_as_their_first_level(filters):
    model = network("nerdm", filters=[filters])
    assert model.final_conv.in_channels == filters // 16


@pytest.mark.parametrize("size", [(290, 240), (160, 224)])
def test_the_crops_of_the_paper_fit(size):
    assert network("nerdc")(torch.rand(1, 2, *size)).shape == (1, 1, *size)


@pytest.mark.parametrize("normalisation", ["batch", "instance", "group"])
def test_normalisations_train(normalisation):
    model = network("conv", normalisation=normalisation).train()
    model(torch.rand(2, 2, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_calibrator_takes_the_options_of_the_configuration():
    head = network("nerdm", hidden_channels=[8, 16, 8], distance_scale=0.01).final_conv
    assert (head.hidden_channels, head.distance_scale) == ((8, 16, 8), 0.01)


@pytest.mark.parametrize(("normalisation", "slices"), [("batch", 1), ("instance", 4), ("group", 1)])
def test_one_number_to_normalise_is_refused_before_it_is_met(normalisation, slices):
    options = {"normalisation": normalisation, "filters": [8, 8, 8, 8, 8]}
    config, images = TrainConfig(**options), torch.rand(slices, 2, 16, 16)
    with pytest.raises(ValueError, match="Expected more than 1"):
        network("conv", **options).train()(images)
    with pytest.raises(UsageError, match=f"--size: found 16 16 with --normalisation {normalisation}"):
        check_normalised(config, (16, 16), slices)
    check_normalised(config, (32, 16), slices)
    network("conv", **options).train()(torch.rand(slices, 2, 32, 16))


@pytest.mark.slow
def test_a_compiled_network_is_the_same_function_with_the_same_weights(monkeypatch):
    compiled, images = network("nerdm"), torch.rand(2, 2, 32, 48).contiguous(memory_format=torch.channels_last)
    expected = compiled(images)
    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compile_module(self, backend="aot_eager"))
    compile_network(compiled, (32, 48))
    torch.testing.assert_close(compiled(images), expected)
    assert compiled.state_dict().keys() == network("nerdm").state_dict().keys()


def test_compiling_for_sizes_that_need_padding_is_refused():
    with pytest.raises(UsageError, match="--compile: found slices of 290x240"):
        compile_network(network("conv"), (290, 240))


def test_windows_that_leave_one_number_to_normalise_are_refused_before_the_network_sees_them():
    config = TrainConfig(filters=[4, 4, 4, 4, 8], normalisation="instance")
    with pytest.raises(UsageError, match="--window: found 16 16 with --normalisation instance, which"):
        check_normalised(config, (16, 16))
    check_normalised(config, (32, 16))
    check_normalised(TrainConfig(filters=[4, 4, 4, 4, 8]), (16, 16))  # statistics kept from training
