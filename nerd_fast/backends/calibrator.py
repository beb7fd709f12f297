"""The calibrator MLP over a block of positions, forward and backward, in plain PyTorch."""

from typing import NamedTuple

import torch

from nerd_fast.backends import layers

aten = torch.ops.aten
LEAKY_RELU_SLOPE = 0.01  # PyTorch's default


class Activation(NamedTuple):
    """An activation and its backward `(grad, saved) -> grad`; `saved` is the output, or the input where it must be.

    Both write over their first argument unless it is saved: on a CPU a fresh tensor costs more in page faults than in
    arithmetic.
    """

    forward: object
    backward: object
    saves_input: bool = False


ACTIVATIONS = {
    "relu": Activation(torch.relu_, lambda grad, output: aten.threshold_backward(grad, output, 0, grad_input=grad)),
    "leaky_relu": Activation(
        lambda z: torch.nn.functional.leaky_relu_(z, LEAKY_RELU_SLOPE),
        lambda grad, output: aten.leaky_relu_backward(grad, output, LEAKY_RELU_SLOPE, True, grad_input=grad),
    ),
    "silu": Activation(
        torch.nn.functional.silu, lambda grad, z: aten.silu_backward(grad, z, grad_input=grad), saves_input=True
    ),
    "tanh": Activation(torch.tanh_, lambda grad, output: aten.tanh_backward(grad, output, grad_input=grad)),
}


def forward(positions, weights, biases, activation, channels_innermost, hidden=None):
    """f(v) as (outputs, N), the N positions innermost in memory unless `channels_innermost`.

    `hidden`, an empty list where it is given, receives what `backward` needs: per hidden layer the pair (output,
    tensor that the activation's backward reads).
    """
    act = ACTIVATIONS[activation]
    z = layers.first(positions, weights[0], biases[0])
    for weight, bias in zip(weights[1:], biases[1:], strict=True):
        h = act.forward(z)
        if hidden is not None:
            hidden.append((h, z if act.saves_input else h))
        if weight is not weights[-1]:
            z = layers.linear(h, weight, bias)
    return layers.last(h, weights[-1], biases[-1], channels_innermost)


def backward(grad, positions, hidden, weights, activation, wants_weight, wants_bias):
    """Gradients of every wanted weight and bias from `grad` (outputs, N), as two lists with None for the others.

    The chain stops at the first layer, counted from the input, whose gradient is wanted.
    """
    act = ACTIVATIONS[activation]
    grad_weights, grad_biases = [None] * len(weights), [None] * len(weights)
    wanted = [w or b for w, b in zip(wants_weight, wants_bias, strict=True)]
    if not any(wanted):
        return grad_weights, grad_biases
    layer_backward = layers.last_backward
    for layer in range(len(weights) - 1, max(wanted.index(True), 1) - 1, -1):
        output, saved = hidden[layer - 1]
        wants = any(wanted[:layer]), wants_weight[layer], wants_bias[layer]
        below, grad_weights[layer], grad_biases[layer] = layer_backward(grad, output, weights[layer], *wants)
        if below is not None:
            grad = act.backward(below, saved)
        layer_backward = layers.linear_backward
    if wanted[0]:
        grad_weights[0], grad_biases[0] = layers.first_backward(grad, positions)
    return grad_weights, grad_biases
