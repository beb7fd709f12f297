"""The operators `torch.ops.nerd_fast.*`: a forward and a backward for the heads, for the normalisation
by position and for a position map.

They make the heads opaque to `torch.compile` and `torch.export`: schema, shapes for tracing, and the call to the
backend, nothing else. Gradients are wired by the Functions of `nerd_fast.autograd`.

The arguments of the head operators:

    x           (B, C, *spatial) features
    classifier  (K, C) for NeRDm, None for NeRDc
    weights     calibrator weights, first to last, each (out, in); biases likewise, each (out,)
    bias        (K,) or None
    scale       None for "extent", else the number that multiplies pixel distances
    origin, extent   position of x's first pixel in the image, and the image's size
    backend, precision   as given by the user
    wants       (backward) which gradients to return, in the order x, classifier, bias, *weights, *biases

Those of the norm operators are the same without classifier, bias and out_channels. A position map has a weight
(K, C, *spatial) and a beta (K, *spatial) or None.
"""

import torch

from nerd_fast.backends import selection
from nerd_fast.kernels.layout import empty_logits

_HEAD = (
    "Tensor x, Tensor? classifier, Tensor[] weights, Tensor[] biases, Tensor? bias, int out_channels, "
    "str activation, float? scale, SymInt[] origin, SymInt[] extent, str backend, str? precision"
)
_NORM = (
    "Tensor x, Tensor[] weights, Tensor[] biases, str activation, float? scale, SymInt[] origin, SymInt[] extent, "
    "str backend, str? precision"
)
_MAP = "Tensor x, Tensor weight, Tensor? beta, str backend"

_library = torch.library.Library("nerd_fast", "DEF")
_library.define(f"head_forward({_HEAD}) -> Tensor")
_library.define(f"head_backward(Tensor grad, {_HEAD}, bool[] wants) -> Tensor[]")
_library.define(f"norm_forward({_NORM}) -> Tensor")
_library.define(f"norm_backward(Tensor grad, {_NORM}, bool[] wants) -> Tensor[]")
_library.define(f"map_forward({_MAP}) -> Tensor")
_library.define(f"map_backward(Tensor grad, {_MAP}, bool[] wants) -> Tensor[]")

head_forward = torch.ops.nerd_fast.head_forward.default
head_backward = torch.ops.nerd_fast.head_backward.default
norm_forward = torch.ops.nerd_fast.norm_forward.default
norm_backward = torch.ops.nerd_fast.norm_backward.default
map_forward = torch.ops.nerd_fast.map_forward.default
map_backward = torch.ops.nerd_fast.map_backward.default


def run(operator, *arguments):
    """What an operator gives: by PyTorch's dispatcher where something traces it, records it or differentiates it.

    Elsewhere, which is in every step of an ordinary training loop, the dispatcher would only take time: 50 microseconds
    of a forward and a backward. Called by the autograd Functions, so that gradients are recorded around it.
    """
    if _is_observed(arguments):
        return operator(*arguments)
    return _COMPUTES[operator](*arguments)


def _is_observed(arguments):
    """Whether anything but the values of an operator's results is wanted, or its arguments are no ordinary tensors."""
    return (
        torch.compiler.is_compiling()
        or torch.is_grad_enabled()  # in a backward: of one that will itself be differentiated
        or torch._C._len_torch_dispatch_stack() > 0  # fake tensors, make_fx, selective checkpoints
        or torch._C._len_torch_function_stack() > 0
        or torch._C._get_tracing_state() is not None  # torch.jit.trace
        or not _are_ordinary(arguments)
    )


def _are_ordinary(arguments):
    """Whether all tensors have memory of their own kind: no subclass, none on meta, none that is lazily negated."""
    tensors = []
    for argument in arguments:
        kind = type(argument)
        if kind is list:
            tensors += argument
        elif kind not in _VALUES:
            tensors.append(argument)
    return (
        _ORDINARY.issuperset(map(type, tensors))
        and not any(map(torch.Tensor.is_neg, tensors))
        and not any(tensor.is_meta for tensor in tensors[:2])  # x is one of them, and all lie on x's device
    )


_VALUES = {type(None), str, int, float, tuple}
_ORDINARY = {torch.Tensor, torch.nn.Parameter}


def _head_forward(x, classifier, weights, biases, bias, *options):
    return _run("forward", (x, classifier, weights, biases, bias), options)


def _head_backward(grad, x, classifier, weights, biases, bias, *options):
    *options, wants = options
    return _run("backward", (grad, x, classifier, weights, biases, bias), options, wants=wants)


def _run(direction, tensors, options, **more):
    out_channels, activation, scale, origin, extent, backend, precision = options
    _, classifier, weights, *_ = tensors[-5:]
    return selection.run(
        direction,
        backend,
        tensors[-5],  # x, classifier, weights, biases, bias close the arguments of both directions
        tensors,
        {
            "out_channels": out_channels,
            "activation": activation,
            "scale": scale,
            "origin": origin,
            "extent": extent,
            "precision": precision,
            **more,
        },
        variant="nerdc" if classifier is None else "nerdm",
        out_channels=out_channels,
        hidden_channels=[weight.shape[0] for weight in weights[:-1]],
    )


def _norm_forward(x, weights, biases, *options):
    return _run_norm("normalisation_forward", (x, weights, biases), options)


def _norm_backward(grad, x, weights, biases, *options):
    *options, wants = options
    return _run_norm("normalisation_backward", (grad, x, weights, biases), options, wants=wants)


def _run_norm(operation, tensors, options, **more):
    activation, scale, origin, extent, backend, precision = options
    *_, x, weights, _ = tensors
    named = {"activation": activation, "scale": scale, "origin": origin, "extent": extent, "precision": precision}
    widths = [weight.shape[0] for weight in weights[:-1]]
    configuration = {"variant": "nerdnorm", "out_channels": None, "hidden_channels": widths}
    return selection.run(operation, backend, x, tensors, named | more, **configuration)


def _map_forward(x, weight, beta, backend):
    return selection.run("position_map_forward", backend, x, (x, weight, beta), {}, **_map(weight))


def _map_backward(grad, x, weight, beta, backend, wants):
    arguments = (grad, x, weight, beta)
    return selection.run("position_map_backward", backend, x, arguments, {"wants": wants}, **_map(weight))


def _map(weight):
    return {"variant": "map", "out_channels": weight.shape[0]}


_COMPUTES = {
    head_forward: _head_forward,
    head_backward: _head_backward,
    norm_forward: _norm_forward,
    norm_backward: _norm_backward,
    map_forward: _map_forward,
    map_backward: _map_backward,
}
for _operator, _computes in _COMPUTES.items():
    # Where the Functions do not stand around an operator, as in an exported program, nothing inside it is recorded.
    _library.impl(_operator, torch.no_grad()(_computes), "CompositeExplicitAutograd")


@torch.library.register_fake("nerd_fast::head_forward", lib=_library)
def _head_forward_fake(x, classifier, weights, biases, bias, out_channels, *_):
    return empty_logits(x, out_channels)


@torch.library.register_fake("nerd_fast::head_backward", lib=_library)
def _head_backward_fake(grad, x, classifier, weights, biases, bias, *options):
    owners = [x, classifier, bias, *weights, *biases]
    return [torch.empty_like(owner) for owner, wanted in zip(owners, options[-1], strict=True) if wanted]


@torch.library.register_fake("nerd_fast::norm_forward", lib=_library)
def _norm_forward_fake(x, *_):
    return empty_logits(x, x.shape[1])


@torch.library.register_fake("nerd_fast::norm_backward", lib=_library)
def _norm_backward_fake(grad, x, weights, biases, *options):
    owners = [x, *weights, *biases]
    return [torch.empty_like(owner) for owner, wanted in zip(owners, options[-1], strict=True) if wanted]


@torch.library.register_fake("nerd_fast::map_forward", lib=_library)
def _map_forward_fake(x, weight, beta, backend):
    return empty_logits(x, weight.shape[0])


@torch.library.register_fake("nerd_fast::map_backward", lib=_library)
def _map_backward_fake(grad, x, weight, beta, backend, wants):
    return [torch.empty_like(owner) for owner, wanted in zip((x, weight, beta), wants, strict=True) if wanted]


def _refuse_double_backward(ctx, *_):
    raise RuntimeError(
        "nerd_fast: the heads have no second derivative; backend='reference', which is plain PyTorch, has."
    )


torch.library.register_autograd("nerd_fast::head_backward", _refuse_double_backward, lib=_library)
torch.library.register_autograd("nerd_fast::norm_backward", _refuse_double_backward, lib=_library)
torch.library.register_autograd("nerd_fast::map_backward", _refuse_double_backward, lib=_library)
