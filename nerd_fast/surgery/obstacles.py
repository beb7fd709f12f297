"""Why a layer of a network cannot become a head, or have a norm in front of it."""

from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any

from torch import nn

from nerd_fast.calibrated import Calibrated
from nerd_fast.surgery.normed import NORMED, NormedConv


def obstacle_to_head(network: nn.Module, conv: nn.Module) -> str | None:
    """Why `conv` cannot be exchanged for a head, in what concerns the network; None if it can."""
    if reason := _swapped_already(conv):
        return reason
    if not isinstance(conv, (nn.Conv2d, nn.Conv3d)):
        return f"it is a {type(conv).__name__}, not an nn.Conv2d or nn.Conv3d"
    if any(size != 1 for size in conv.kernel_size):
        return f"its kernel size is {conv.kernel_size}, not 1, and a head sees one position at a time"
    if reason := _no_plain_parameters(conv):
        return reason
    for name, parameter in conv._parameters.items():
        for other, module in network.named_modules():
            others = () if parameter is None or module is conv else module._parameters.values()
            if any(parameter is p for p in others):
                return f"it shares its {name} with {other!r}, which the swap would untie"
    for holder in _held_unregistered(network, lambda value: value is conv or _is_method_of(value, conv)):
        return f"{holder} holds it too, out of reach of the swap"
    return None


def obstacle_to_norm(network: nn.Module, conv: nn.Module) -> str | None:
    """Why a norm cannot be put in front of `conv`, in what concerns the network; None if it can."""
    if reason := _swapped_already(conv):
        return reason
    if nn.utils.parametrize.is_parametrized(conv):
        return "it is parametrized (weight_norm, spectral_norm, ...); put the parametrization on after the norm"
    if type(conv) not in NORMED:
        return f"it is a {type(conv).__name__}, not an {', '.join(f'nn.{kind.__name__}' for kind in NORMED)}"
    if "norm" in conv._modules or hasattr(conv, "norm"):
        return "it has a `norm` of its own"
    if "forward" in vars(conv):
        return "it has a forward of its own, which would pass the norm by"
    for holder in _held_unregistered(network, lambda value: _is_method_of(value, conv)):
        return f"{holder} holds a method of it, which would pass the norm by"
    return _no_plain_parameters(conv)


def _swapped_already(conv: nn.Module) -> str | None:
    if isinstance(conv, Calibrated):
        return f"it is a {type(conv).__name__} already"
    if isinstance(conv, NormedConv):
        return "a NeRDNorm is in front of it already"
    return None


def _no_plain_parameters(conv: nn.Module) -> str | None:
    if any(parameter is not None and nn.parameter.is_lazy(parameter) for parameter in conv._parameters.values()):
        return "it has no weight yet; run one forward pass of the network first"
    for name, parameter in conv._parameters.items():
        if parameter is not None and type(parameter) is not nn.Parameter:
            return f"its {name} is a {type(parameter).__name__}; replace the head before sharding or quantising"
    return None


def _held_unregistered(network: nn.Module, is_held: Callable[[Any], bool]) -> Iterator[str]:
    """Attributes that hold what `is_held` tells where PyTorch does not know it, in Python's containers or bare."""
    for path, module in network.named_modules():
        for name, value in vars(module).items():
            if name != "_modules" and any(map(is_held, _contents(value))):
                yield f"{path}.{name}".lstrip(".")


def _contents(value: Any) -> Iterator[Any]:
    """`value`, or what lies in it where it is a list, a tuple or a dictionary, however deep."""
    pending, seen = [value], set()
    while pending:
        value = pending.pop()
        if not isinstance(value, (list, tuple, dict)):
            yield value
        elif id(value) not in seen:
            seen.add(id(value))
            pending += value.values() if isinstance(value, dict) else value


def _is_method_of(value: Any, conv: nn.Module) -> bool:
    return isinstance(value, MethodType) and value.__self__ is conv
