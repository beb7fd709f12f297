"""The calibrator MLP over all positions at once, forward and backward, in plain PyTorch.

Tensors are channel-major, (units, N) with N positions, so that each output is a contiguous plane of the image
and no transposition stands between the MLP and the features it is applied to.
"""

from typing import NamedTuple

import torch

aten = torch.ops.aten
LEAKY_RELU_SLOPE = 0.01  # PyTorch's default


class Activation(NamedTuple):
    """An activation and its backward `(grad, saved) -> grad`; `saved` is the output, or the input where it must be.

    Both write over their first argument unless it is saved: on a CPU a fresh tensor of all positions costs more in
    page faults than in arithmetic.
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


def forward(v, weights, biases, activation, hidden=None):
    """f(v): v (4 or 6, N) -> (outputs, N).

    `hidden`, an empty list where it is given, receives what `backward` needs: per hidden layer the pair (output,
    tensor that the activation's backward reads).
    """
    act = ACTIVATIONS[activation]
    h = v
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        z = torch.addmm(bias[:, None], weight, h)
        h = act.forward(z)
        if hidden is not None:
            hidden.append((h, z if act.saves_input else h))
    return torch.addmm(biases[-1][:, None], weights[-1], h)


def backward(grad, v, hidden, weights, activation, wants_weight, wants_bias):
    """Gradients of every wanted weight and bias from `grad` (outputs, N), as two lists with None for the others.

    The chain stops at the first layer, counted from the input, whose gradient is wanted.
    """
    act = ACTIVATIONS[activation]
    grad_weights, grad_biases = [None] * len(weights), [None] * len(weights)
    wanted = [w or b for w, b in zip(wants_weight, wants_bias, strict=True)]
    if not any(wanted):
        return grad_weights, grad_biases
    for layer in range(len(weights) - 1, wanted.index(True) - 1, -1):
        below = hidden[layer - 1][0] if layer else v
        if wants_weight[layer]:
            grad_weights[layer] = grad @ below.T
        if wants_bias[layer]:
            grad_biases[layer] = grad.sum(1)
        if any(wanted[:layer]):
            grad = act.backward(weights[layer].T @ grad, hidden[layer - 1][1])
    return grad_weights, grad_biases
