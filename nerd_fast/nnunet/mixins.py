"""What makes an nnU-Net trainer train with a NeRD head. Written for trainers that are not ours, too:

    class nnUNetTrainerMine(NeRDmMixin, nnUNetTrainerDA5): ...

nnU-Net calls `build_network_architecture` to train and, on the class alone, to predict; what a head is made with must
therefore lie in the plans, which nnU-Net keeps beside the checkpoint.
"""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from nerd_fast.heads import NeRDc, NeRDHead, NeRDm
from nerd_fast.surgery import replace_head

HEAD_OPTIONS = ("hidden_channels", "activation", "distance_scale", "backend", "precision")


class _HeadMixin:
    """Builds the network of the next trainer in line and replaces its heads, deep supervision's included."""

    head_class: ClassVar[type[NeRDHead]]

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The network of the plans with NeRD heads, its outputs unchanged at the start.

        Options of the heads are the entry `"nerd"` of the configuration in the plans file, such as
        `{"hidden_channels": [64, 64]}`; without one the heads have their defaults.

        Raises:
            ValueError: an option that heads do not have, or a network without a 1x1 convolution to replace.
        """
        options = head_options(configuration_manager.configuration)
        build = super().build_network_architecture  # type: ignore[misc]  # of the trainer this is mixed into
        shape = (num_input_channels, num_output_channels, enable_deep_supervision)
        network: nn.Module
        if "plans_manager" in inspect.signature(build).parameters:
            network = build(plans_manager, configuration_manager, *shape)
        else:  # trainers written for nnU-Net before 2.8
            network = build(
                configuration_manager.network_arch_class_name,
                configuration_manager.network_arch_init_kwargs,
                configuration_manager.network_arch_init_kwargs_req_import,
                *shape,
            )
        return replace_head(network, cls.head_class, **options)


class NeRDmMixin(_HeadMixin):
    """Normalises the last features with position (NeRDm). Recommended for many classes."""

    head_class = NeRDm


class NeRDcMixin(_HeadMixin):
    """Gives every position its own classifier (NeRDc). Its last layer grows with classes times channels."""

    head_class = NeRDc


class NoMirroringMixin:
    """Neither trains nor predicts on mirrored patches, so that left and right can differ."""

    inference_allowed_mirroring_axes: Any

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, Any, Any, None]:
        configure = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size  # type: ignore[misc]
        rotation, dummy_2d, initial_patch_size, _ = configure()
        self.inference_allowed_mirroring_axes = None
        return rotation, dummy_2d, initial_patch_size, None


def head_options(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the heads in a configuration of the plans. Raises ValueError for one that heads do not have."""
    options = configuration.get("nerd", {})
    if not isinstance(options, Mapping):
        raise ValueError(f'plans file, entry "nerd": found {options!r}, expected an object of options such as {{}}')
    unknown = sorted(set(options) - set(HEAD_OPTIONS))
    if unknown:
        raise ValueError(
            f'plans file, entry "nerd": found {", ".join(unknown)}, expected options among {", ".join(HEAD_OPTIONS)}'
        )
    return dict(options)
