"""What the launches of a position map are, from the shapes and strides of its tensors: see `plan`."""

from dataclasses import dataclass
from functools import lru_cache

from nerd_fast.kernels import map_tiling, reduction
from nerd_fast.kernels.launch import Step, options
from nerd_fast.kernels.layout import ABSENT, Rows, flat
from nerd_fast.kernels.map_backward import map_backward
from nerd_fast.kernels.map_forward import map_forward
from nerd_fast.kernels.plan import PLANS, Features

OPTIONS = options(map_tiling.WARPS)


@dataclass(frozen=True)
class Forward:
    """The one launch of a forward, and which tensors it reads from a contiguous copy."""

    apply: Step
    x_copied: bool
    weight_copied: bool
    beta_copied: bool


@dataclass(frozen=True)
class Backward:
    """The launches of a backward, and which tensors they read from a contiguous copy.

    `rows` is the shape of a workspace with a row for each share of the batch: the gradient of the weight as far as
    `weight_end`, then that of beta. None with one share, whose sums are the gradients.
    """

    apply: Step
    summing: Step | None
    rows: tuple[int, int] | None
    weight_end: int
    x_copied: bool
    weight_copied: bool
    grad_copied: bool


@lru_cache(PLANS)
def forward(shape, x_strides, classes, weight_strides, beta_strides, logits_strides):
    """The plan of a forward on features of this shape and these strides; beta_strides None without a beta."""
    x = Features.of(shape, x_strides)
    weight = flat((classes, *shape[1:]), weight_strides)
    beta = ABSENT if beta_strides is None else flat((1, classes, *shape[2:]), (0, *beta_strides))
    adjacent = adjacency(x, shape[1])
    tile = map_tiling.forward(shape[1], classes, adjacent)
    programs = -(-x.positions // tile.positions) * -(-classes // tile.class_step)
    shares = map_tiling.shares(programs, x.batch, tile.samples)
    integers = {
        **flat((shape[0], classes, *shape[2:]), logits_strides).integers("logits", "batch", "class"),
        **x.strides.integers("x", "batch", "channel"),
        **weight.integers("weight", "class", "channel"),
        "beta_stride_class": beta.channel,
        "beta_stride_position": beta.position,
        "positions": x.positions,
        "batch": x.batch,
        "shares": shares,
    }
    constants = {
        "CHANNELS": shape[1],
        "CLASSES": classes,
        "CHANNELS_ADJACENT": adjacent == "channels",
        "ROWS": tile.rows,
        "POSITIONS": tile.positions,
        "TURNS": tile.turns,
        "CHANNEL_STEP": tile.channel_step,
        "CLASS_STEP": tile.class_step,
    }
    step = Step(map_forward, programs * shares, integers, constants, OPTIONS)
    return Forward(step, x.strides.copied, weight.copied, beta.copied)


@lru_cache(PLANS)
def backward(shape, x_strides, classes, weight_strides, grad_strides, grad_x_strides, wants):
    """The plan of a backward; `wants` in the order x, weight, beta, grad_x_strides those of the gradient of x."""
    x = Features.of(shape, x_strides)
    weight = flat((classes, *shape[1:]), weight_strides)
    grad = flat((shape[0], classes, *shape[2:]), grad_strides)
    tile = map_tiling.backward(shape[1], classes, adjacency(x, shape[1]))
    programs = -(-x.positions // tile.positions) * -(-shape[1] // tile.channels)
    shares = map_tiling.shares(programs, x.batch, tile.samples)
    weight_end = classes * shape[1] * x.positions if wants[1] else 0
    rows = None
    if shares > 1 and (wants[1] or wants[2]):
        rows = (shares, weight_end + (classes * x.positions if wants[2] else 0))
    integers = {
        **(flat(shape, grad_x_strides) if wants[0] else ABSENT).integers("grad_x", "batch", "channel"),
        "grad_weight_stride_class": shape[1] * x.positions,
        "grad_weight_stride_channel": x.positions,
        "grad_beta_stride_class": x.positions,
        "stride_share": rows[1] if rows else 0,
        **grad.integers("grad", "batch", "class"),
        **x.strides.integers("x", "batch", "channel"),
        **weight.integers("weight", "class", "channel"),
        "positions": x.positions,
        "batch": x.batch,
        "shares": shares,
    }
    constants = {
        "CHANNELS": shape[1],
        "CLASSES": classes,
        "WANTS_X": wants[0],
        "WANTS_WEIGHT": wants[1],
        "WANTS_BETA": wants[2],
        "POSITIONS": tile.positions,
        "CHANNELS_AT_ONCE": tile.channels,
        "SAMPLES": tile.samples,
    }
    step = Step(map_backward, programs * shares, integers, constants, OPTIONS)
    summing = _summing(rows, weight_end, wants) if rows else None
    return Backward(step, summing, rows, weight_end, x.strides.copied, weight.copied, grad.copied)


def _summing(rows, weight_end, wants):
    """The launch that sums the rows into the gradients of weight and beta, the first two of the places of a row."""
    ends = (weight_end, *[rows[1]] * (reduction.GRADIENTS - 1))
    integers = reduction.integers(Rows.apart(*rows), ends, wants[1:])
    return reduction.step(integers, -(-rows[1] // reduction.COLUMNS))


def adjacency(x, channels):
    """What Triton can prove to lie side by side and aligned in memory: "positions", "channels", or None."""
    batch, channel, position, _ = x.strides
    if position == 1 and not (x.positions % 16 or channel % 16 or batch % 16):
        return "positions"
    if channel == 1 and not (channels % 4 or position % 16 or batch % 16):
        return "channels"
    return None
