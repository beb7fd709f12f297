"""The heads as functions of tensors: the public, stateless contract, and the autograd Functions under it.

Shapes: features x (B, C, *spatial), logits (B, K, *spatial), spatial (H, W) or (D, H, W). The calibrator f is
given by its Linear parameters, first to last, each weight (out, in).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nerd_fast import arguments, ops
from nerd_fast.arguments import Activation, Backend, MapBackend, Precision
from nerd_fast.distances import Scale, resolve_scale
from nerd_fast.plain import reference_in_windows, runs_in_plain_pytorch
from nerd_fast.windows import Positions, apply_in_windows


def nerdm(
    x: Tensor,
    classifier: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    bias: Tensor | None = None,
    *,
    activation: Activation = "relu",
    distance_scale: Scale = "extent",
    origin: Positions | None = None,
    extent: Positions | None = None,
    backend: Backend = "auto",
    precision: Precision | None = None,
) -> Tensor:
    """NeRDm (paper, eq. 5): `s_k = sum_c w_kc (x_c a_c(v) + b_c(v)) + bias_k` with `f(v) = (a, b)`.

    x (B, C, *spatial) in float32, float16, bfloat16 or, on the torch backend, float64; classifier (K, C);
    f with 2 or 3 times 2 inputs (4 or 6 boundary distances) and 2 C outputs; bias (K,) or None. Parameters are in
    float32 or x's dtype. `distance_scale`: see `boundary_distances`. `backend`: "auto", "torch", "triton" or
    "reference". `precision` of float32 products: None (follows PyTorch's setting), "ieee", "tf32x3", "tf32".

    `origin` and `extent` say that x is the window at `origin` of an image of size `extent`: one position, (r, c) or
    (k, r, c), for the whole batch, or one for each sample, a list of B of them or an integer tensor (B, d). Samples of
    equal windows are computed together. A tensor on a GPU is waited for.

    `"reference"` runs the paper's equations as plain PyTorch, which can be differentiated twice, in forward mode and
    by `torch.func`, traced, and exported to ONNX; it keeps B C N numbers and more, and leaves the memory format to
    PyTorch. `"auto"` takes it while `torch.jit.trace` or an ONNX exporter runs.

    Returns logits (B, K, *spatial) in x's dtype and memory format. Differentiable once in every tensor.
    Raises ValueError or TypeError, before any launch, for arguments that do not fit one another, and ValueError
    when a backend asked for by name cannot run them.
    """
    if classifier.dim() != 2:
        raise ValueError(f"classifier: expected shape (K, C), got {tuple(classifier.shape)}")
    out_channels, in_channels = classifier.shape
    arguments.check_features(x, in_channels, weights)
    meaning = f"1/sigma and -mu/sigma of {in_channels} channels"
    _check(x, weights, biases, bias, out_channels, 2 * in_channels, meaning, activation, backend, precision)
    arguments.check_companions(x, classifier=classifier, weights=weights, biases=biases, bias=bias)
    scale = resolve_scale(distance_scale)
    if runs_in_plain_pytorch(backend, precision, x, classifier, *weights, *biases, bias):
        place = {"distance_scale": distance_scale, "origin": origin, "extent": extent}
        return reference_in_windows("nerdm", x, classifier, weights, biases, bias, activation=activation, **place)

    def apply(x: Tensor, *window: tuple[int, ...]) -> Tensor:
        options = (activation, scale, *window, backend, precision)
        return NeRDmFunction.apply(x, classifier, bias, *options, *weights, *biases)

    return apply_in_windows(apply, x, origin, extent)


def nerdc(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    bias: Tensor | None = None,
    *,
    out_channels: int,
    activation: Activation = "relu",
    distance_scale: Scale = "extent",
    origin: Positions | None = None,
    extent: Positions | None = None,
    backend: Backend = "auto",
    precision: Precision | None = None,
) -> Tensor:
    """NeRDc (paper, section 2.2): `s_k = sum_c x_c w_kc(v) + bias_k`, output `k C + c` of f being `w_kc`.

    f has K C outputs; everything else is as for `nerdm`.
    """
    if isinstance(out_channels, bool) or not isinstance(out_channels, int) or out_channels < 1:
        raise ValueError(f"out_channels: expected an integer of at least 1, got {out_channels!r}")
    outputs = weights[-1].shape[0] if len(weights) else 0
    if outputs < out_channels or outputs % out_channels:
        raise ValueError(f"weights: expected {out_channels} C outputs of the last layer, got {outputs}")
    arguments.check_features(x, outputs // out_channels, weights)
    meaning = f"{out_channels} classifiers of {x.shape[1]} channels"
    _check(x, weights, biases, bias, out_channels, outputs, meaning, activation, backend, precision)
    arguments.check_companions(x, weights=weights, biases=biases, bias=bias)
    scale = resolve_scale(distance_scale)
    if runs_in_plain_pytorch(backend, precision, x, *weights, *biases, bias):
        place = {"distance_scale": distance_scale, "origin": origin, "extent": extent}
        options = {"out_channels": out_channels, "activation": activation, **place}
        return reference_in_windows("nerdc", x, weights, biases, bias, **options)

    def apply(x: Tensor, *window: tuple[int, ...]) -> Tensor:
        options = (activation, scale, *window, backend, precision)
        return NeRDcFunction.apply(x, out_channels, bias, *options, *weights, *biases)

    return apply_in_windows(apply, x, origin, extent)


def nerdnorm(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    *,
    activation: Activation = "relu",
    distance_scale: Scale = "extent",
    origin: Positions | None = None,
    extent: Positions | None = None,
    backend: Backend = "auto",
    precision: Precision | None = None,
) -> Tensor:
    """The normalisation of NeRDm by itself: `y_c = a_c(v) x_c + b_c(v)` with `f(v) = (a, b)`, f with 2 C outputs.

    Returns y (B, C, *spatial) in x's dtype and memory format. Everything else is as for `nerdm`.
    """
    outputs = weights[-1].shape[0] if len(weights) else 0
    if outputs % 2 or not outputs:
        raise ValueError(f"weights: expected 2 C outputs of the last layer, got {outputs}")
    channels = outputs // 2
    arguments.check_features(x, channels, weights)
    meaning = f"1/sigma and -mu/sigma of {channels} channels"
    _check(x, weights, biases, None, channels, outputs, meaning, activation, backend, precision)
    arguments.check_companions(x, weights=weights, biases=biases)
    scale = resolve_scale(distance_scale)
    if runs_in_plain_pytorch(backend, precision, x, *weights, *biases):
        place = {"distance_scale": distance_scale, "origin": origin, "extent": extent}
        return reference_in_windows("nerdnorm", x, weights, biases, activation=activation, **place)

    def apply(x: Tensor, *window: tuple[int, ...]) -> Tensor:
        return NeRDNormFunction.apply(x, activation, scale, *window, backend, precision, *weights, *biases)

    return apply_in_windows(apply, x, origin, extent)


def apply_position_map(
    x: Tensor, weight: Tensor, beta: Tensor | None = None, *, backend: MapBackend = "auto"
) -> Tensor:
    """`s_k = sum_c x_c W_kc(v) + beta_k(v)`: a head frozen by `position_map`, without its MLP.

    x (B, C, *spatial), weight (K, C, *spatial), beta (K, *spatial) or None. Returns logits (B, K, *spatial) in x's
    dtype and memory format, accumulated in float32 at least. Differentiable once in every tensor. A weight in x's
    memory format, `weight.to(memory_format=torch.channels_last)` for x in channels_last, is not laid out anew in each
    call. `backend`: "auto", "torch" or "triton".

    Raises ValueError or TypeError, before any launch, for arguments that do not fit one another.
    """
    arguments.check_map_backend(backend)
    if weight.dim() not in (4, 5):
        raise ValueError(f"weight: expected (K, C, H, W) or (K, C, D, H, W), got {tuple(weight.shape)}")
    arguments.check_tensor(x, weight.shape[1], weight.dim() - 2)
    if weight.shape[2:] != x.shape[2:]:
        raise ValueError(f"weight: expected positions {tuple(x.shape[2:])} like x, got {tuple(weight.shape[2:])}")
    if beta is not None and beta.shape != (weight.shape[0], *x.shape[2:]):
        raise ValueError(f"beta: expected {(weight.shape[0], *x.shape[2:])}, got {tuple(beta.shape)}")
    arguments.check_companions(x, weight=weight, beta=beta)
    return PositionMapFunction.apply(x, weight, beta, backend)


class NeRDmFunction(torch.autograd.Function):
    """Autograd of `nerdm`. `apply(x, classifier, bias, activation, scale, origin, extent, backend, precision,
    *weights, *biases)`; arguments as in `nerd_fast.ops`."""

    @staticmethod
    def forward(ctx, x, classifier, bias, *rest):
        ctx.save_for_backward(x, classifier, bias, *rest[_OPTIONS:])
        ctx.set_materialize_grads(False)
        ctx.options = (classifier.shape[0], *rest[:_OPTIONS])
        return ops.run(ops.head_forward, *_operands(ctx.options, x, classifier, bias, *rest[_OPTIONS:]))

    @staticmethod
    def backward(ctx, grad):
        needs = ctx.needs_input_grad
        return _head_gradients(ctx, grad, ctx.saved_tensors, needs[:3], needs[3 + _OPTIONS :])


class NeRDcFunction(torch.autograd.Function):
    """Autograd of `nerdc`. `apply(x, out_channels, bias, activation, scale, origin, extent, backend, precision,
    *weights, *biases)`; arguments as in `nerd_fast.ops`."""

    @staticmethod
    def forward(ctx, x, out_channels, bias, *rest):
        ctx.save_for_backward(x, bias, *rest[_OPTIONS:])
        ctx.set_materialize_grads(False)
        ctx.options = (out_channels, *rest[:_OPTIONS])
        return ops.run(ops.head_forward, *_operands(ctx.options, x, None, bias, *rest[_OPTIONS:]))

    @staticmethod
    def backward(ctx, grad):
        x, *rest = ctx.saved_tensors
        needs = ctx.needs_input_grad
        return _head_gradients(ctx, grad, (x, None, *rest), needs[:3], needs[3 + _OPTIONS :])


class NeRDNormFunction(torch.autograd.Function):
    """Autograd of `nerdnorm`. `apply(x, activation, scale, origin, extent, backend, precision, *weights, *biases)`;
    arguments as in `nerd_fast.ops`."""

    @staticmethod
    def forward(ctx, x, *rest):
        ctx.save_for_backward(x, *rest[_OPTIONS:])
        ctx.set_materialize_grads(False)
        ctx.options = rest[:_OPTIONS]
        return ops.run(ops.norm_forward, x, *_layers(rest[_OPTIONS:]), *ctx.options)

    @staticmethod
    def backward(ctx, grad):
        wants = [ctx.needs_input_grad[0], *ctx.needs_input_grad[1 + _OPTIONS :]]
        if grad is None:
            return (None,) * (len(wants) + _OPTIONS)
        x, *calibrator = ctx.saved_tensors
        grad_x, *others = _spread(ops.run(ops.norm_backward, grad, x, *_layers(calibrator), *ctx.options, wants), wants)
        return grad_x, *[None] * _OPTIONS, *others


class PositionMapFunction(torch.autograd.Function):
    """Autograd of `apply_position_map`: `apply(x, weight, beta, backend)`."""

    @staticmethod
    def forward(ctx, x, weight, beta, backend):
        ctx.save_for_backward(x, weight, beta)
        ctx.set_materialize_grads(False)
        ctx.backend = backend
        return ops.run(ops.map_forward, x, weight, beta, backend)

    @staticmethod
    def backward(ctx, grad):
        if grad is None:
            return None, None, None, None
        wants = list(ctx.needs_input_grad[:3])
        return *_spread(ops.run(ops.map_backward, grad, *ctx.saved_tensors, ctx.backend, wants), wants), None


_OPTIONS = 6  # activation, scale, origin, extent, backend, precision stand between the tensors of `apply`


def _check(x, weights, biases, bias, out_channels, outputs, meaning, activation, backend, precision) -> None:
    arguments.check_choices(activation, backend, precision)
    arguments.check_calibrator(weights, biases, x.dim() - 2, outputs, meaning)
    arguments.check_vector("bias", bias, out_channels)


def _operands(options, x, classifier, bias, *calibrator):
    """The arguments of the head operators from what a Function holds."""
    out_channels, activation, scale, origin, extent, backend, precision = options
    place = (out_channels, activation, scale, origin, extent, backend, precision)
    return x, classifier, *_layers(calibrator), bias, *place


def _layers(calibrator):
    """The calibrator's parameters, `(*weights, *biases)`, as two lists."""
    layers = len(calibrator) // 2
    return list(calibrator[:layers]), list(calibrator[layers:])


def _head_gradients(ctx, grad, saved, needs, needs_calibrator):
    """One gradient or None per argument of `apply`."""
    wants = [*needs, *needs_calibrator]
    if grad is None:
        return (None,) * (len(wants) + _OPTIONS)
    gradients = ops.run(ops.head_backward, grad, *_operands(ctx.options, *saved), wants)
    spread = _spread(gradients, wants)
    return *spread[:3], *[None] * _OPTIONS, *spread[3:]


def _spread(gradients, wants):
    """The gradients in their places, None in the others."""
    remaining = iter(gradients)
    return tuple(next(remaining) if wanted else None for wanted in wants)
