"""`replace_head`: which layers are heads, whether they can be replaced, and the replacement."""

from typing import Any, TypeVar, Unpack

import torch
from torch import nn

from nerd_fast.calibrated import Calibrated
from nerd_fast.heads import HeadOptions, NeRDHead
from nerd_fast.norm import NeRDNorm
from nerd_fast.surgery.known_networks import known_heads
from nerd_fast.surgery.normed import NORMED, norm_for, put_in_front
from nerd_fast.surgery.obstacles import obstacle_to_head, obstacle_to_norm
from nerd_fast.surgery.watching import watch

Network = TypeVar("Network", bound=nn.Module)

_ADVICE = (
    "A head stands in for a plain 1x1 convolution. NeRDNorm goes in front of a convolution of any kernel, stride or "
    "transposition: replace_head(model, nerd_fast.NeRDNorm). Or name a 1x1 convolution with path=, or give the network "
    "one (build its head with kernel size 1, or append nn.Conv2d(features, classes, 1))."
)
_WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel")


def replace_head(
    model: Network,
    head_class: type[NeRDHead] | type[NeRDNorm],
    *,
    path: str | list[str] | tuple[str, ...] | None = None,
    example_input: Any = None,
    **options: Unpack[HeadOptions],
) -> Network:
    """Makes the head of `model` one that knows where a pixel is, in place, and returns `model`.

    `head_class` is `NeRDm`, `NeRDc` or `NeRDNorm`. With `NeRDm` or `NeRDc` the last 1x1 convolution is exchanged for a
    head; swap before the optimiser is built, since the convolution's parameters are no longer the model's. With
    `NeRDNorm` the last convolution stays, whatever its kernel, stride or transposition, and normalises what it reads:
    its class becomes a subclass of `nn.Conv2d` (or what it was), its child `norm` is the NeRDNorm. The output of the
    model is the same at the moment of the swap.

    `options` are the keyword arguments of `head_class` but for the sizes, the dimension and the bias, which the
    convolution sets. What is frozen of the convolution (`requires_grad` False) is frozen of the head: its classifier
    and its bias. The calibrator is new and trains, also that of a NeRDNorm; `requires_grad_(False)` of the head or of
    the norm freezes it.

    Which convolution:

    1. `path`, a module path such as "decoder.out" or a list of several, if given;
    2. of a known network its heads, with auxiliary ones and those of deep supervision: networks of MONAI, nnU-Net,
       segmentation_models_pytorch, torchvision, Hugging Face and mmsegmentation, see docs/networks.md;
    3. else the one that the output comes from when the model runs on `example_input` (a tensor, or a tuple of
       arguments), once in evaluation and once in training mode, leaving training flags, statistics and random state
       as they are.

    A module that the network holds under several names is replaced under all of them. With deep supervision each
    head measures distances on the grid of its own resolution; `distance_scale="extent"`, the default, makes them
    agree. A compiled model or one in `nn.DataParallel` is changed inside its wrapper.

    Raises ValueError, before anything is changed, when no head is found or several might be meant, and when a head
    cannot be replaced; TypeError for arguments of the wrong type.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected an nn.Module, got {type(model).__name__}")
    if not (isinstance(head_class, type) and issubclass(head_class, (NeRDHead, NeRDNorm))):
        raise TypeError(f"head_class: expected NeRDm, NeRDc or NeRDNorm, got {head_class!r}")
    network = _unwrapped(model)
    made: dict[nn.Module, NeRDHead | NeRDNorm] = {}  # everything that may fail comes before the first change
    for name in _head_paths(network, path, example_input, head_class):
        conv = _module_at(network, name, head_class)
        if conv not in made:
            made[conv] = _made_for(network, name, conv, head_class, options)
    for conv, module in made.items():
        if isinstance(module, NeRDNorm):
            put_in_front(module, conv)
        else:
            _exchange(network, conv, module)
    return model


def _exchange(network: nn.Module, conv: nn.Module, head: NeRDHead) -> None:
    """Puts `head` wherever `network` holds `conv`."""
    for parent in list(network.modules()):
        for name, child in parent._modules.items():
            if child is conv:
                parent._modules[name] = head


def _unwrapped(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if type(module).__name__ in _WRAPPERS:
            raise ValueError(
                f"model: {type(module).__name__} has already registered the parameters it synchronises and would miss "
                "those of the head; replace the head first and wrap the model then"
            )
    inner: Any = model
    while isinstance(inner, nn.DataParallel) or hasattr(inner, "_orig_mod"):
        inner = inner.module if isinstance(inner, nn.DataParallel) else inner._orig_mod
    model = inner
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError("model: a scripted or traced model cannot be changed; replace the head of the original")
    if isinstance(model, tuple(NORMED)):
        raise ValueError(
            "model: a convolution cannot be replaced in place; use NeRDm.from_conv(conv), or "
            "nn.Sequential(NeRDNorm(channels), conv)"
        )
    return model


def _head_paths(network: nn.Module, path: Any, example_input: Any, head_class: type[Calibrated]) -> list[str]:
    if path is not None:
        paths = list(path) if isinstance(path, (list, tuple)) else [path]
        if not paths or not all(isinstance(name, str) for name in paths):
            raise TypeError(f"path: expected a module path or a list of them, got {path!r}")
        return paths
    known = known_heads(network)
    if known:
        return known
    if example_input is None:
        raise ValueError(
            f"replace_head: where the head of {type(network).__name__} is, is not known. Pass path=, or "
            f"example_input= to find it by running the network. {_candidates(network, head_class)}"
        )
    return _watched_head(network, example_input, head_class)


def _watched_head(network: nn.Module, example_input: Any, head_class: type[Calibrated]) -> list[str]:
    lazy = [name for name, p in network.named_parameters() if nn.parameter.is_lazy(p)]
    if lazy:
        raise ValueError(f"model: {lazy[0]} has no shape yet; run one forward pass of the network first")
    made, last, made_in_training = watch(network, example_input)
    in_training_alone = sorted(set(made_in_training) - set(made))
    if made == [last] and not in_training_alone:
        return made
    if len(made) > 1:
        found = f"its output comes from several layers, {_listed(made)}: pass the heads among them as path="
    elif made == [last]:
        found = f"its output comes from {last!r}, in training from {made_in_training}: pass the heads as path="
    elif made:
        found = f"its output comes from {made[0]!r}, but {last!r} runs after it: pass the heads among them as path="
    else:
        found = "its output could not be followed back to a layer: pass the head as path="
    raise ValueError(
        f"replace_head: no single head in {type(network).__name__}: {found}. {_candidates(network, head_class)}"
    )


def _listed(paths: list[str]) -> str:
    """The paths, the first six of many."""
    return f"{paths}" if len(paths) <= 6 else f"{paths[:6]} and {len(paths) - 6} more"


def _module_at(network: nn.Module, path: str, head_class: type[Calibrated]) -> nn.Module:
    try:
        return network.get_submodule(path)
    except AttributeError as error:
        raise ValueError(
            f"path: no module {path!r} in {type(network).__name__}. {_candidates(network, head_class)}"
        ) from error


def _made_for(
    network: nn.Module, path: str, conv: Any, head_class: type[NeRDHead] | type[NeRDNorm], options: HeadOptions
) -> NeRDHead | NeRDNorm:
    """The head or the norm for `conv`, of its size, device and dtype."""
    normalises = issubclass(head_class, NeRDNorm)
    what = f"put a NeRDNorm in front of {path!r}" if normalises else f"replace {path!r}"
    reason = obstacle_to_norm(network, conv) if normalises else obstacle_to_head(network, conv)
    if reason:
        raise ValueError(
            f"replace_head: cannot {what}: {reason}. Nothing was changed. {'' if normalises else _ADVICE + ' '}"
            f"{_candidates(network, head_class)}"
        )
    try:
        if issubclass(head_class, NeRDNorm):
            return norm_for(conv, head_class, **options)
        return head_class.from_conv(conv, **options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"replace_head: cannot {what}: {error}. Nothing was changed.") from error


def _candidates(network: nn.Module, head_class: type[Calibrated]) -> str:
    """The convolutions that could be named as path: the 1x1 ones for a head, the last ones for a norm."""
    if issubclass(head_class, NeRDNorm):
        paths = [name for name, module in network.named_modules() if type(module) in NORMED]
        return f"Its last convolutions: {', '.join(paths[-5:])}." if paths else "It has no convolution."
    paths = [
        name
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Conv3d)) and all(size == 1 for size in module.kernel_size)
    ]
    if not paths:
        return "It has no 1x1 convolution."
    return f"Its 1x1 convolutions: {', '.join(paths)}."
