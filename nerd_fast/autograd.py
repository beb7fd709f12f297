"""The autograd Functions under `nerd_fast.functional`: what the gradient of an operator is, and what is kept for it.

They have no `setup_context`: with it `torch.func.jvp` would return a tangent of zero in silence.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from nerd_fast import ops


class NeRDmFunction(torch.autograd.Function):
    """Autograd of `nerdm`. `apply(x, classifier, bias, activation, scale, origin, extent, backend, precision,
    *weights, *biases)`; arguments as in `nerd_fast.ops`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, classifier: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        ctx.save_for_backward(x, classifier, bias, *rest[_OPTIONS:])
        ctx.set_materialize_grads(False)
        ctx.options = (classifier.shape[0], *rest[:_OPTIONS])
        y: Tensor = ops.run(ops.head_forward, *_operands(ctx.options, x, classifier, bias, *rest[_OPTIONS:]))
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        needs = ctx.needs_input_grad
        return _head_gradients(ctx, grad, ctx.saved_tensors, needs[:3], needs[3 + _OPTIONS :])


class NeRDcFunction(torch.autograd.Function):
    """Autograd of `nerdc`. `apply(x, out_channels, bias, activation, scale, origin, extent, backend, precision,
    *weights, *biases)`; arguments as in `nerd_fast.ops`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, out_channels: int, bias: Tensor | None, *rest: Any) -> Tensor:
        ctx.save_for_backward(x, bias, *rest[_OPTIONS:])
        ctx.set_materialize_grads(False)
        ctx.options = (out_channels, *rest[:_OPTIONS])
        y: Tensor = ops.run(ops.head_forward, *_operands(ctx.options, x, None, bias, *rest[_OPTIONS:]))
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        x, *rest = ctx.saved_tensors
        needs = ctx.needs_input_grad
        return _head_gradients(ctx, grad, (x, None, *rest), needs[:3], needs[3 + _OPTIONS :])


class NeRDNormFunction(torch.autograd.Function):
    """Autograd of `nerdnorm`. `apply(x, activation, scale, origin, extent, backend, precision, *weights, *biases)`;
    arguments as in `nerd_fast.ops`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *rest: Any) -> Tensor:
        ctx.save_for_backward(x, *rest[_OPTIONS:])
        ctx.set_materialize_grads(False)
        ctx.options = rest[:_OPTIONS]
        y: Tensor = ops.run(ops.norm_forward, x, *_layers(rest[_OPTIONS:]), *ctx.options)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        wants = (ctx.needs_input_grad[0], *ctx.needs_input_grad[1 + _OPTIONS :])
        if grad is None:
            return (None,) * (len(wants) + _OPTIONS)
        x, *calibrator = ctx.saved_tensors
        grad_x, *others = _spread(ops.run(ops.norm_backward, grad, x, *_layers(calibrator), *ctx.options, wants), wants)
        return grad_x, *[None] * _OPTIONS, *others


class PositionMapFunction(torch.autograd.Function):
    """Autograd of `apply_position_map`: `apply(x, weight, beta, backend)`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, beta: Tensor | None, backend: str) -> Tensor:
        ctx.save_for_backward(x, weight, beta)
        ctx.set_materialize_grads(False)
        ctx.backend = backend
        y: Tensor = ops.run(ops.map_forward, x, weight, beta, backend)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None, None
        wants = ctx.needs_input_grad[:3]
        return *_spread(ops.run(ops.map_backward, grad, *ctx.saved_tensors, ctx.backend, wants), wants), None


_OPTIONS = 6  # activation, scale, origin, extent, backend, precision stand between the tensors of `apply`


def _operands(
    options: Sequence[Any], x: Tensor, classifier: Tensor | None, bias: Tensor | None, *calibrator: Tensor
) -> tuple[Any, ...]:
    """The arguments of the head operators from what a Function holds."""
    out_channels, activation, scale, origin, extent, backend, precision = options
    place = (out_channels, activation, scale, origin, extent, backend, precision)
    return x, classifier, *_layers(calibrator), bias, *place


def _layers(calibrator: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The calibrator's parameters, `(*weights, *biases)`, as two lists."""
    layers = len(calibrator) // 2
    return list(calibrator[:layers]), list(calibrator[layers:])


def _head_gradients(
    ctx: Any, grad: Tensor | None, saved: Sequence[Any], needs: Sequence[bool], needs_calibrator: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """One gradient or None per argument of `apply`."""
    wants = (*needs, *needs_calibrator)
    if grad is None:
        return (None,) * (len(wants) + _OPTIONS)
    gradients = ops.run(ops.head_backward, grad, *_operands(ctx.options, *saved), wants)
    spread = _spread(gradients, wants)
    return *spread[:3], *[None] * _OPTIONS, *spread[3:]


def _spread(gradients: Iterable[Tensor], wants: Sequence[bool]) -> tuple[Tensor | None, ...]:
    """The gradients in their places, None in the others."""
    remaining = iter(gradients)
    return tuple(next(remaining) if wanted else None for wanted in wants)
