"""`replace_head`: which convolutions are heads, whether they can be replaced, and the replacement."""

import torch
from torch import nn

from nerd_fast.heads import NeRDHead
from nerd_fast.surgery.known_networks import known_heads
from nerd_fast.surgery.watching import watch

_ADVICE = (
    "Nothing was changed. A head stands in for a plain 1x1 convolution: name one with path=, or give the network one "
    "(build its head with kernel size 1, or append nn.Conv2d(features, classes, 1))."
)
_WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel")


def replace_head(model, head_class, *, path=None, example_input=None, **options):
    """Swaps the last 1x1 convolution of `model` for a NeRD head, in place, and returns `model`.

    `head_class` is `NeRDm` or `NeRDc`; `options` are its keyword arguments but for the sizes, the dimension and the
    bias, which the convolution sets. The output of the model is the same at the moment of the swap. Swap before the
    optimiser is built: the convolution's parameters are no longer the model's.

    Which convolution:

    1. `path`, a module path such as "decoder.out" or a list of several, if given;
    2. of a known network its heads, with those of deep supervision: MONAI's AttentionUnet, BasicUNet,
       BasicUNetPlusPlus, DynUNet, SegResNet, SwinUNETR and UNETR, nnU-Net's networks (`decoder.seg_layers`), and
       segmentation_models_pytorch's where they were built with a 1x1 head;
    3. else the one that the output comes from when the model runs on `example_input` (a tensor, or a tuple of
       arguments), once, in evaluation mode, leaving training flags, statistics and random state as they are.

    A module that the network holds under several names is replaced under all of them. With deep supervision each
    head measures distances on the grid of its own resolution; `distance_scale="extent"`, the default, makes them
    agree. A compiled model or one in `nn.DataParallel` is changed inside its wrapper.

    Raises ValueError, before anything is changed, when no head is found or several might be meant, and when a head
    is no plain 1x1 convolution or shares its weight with another layer; TypeError for arguments of the wrong type.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected an nn.Module, got {type(model).__name__}")
    if not (isinstance(head_class, type) and issubclass(head_class, NeRDHead)):
        raise TypeError(f"head_class: expected NeRDm or NeRDc, got {head_class!r}")
    network = _unwrapped(model)
    heads = {}
    for name in _head_paths(network, path, example_input):
        conv = _module_at(network, name)
        if conv not in heads:
            heads[conv] = _head_for(network, name, conv, head_class, options)
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):
            if child in heads:
                setattr(parent, name, heads[child])
    return model


def _unwrapped(model):
    for module in model.modules():
        if type(module).__name__ in _WRAPPERS:
            raise ValueError(
                f"model: {type(module).__name__} has already registered the parameters it synchronises and would miss "
                "those of the head; replace the head first and wrap the model then"
            )
    while isinstance(model, nn.DataParallel) or hasattr(model, "_orig_mod"):
        model = model.module if isinstance(model, nn.DataParallel) else model._orig_mod
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError("model: a scripted or traced model cannot be changed; replace the head of the original")
    if isinstance(model, (nn.Conv2d, nn.Conv3d)):
        raise ValueError("model: a convolution cannot be replaced in place; use NeRDm.from_conv(conv)")
    return model


def _head_paths(network, path, example_input):
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
            f"example_input= to find it by running the network. {_candidates(network)}"
        )
    return _watched_head(network, example_input)


def _watched_head(network, example_input):
    lazy = [name for name, p in network.named_parameters() if nn.parameter.is_lazy(p)]
    if lazy:
        raise ValueError(f"model: {lazy[0]} has no shape yet; run one forward pass of the network first")
    origins, last = watch(network, example_input)
    if origins == [last]:
        return origins
    if len(origins) > 1:
        found = f"its output comes from several layers, {origins}: pass the heads among them as path="
    elif origins:
        found = f"its output comes from {origins[0]!r}, but {last!r} runs after it: pass the head as path="
    else:
        found = "its output could not be followed back to a layer: pass the head as path="
    raise ValueError(f"replace_head: no single head in {type(network).__name__}: {found}. {_candidates(network)}")


def _module_at(network, path):
    try:
        return network.get_submodule(path)
    except AttributeError as error:
        raise ValueError(f"path: no module {path!r} in {type(network).__name__}. {_candidates(network)}") from error


def _head_for(network, path, conv, head_class, options):
    reason = _obstacle(network, conv)
    if reason:
        raise ValueError(f"replace_head: cannot replace {path!r}: {reason}. {_ADVICE} {_candidates(network)}")
    try:
        return head_class.from_conv(conv, **options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"replace_head: cannot replace {path!r}: {error}. Nothing was changed.") from error


def _obstacle(network, conv):
    """Why `conv` cannot become a head, in what concerns the network; None if it can."""
    if isinstance(conv, NeRDHead):
        return f"it is a {type(conv).__name__} already"
    if not isinstance(conv, (nn.Conv2d, nn.Conv3d)):
        return f"it is a {type(conv).__name__}, not an nn.Conv2d or nn.Conv3d"
    if any(size != 1 for size in conv.kernel_size):
        return f"its kernel size is {conv.kernel_size}, not 1, and a head sees one position at a time"
    if type(conv).forward not in (nn.Conv2d.forward, nn.Conv3d.forward):
        return f"{type(conv).__name__} has a forward of its own"
    if any(nn.parameter.is_lazy(parameter) for parameter in conv._parameters.values()):
        return "it has no weight yet; run one forward pass of the network first"
    hooks = (conv._forward_hooks, conv._forward_pre_hooks, conv._backward_hooks, conv._backward_pre_hooks)
    if any(hooks) and "weight" in conv._parameters:
        return "hooks are registered on it, which a head would drop; remove them first"
    for name, parameter in conv._parameters.items():
        if parameter is not None and type(parameter) is not nn.Parameter:
            return f"its {name} is a {type(parameter).__name__}; replace the head before sharding or quantising"
        for other, module in network.named_modules():
            if module is not conv and any(parameter is p for p in module._parameters.values() if p is not None):
                return f"it shares its {name} with {other!r}, which the swap would untie"
    return None


def _candidates(network):
    paths = [
        name
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Conv3d)) and all(size == 1 for size in module.kernel_size)
    ]
    if not paths:
        return "It has no 1x1 convolution."
    return f"Its 1x1 convolutions: {', '.join(paths)}."
