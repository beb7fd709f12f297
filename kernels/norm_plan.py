"""What the launches of a normalisation by position are: see `plan`, whose steps for the calibrator it shares."""

from functools import lru_cache

from nerd_fast.kernels import norm_tiling, plan
from nerd_fast.kernels.launch import Step, options
from nerd_fast.kernels.layout import ABSENT, flat
from nerd_fast.kernels.norm_backward import norm_backward
from nerd_fast.kernels.norm_forward import norm_forward
from nerd_fast.kernels.tiling import Head

SEVERAL = 2  # classes


def describe(shape, hidden_channels, activation, scale, precision, capability):
    """The fields of a `tiling.Head` of the same calibrator: a NeRDm head of several classes, without its classifier.

    Such a head's calibrator yields a and b, and its backward reads the gradients of both.
    """
    return True, shape[1], SEVERAL, hidden_channels, len(shape) - 2, activation, scale, precision, capability


@lru_cache(plan.PLANS)
def forward(description, shape, x_strides, y_strides):
    """The plan of a forward on features of this shape and these strides, a `plan.Forward`."""
    return plan_forward(Head(*description), shape, x_strides, y_strides)


@lru_cache(plan.PLANS)
def backward(description, shape, x_strides, grad_strides, grad_x_strides, wants):
    """The plan of a backward, a `plan.Backward`; `wants` in the order x, *weights, *biases."""
    return plan_backward(Head(*description), shape, x_strides, grad_strides, grad_x_strides, wants)


def plan_forward(head, shape, x_strides, y_strides):
    """`forward` without its cache."""
    x = plan.Features.of(shape, x_strides)
    tile = norm_tiling.forward(head, x.channels_adjacent)
    tiles, shares = x.cover(tile)
    integers = {
        **flat(shape, y_strides).integers("y", "batch", "channel"),
        **x.strides.integers("x", "batch", "channel"),
        "channels": head.in_channels,
        "positions": x.positions,
        "batch": x.batch,
        "shares": shares,
    }
    step = Step(norm_forward, tiles * shares, integers, _constants(head, tile), options(tile.num_warps, tile.registers))
    return plan.Forward(step, x.strides.copied)


def plan_backward(head, shape, x_strides, grad_strides, grad_x_strides, wants):
    """`backward` without its cache."""
    x, grad = plan.Features.of(shape, x_strides), flat(shape, grad_strides)
    grad_x = flat(shape, grad_x_strides) if wants[0] else ABSENT
    tile = norm_tiling.backward(head, x.channels_adjacent)
    tiles, shares = x.cover(tile)
    wants_f = any(wants[1:])
    integers = {
        **grad_x.integers("grad_x", "batch", "channel"),
        **grad.integers("grad", "batch", "channel"),
        **x.strides.integers("x", "batch", "channel"),
        "channels": head.in_channels,
        "positions": x.positions,
        "batch": x.batch,
        "shares": shares,
        "tiles": tiles,
    }
    constants = {**_constants(head, tile), "WANTS_X": wants[0], "WANTS_F": wants_f}
    apply = Step(norm_backward, tiles * shares, integers, constants, options(tile.num_warps, tile.registers))
    copies = x.strides.copied, grad.copied
    if not wants_f:
        return plan.Backward(apply, None, None, None, None, None, (), False, *copies)
    grad_f = (shares, head.outputs, tiles * tile.positions)
    of_head = (wants[0], False, False, *wants[1:])  # with the places of a head's classifier and bias
    calibrator, rows = plan.calibrator_step(head, x, grad_f, None, of_head)
    summing, summed = plan.reduction_step(head, rows, of_head, wants_f)
    places = tuple(place - 2 for place in summed)
    return plan.Backward(apply, calibrator, summing, grad_f, None, rows, places, False, *copies)


def _constants(head, tile):
    return {
        **plan.calibrator_constants(head),
        "POSITIONS": tile.positions,
        "CHANNELS": tile.channels,
        "SAMPLES": tile.samples,
        "INNER": tile.inner,
    }
