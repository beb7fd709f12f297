"""Networks as nnU-Net builds them from plans, with NeRD heads put on by the mixins. nnU-Net itself is not needed."""

from types import SimpleNamespace

import pytest
import torch

from nerd_fast import NeRDc, NeRDm
from nerd_fast.nnunet import NeRDcMixin, NeRDmMixin, NoMirroringMixin

pytestmark = pytest.mark.networks
unet = pytest.importorskip("dynamic_network_architectures.architectures.unet")
HEADS = {"nerdm": (NeRDmMixin, NeRDm), "nerdc": (NeRDcMixin, NeRDc)}


def architecture(dims, name):
    """Class and arguments of a small network, as a plans file states them."""
    stages = {"PlainConvUNet": "n_conv_per_stage", "ResidualEncoderUNet": "n_blocks_per_stage"}
    conv, norm = (torch.nn.Conv2d, torch.nn.InstanceNorm2d) if dims == 2 else (torch.nn.Conv3d, torch.nn.InstanceNorm3d)
    return getattr(unet, name), {
        "n_stages": 3,
        "features_per_stage": [8, 16, 32],
        "conv_op": conv,
        "kernel_sizes": [[3] * dims] * 3,
        "strides": [[1] * dims, [2] * dims, [2] * dims],
        stages[name]: [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": norm,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": torch.nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
    }


class Trainer:
    """What the mixins ask of nnU-Net's trainer."""

    @staticmethod
    def build_network_architecture(plans_manager, configuration_manager, inputs, outputs, enable_deep_supervision=True):
        network, arguments = configuration_manager.architecture
        torch.manual_seed(0)
        return network(inputs, num_classes=outputs, deep_supervision=enable_deep_supervision, **arguments)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):
        return "rotation", False, (32, 32), (0, 1)


class OldTrainer:
    """A trainer with the signature of nnU-Net before 2.8."""

    @staticmethod
    def build_network_architecture(network, arguments, imports, inputs, outputs, enable_deep_supervision=True):
        torch.manual_seed(0)
        return network(inputs, num_classes=outputs, deep_supervision=enable_deep_supervision, **arguments)


def manager(dims=2, name="PlainConvUNet", **configuration):
    """A configuration manager with a network in its plans."""
    network, arguments = architecture(dims, name)
    return SimpleNamespace(
        configuration=configuration,
        architecture=(network, arguments),
        network_arch_class_name=network,
        network_arch_init_kwargs=arguments,
        network_arch_init_kwargs_req_import=(),
    )


def with_heads(mixin, base=Trainer):
    return type("TrainerWithHeads", (mixin, base), {})


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize("dims", [2, 3])
def test_every_head_is_replaced_and_no_output_changes(head, name, dims):
    mixin, head_class = HEADS[head]
    before = Trainer.build_network_architecture(None, manager(dims, name), 2, 3)
    after = with_heads(mixin).build_network_architecture(None, manager(dims, name), 2, 3)
    assert all(isinstance(layer, head_class) for layer in after.decoder.seg_layers)
    x = torch.randn(1, 2, *(16,) * dims)
    for expected, found in zip(before(x), after(x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_trainer_of_the_older_signature_gets_its_heads_too():
    network = with_heads(NeRDmMixin, OldTrainer).build_network_architecture(None, manager(), 1, 2)
    assert all(isinstance(layer, NeRDm) for layer in network.decoder.seg_layers)


def test_options_of_the_heads_come_from_the_plans():
    plans = manager(nerd={"hidden_channels": [64, 16], "distance_scale": 0.01})
    network = with_heads(NeRDcMixin).build_network_architecture(None, plans, 1, 2)
    assert [layer.out_features for layer in network.decoder.seg_layers[-1].calibrator[:3:2]] == [64, 16]


@pytest.mark.parametrize(("entry", "found"), [({"hiden_channels": [8]}, "hiden_channels"), ("yes", "'yes'")])
def test_an_entry_of_the_plans_that_says_nothing_to_a_head_is_named(entry, found):
    with pytest.raises(ValueError, match=f'plans file, entry "nerd": found {found}, expected'):
        with_heads(NeRDmMixin).build_network_architecture(None, manager(nerd=entry), 1, 2)


def test_a_plain_checkpoint_fits_but_for_the_heads():
    """nnU-Net's `-pretrained_weights` takes every weight whose name has no `.seg_layers.` in it."""
    plain = Trainer.build_network_architecture(None, manager(), 1, 2).state_dict()
    network = with_heads(NeRDmMixin).build_network_architecture(None, manager(), 1, 2)
    ours = network.state_dict()
    body = {name for name in ours if ".seg_layers." not in name}
    assert body == {name for name in plain if ".seg_layers." not in name}
    assert all(ours[name].shape == plain[name].shape for name in body)


def test_the_network_compiles_whole_and_can_drop_deep_supervision_afterwards():
    network = with_heads(NeRDmMixin).build_network_architecture(None, manager(), 1, 2)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    assert len(compiled(torch.randn(1, 1, 32, 32))) == 2
    network.decoder.deep_supervision = False  # as nnU-Net does before it predicts
    assert compiled(torch.randn(1, 1, 32, 32)).shape == (1, 2, 32, 32)


def test_no_mirroring_is_said_to_training_and_to_prediction():
    trainer = type("T", (NoMirroringMixin, NeRDmMixin, Trainer), {})()
    assert trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size() == ("rotation", False, (32, 32), None)
    assert trainer.inference_allowed_mirroring_axes is None
