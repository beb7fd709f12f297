"""The 1x1 convolution that a head stands for: what it must be to be replaced, and what of it a head still answers."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from nerd_fast.calibrated import Calibrated


class ConvolutionLike(Calibrated):
    """Answers what code asks of a convolution, and takes a convolution's checkpoint for the start of the head."""

    out_channels: int
    groups = 1
    padding_mode = "zeros"
    transposed = False

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """1 along each axis."""
        return (1,) * self.spatial_dims

    @property
    def stride(self) -> tuple[int, ...]:
        """1 along each axis."""
        return (1,) * self.spatial_dims

    @property
    def dilation(self) -> tuple[int, ...]:
        """1 along each axis."""
        return (1,) * self.spatial_dims

    @property
    def padding(self) -> tuple[int, ...]:
        """0 along each axis."""
        return (0,) * self.spatial_dims

    @property
    def output_padding(self) -> tuple[int, ...]:
        """0 along each axis."""
        return (0,) * self.spatial_dims

    def _start(self, weight: Tensor) -> dict[str, Tensor]:
        """The parameters, by name, of a head that computes what the classifier `weight` (K, C) does, but for the bias.

        Those of the calibrator's hidden layers are not among them: they may have any values.
        """
        raise NotImplementedError

    def _last_layer_start(self, bias: Tensor) -> dict[str, Tensor]:
        """The calibrator's last layer, by name, where it yields `bias` at every position."""
        last = len(self.calibrator) - 1
        hidden = self.hidden_channels[-1]
        return {f"calibrator.{last}.weight": bias.new_zeros(len(bias), hidden), f"calibrator.{last}.bias": bias}

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Loads; a convolution's entries are exchanged for those of the head that computes the same.

        PyTorch hands in a copy of the user's dictionary, and fills the submodules from it afterwards.
        """
        if f"{prefix}weight" in state_dict and not any(key.startswith(f"{prefix}calibrator.") for key in state_dict):
            weight = state_dict.pop(f"{prefix}weight")
            expected = (self.out_channels, self.in_channels, *self.kernel_size)
            shape = tuple(weight.shape) if isinstance(weight, Tensor) else None
            if shape == expected:
                entries = self._entries_from(weight.detach(), bool(local_metadata.get("assign_to_params_buffers")))
            else:
                what, found = ("no tensor", type(weight).__name__) if shape is None else ("size mismatch", shape)
                error_msgs.append(
                    f"{what} for {prefix}weight: expected {expected}, the weight of the 1x1 convolution that this "
                    f"{type(self).__name__} stands for, got {found}"
                )
                entries = {name: parameter.detach() for name, parameter in self.named_parameters() if name != "bias"}
            state_dict.update({f"{prefix}{name}": value for name, value in entries.items()})
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def _entries_from(self, weight: Tensor, assigned: bool) -> dict[str, Tensor]:
        """A state dict, but for the bias, that starts from a convolution's weight; the hidden layers keep theirs.

        Entries that will be the parameters, instead of being copied into them, have the dtype and the device of
        `weight`; hidden layers that have no values yet, on the meta device, are drawn.
        """
        source: nn.Module = self
        if any(parameter.is_meta for parameter in self.parameters()):
            source = copy.deepcopy(self).to_empty(device=weight.device)
            source.reset_parameters()
        own = {name: parameter.detach() for name, parameter in source.named_parameters() if name != "bias"}
        if assigned:
            own = {name: value.to(weight) for name, value in own.items()}
        return {**own, **self._start(weight.flatten(1))}


def check_set_by_conv(options: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raises TypeError where `options` hold one of the `names`, which a convolution decides."""
    for name in names:
        if name in options:
            raise TypeError(f"{name}: it is taken from the convolution, which the result must fit; do not pass it")


def check_conv(conv: nn.Module) -> None:
    """Raises TypeError for what is no `nn.Conv2d` or `nn.Conv3d`, ValueError for one that is not a plain 1x1."""
    if not isinstance(conv, (nn.Conv2d, nn.Conv3d)):
        raise TypeError(f"conv: expected an nn.Conv2d or nn.Conv3d with kernel 1, got {type(conv).__name__}")
    if isinstance(conv.weight, nn.parameter.UninitializedParameter):
        raise ValueError(f"conv: {type(conv).__name__} has no weight yet; run one forward pass of the network first")
    if nn.utils.parametrize.is_parametrized(conv) or "weight" not in conv._parameters:
        raise ValueError(
            "conv: its weight is parametrized (weight_norm, spectral_norm, ...), which a head would drop; remove the "
            "parametrization first, with torch.nn.utils.parametrize.remove_parametrizations(conv, 'weight')"
        )
    if type(conv).forward not in (nn.Conv2d.forward, nn.Conv3d.forward) or "forward" in vars(conv):
        raise ValueError(f"conv: this {type(conv).__name__} has a forward of its own, which a head would drop")
    if any((conv._forward_hooks, conv._forward_pre_hooks, conv._backward_hooks, conv._backward_pre_hooks)):
        raise ValueError("conv: hooks are registered on it, which a head would drop; remove them first")
    for name, expected in (("kernel_size", 1), ("stride", 1), ("groups", 1)):
        value = getattr(conv, name)
        if any(v != expected for v in (value if isinstance(value, tuple) else (value,))):
            raise ValueError(f"conv: expected a 1x1 convolution with {name} {expected}, got {name} {value}")
    if conv.padding != "same" and any(p != 0 for p in (conv.padding if conv.padding != "valid" else (0,))):
        raise ValueError(f"conv: expected no padding, got padding {conv.padding}")
