"""Checks of what a user hands to a head, before anything is launched.

Every message names the argument, what came and what was expected.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from nerd_fast.backends.calibrator import ACTIVATIONS
from nerd_fast.backends.selection import NAMES
from nerd_fast.distances import FLOATING
from nerd_fast.integers import at_least_one, in_order, whole_number

Activation = Literal["relu", "leaky_relu", "silu", "tanh"]
Backend = Literal["auto", "torch", "triton", "reference"]
MapBackend = Literal["auto", "torch", "triton"]
Precision = Literal["ieee", "tf32x3", "tf32"]
BACKENDS = (*NAMES, "reference")
PRECISIONS = ("ieee", "tf32x3", "tf32")
_CHOICES = {"activation": tuple(ACTIVATIONS), "backend": BACKENDS, "precision": (None, *PRECISIONS)}


def number_of_axes(spatial_dims: int) -> int:
    """`spatial_dims` as an int. Raises TypeError for what is no whole number, ValueError for another than 2 and 3."""
    expected = f"spatial_dims: expected 2 or 3, got {spatial_dims!r}"
    try:
        dims: int = whole_number(spatial_dims)
    except TypeError:
        raise TypeError(expected) from None
    if dims not in (2, 3):
        raise ValueError(expected)
    return dims


def hidden_widths(hidden_channels: Iterable[int]) -> tuple[int, ...]:
    """The widths of the hidden layers as a tuple of ints.

    Raises TypeError for what is no sequence of whole numbers, such as a single width, and ValueError for no width and
    for one below 1.
    """
    expected = "hidden_channels: expected one width of at least 1 per hidden layer, such as (32, 32)"
    try:
        widths = in_order(hidden_channels)
    except TypeError:
        example = f"; for one hidden layer, ({hidden_channels},)" if hasattr(hidden_channels, "__index__") else ""
        raise TypeError(f"{expected}, got {hidden_channels!r}{example}") from None
    if not widths:
        raise ValueError(f"{expected}, got {hidden_channels!r}")
    return tuple(at_least_one(f"hidden_channels[{layer}]", width) for layer, width in enumerate(widths))


def check_choices(activation: str, backend: str, precision: str | None) -> None:
    """Raises ValueError for an unknown activation, backend or precision."""
    for name, value in (("activation", activation), ("backend", backend), ("precision", precision)):
        if value not in _CHOICES[name]:
            raise ValueError(f"{name}: expected one of {_CHOICES[name]}, got {value!r}")


def check_map_backend(backend: str) -> None:
    """Raises ValueError for a backend that does not run a position map."""
    if backend not in NAMES:
        raise ValueError(f"backend: expected one of {NAMES}, got {backend!r}")


def check_features(x: Tensor, in_channels: int, weights: Sequence[Tensor]) -> None:
    """`check_tensor` of x for the rank that the calibrator reads: 4 distances in 2-D, 6 in 3-D."""
    inputs = weights[0].shape[-1] if len(weights) and weights[0].dim() else 0
    if inputs not in (4, 6):
        raise ValueError(f"weights[0]: expected 4 inputs (2-D) or 6 (3-D), the boundary distances, got {inputs}")
    check_tensor(x, in_channels, inputs // 2)


def check_tensor(x: Tensor, in_channels: int, spatial_dims: int) -> None:
    """Raises TypeError or ValueError unless x is a floating-point (B, in_channels, *spatial) tensor."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"x: expected a tensor of features, got {type(x).__name__}")
    if x.dtype not in FLOATING:
        raise TypeError(f"x: expected float32, float16, bfloat16 or float64 features, got {x.dtype}")
    if x.dim() != spatial_dims + 2:
        expected = "(B, C, H, W)" if spatial_dims == 2 else "(B, C, D, H, W)"
        raise ValueError(f"x: expected {expected}, got {x.dim()} dimensions of sizes {tuple(x.shape)}")
    if x.shape[1] != in_channels:
        raise ValueError(f"x: expected {in_channels} channels in dimension 1, got {x.shape[1]} in {tuple(x.shape)}")
    for size in x.shape[2:]:
        if size < 1:
            raise ValueError(f"x: expected spatial sizes of at least 1, got {tuple(x.shape)}")


def check_are_tensors(**tensors: Any) -> None:
    """Raises TypeError for an argument that is no tensor: no list of them where it is a calibrator's weights or biases.

    None stands for a bias or a beta that there is not.
    """
    for name, value in tensors.items():
        if name in ("weights", "biases"):
            if not isinstance(value, (list, tuple)):
                raise TypeError(f"{name}: expected a list of tensors, one for each layer, got {type(value).__name__}")
            for layer, tensor in enumerate(value):
                if not isinstance(tensor, torch.Tensor):
                    raise TypeError(f"{name}[{layer}]: expected a tensor, got {type(tensor).__name__}")
        elif not (isinstance(value, torch.Tensor) or (value is None and name in ("bias", "beta"))):
            raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")


def outputs_of(weights: Sequence[Tensor]) -> int:
    """How many outputs the last of a calibrator's weights (out, in) has, 0 where there is none or it has no rows."""
    return weights[-1].shape[0] if len(weights) and weights[-1].dim() else 0


def check_calibrator(
    weights: Sequence[Tensor], biases: Sequence[Tensor], spatial_dims: int, outputs: int, meaning: str
) -> None:
    """Raises ValueError unless the Linear layers fit one another, the distances and the number of outputs.

    `meaning` says what the outputs are, for the message.
    """
    if len(weights) != len(biases) or len(weights) < 2:
        raise ValueError(
            f"weights, biases: expected as many of each and at least 2 (one hidden layer), "
            f"got {len(weights)} and {len(biases)}"
        )
    fan_in = 2 * spatial_dims
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if weight.dim() != 2 or weight.shape[1] != fan_in:
            raise ValueError(f"weights[{layer}]: expected shape (out, {fan_in}), got {tuple(weight.shape)}")
        if bias.shape != weight.shape[:1]:
            raise ValueError(f"biases[{layer}]: expected shape ({weight.shape[0]},), got {tuple(bias.shape)}")
        fan_in = weight.shape[0]
    if fan_in != outputs:
        raise ValueError(f"weights[{len(weights) - 1}]: expected {outputs} outputs, {meaning}, got {fan_in}")


def check_vector(name: str, tensor: Tensor | None, size: int) -> None:
    """Raises ValueError unless `tensor` is None or of shape (size,)."""
    if tensor is not None and tuple(tensor.shape) != (size,):
        raise ValueError(f"{name}: expected shape ({size},), got {tuple(tensor.shape)}")


def check_companions(x: Tensor, **tensors: Tensor | Sequence[Tensor] | None) -> None:
    """Raises TypeError or ValueError unless every tensor lies on x's device in float32 or x's dtype.

    float64 features need float64 parameters: nothing is narrowed behind the user's back.
    """
    allowed = (x.dtype,) if x.dtype == torch.float64 else (torch.float32, x.dtype)
    for name, value in tensors.items():
        for tensor in value if isinstance(value, (list, tuple)) else (value,):
            if tensor is None:
                continue
            if tensor.dtype not in allowed:
                expected = " or ".join(dict.fromkeys(map(str, allowed)))
                raise TypeError(f"{name}: expected {expected} beside {x.dtype} features, got {tensor.dtype}")
            if tensor.device != x.device:
                raise ValueError(f"{name}: expected on {x.device} like x, got {tensor.device}")
