"""What the launches of a head are, from its description and the shapes and strides of its tensors: no tensor enters.

`forward` and `backward` answer from a cache, so that a training loop works its launches out once.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

import torch

from nerd_fast.kernels import reduction, tiling
from nerd_fast.kernels.apply_backward import apply_backward
from nerd_fast.kernels.apply_forward import apply_forward
from nerd_fast.kernels.calibrator_backward import calibrator_backward
from nerd_fast.kernels.launch import Step
from nerd_fast.kernels.layout import Flat, flat

PLANS = 256  # of each direction: a training loop needs one or two, images of many sizes one for each


@dataclass(frozen=True)
class Features:
    """The features of a call: batch, positions N and strides as (B, C, N)."""

    batch: int
    positions: int
    strides: Flat

    @classmethod
    def of(cls, shape, strides):
        return cls(shape[0], torch.Size(shape[2:]).numel(), flat(shape, strides))

    def aligned(self, channels):
        """Whether Triton can prove that 16 neighbours in memory, along positions or channels, are there and aligned."""
        batch, channel, position, _ = self.strides
        if position == 1:
            return not (self.positions % 16 or channel % 16 or batch % 16)
        return channel == 1 and not (channels % 16 or position % 16 or batch % 16)

    def cover(self, tile):
        """How many tiles cover the positions, and over how many programs the batch of a tile is shared out."""
        tiles = -(-self.positions // tile.positions)
        return tiles, tiling.shares(tiles, self.batch)


@dataclass(frozen=True)
class Forward:
    """The one launch of a forward; x_copied: the features are read from a contiguous copy."""

    apply: Step
    x_copied: bool


@dataclass(frozen=True)
class Backward:
    """The launches of a backward, the shapes of their float32 workspaces, None where there is none of them.

    `summed` lists, for each place of a row, which of the gradients is summed there, in the order of `backward`; one
    that is not wanted has another stand in.
    """

    apply: Step
    calibrator: Step | None
    reduction: Step | None
    grad_f: tuple[int, int, int] | None
    apply_rows: tuple[int, int] | None
    rows: tuple[int, int] | None
    summed: tuple[int, ...]
    x_copied: bool
    grad_copied: bool
    grad_x_copied: bool


@lru_cache(PLANS)
def forward(description, shape, x_strides, logits_strides):
    """The plan of a forward of the Head(*description) on features of this shape and these strides."""
    return plan_forward(tiling.Head(*description), shape, x_strides, logits_strides)


@lru_cache(PLANS)
def backward(description, shape, x_strides, grad_strides, grad_x_strides, wants):
    """The plan of a backward; `wants` in the order x, classifier, bias, *weights, *biases."""
    return plan_backward(tiling.Head(*description), shape, x_strides, grad_strides, grad_x_strides, wants)


def plan_forward(head, shape, x_strides, logits_strides):
    """`forward` without its cache."""
    x = Features.of(shape, x_strides)
    tile = tiling.forward(head)
    tiles, shares = x.cover(tile)
    logits = flat((shape[0], head.out_channels, *shape[2:]), logits_strides)
    integers = {
        **_strides("stride_sb", "stride_sk", "stride_sp", logits),
        **_strides("stride_xb", "stride_xc", "stride_xp", x.strides),
        "positions": x.positions,
        "batch": x.batch,
        "shares": shares,
    }
    constants = _map_constants(head, tile) | {"G": tile.classes}
    return Forward(Step(apply_forward, tiles * shares, integers, constants, options(tile)), x.strides.copied)


def plan_backward(head, shape, x_strides, grad_strides, grad_x_strides, wants):
    """`backward` without its cache."""
    x = Features.of(shape, x_strides)
    grad = flat((shape[0], head.out_channels, *shape[2:]), grad_strides)
    grad_x = flat(shape, grad_x_strides) if wants[0] else Flat(0, 0, 0, False)
    tile = tiling.apply_backward(head, x.aligned(head.in_channels))
    tiles, shares = x.cover(tile)
    wants_f, wants_rows = any(wants[3:]), wants[1] or wants[2]
    grad_f = (shares, head.outputs, tiles * tile.positions) if wants_f else None
    apply_rows = (tiles * shares, head.out_channels * (head.in_channels + 1)) if wants_rows else None
    integers = {
        **_strides("stride_db", "stride_dc", "stride_dp", grad_x),
        **_strides("stride_gb", "stride_gk", "stride_gp", grad),
        **_strides("stride_xb", "stride_xc", "stride_xp", x.strides),
        "positions": x.positions,
        "batch": x.batch,
        "shares": shares,
        "tiles": tiles,
    }
    constants = _map_constants(head, tile) | {
        "WANTS_X": wants[0],
        "WANTS_F": wants_f,
        "WANTS_CLASSIFIER": wants[1],
        "WANTS_BIAS": wants[2],
    }
    apply = Step(apply_backward, tiles * shares, integers, constants, options(tile))
    calibrator, rows = calibrator_step(head, x, grad_f, apply_rows, wants) if wants_f else (None, apply_rows)
    summing, summed = reduction_step(head, rows, wants) if wants_f or wants_rows else (None, ())
    copies = x.strides.copied, grad.copied, grad_x.copied
    return Backward(apply, calibrator, summing, grad_f, apply_rows, rows, summed, *copies)


def calibrator_step(head, x, grad_f, apply_rows, wants):
    """The launch of the calibrator's backward, and the shape of the rows that it writes."""
    tile = tiling.calibrator_backward(head)
    offsets = _parameter_offsets(head)
    tiles = -(-x.positions // tile.positions)
    programs = tiling.row_programs(tiles)
    apply_programs, apply_columns = apply_rows or (0, 0)
    classifier_columns = head.out_channels * head.in_channels
    integers = {
        "positions": x.positions,
        "grad_f_width": grad_f[2],
        "tiles": tiles,
        "shares": grad_f[0],
        "apply_programs": apply_programs,
        # the apply pass has written the columns of the classifier, then of the bias, where they are wanted
        "first_apply_column": 0 if wants[1] else classifier_columns,
        "last_apply_column": apply_columns if wants[2] else classifier_columns,
    }
    constants = {
        "OUTPUTS": head.outputs,
        "APPLY_COLUMNS": apply_columns,
        "OFFSETS": offsets,
        **calibrator_constants(head),
        "P": tile.positions,
        "DEPTH": tile.depth,
    }
    step = Step(calibrator_backward, programs, integers, constants, options(tile))
    return step, (programs, offsets[-1] + apply_columns)


def reduction_step(head, rows, wants):
    """The launch that sums the rows, and which gradient lies in each place of a row.

    A row lists the calibrator's parameters, if they are wanted, layer by layer, weight and bias, in as many places as
    the deepest calibrator has, then the classifier and the bias.
    """
    layers = head.depth + 1
    absent = reduction.GRADIENTS - 2 * layers - 2
    pairs = [place for layer in range(layers) for place in (3 + layer, 3 + layers + layer)]
    places = [*pairs, *[None] * absent, 1, 2]
    offsets = _parameter_offsets(head) if any(wants[3:]) else (0,) * (2 * layers + 1)
    classifier_end = offsets[-1] + head.out_channels * head.in_channels
    ends = (*offsets[1:], *[offsets[-1]] * absent, classifier_end, classifier_end + head.out_channels)
    wanted = [place is not None and wants[place] for place in places]
    # One that is not wanted has the type of one that is, so that no other kernel is compiled for it.
    stand_in = places[wanted.index(True)]
    integers = {
        "count": rows[0],
        "width": rows[1],
        "wanted": sum(1 << i for i, want in enumerate(wanted) if want),
        **dict(zip(reduction.ENDS, ends, strict=True)),
    }
    constants = {"ROWS_AT_ONCE": reduction.ROWS_AT_ONCE, "COLUMNS": reduction.COLUMNS}
    programs = -(-rows[1] // reduction.COLUMNS)
    step = Step(reduction.sum_rows, programs, integers, constants, {"num_warps": 4, "num_stages": 1})
    return step, tuple(place if want else stand_in for place, want in zip(places, wanted, strict=True))


def _parameter_offsets(head):
    """Where the calibrator's parameters begin in a row of partial sums: weight, bias, weight, ..., and the end."""
    widths = (2 * head.spatial_dims, *head.hidden_channels, head.outputs)
    sizes = (size for fan_in, fan_out in pairwise(widths) for size in (fan_out * fan_in, fan_out))
    return (0, *accumulate(sizes))


def _map_constants(head, tile):
    return {
        "MODULATES": head.modulates,
        "C": head.in_channels,
        "K": head.out_channels,
        **calibrator_constants(head),
        "P": tile.positions,
        "S": tile.samples,
        "T": tile.channels,
        "DEPTH": tile.depth,
    }


def calibrator_constants(head):
    """The constants of the calibrator, the same in every kernel."""
    return {
        "HIDDEN": head.hidden_channels,
        "PADDED": head.padded,
        "SPATIAL_DIMS": head.spatial_dims,
        "ACTIVATION": head.activation,
        "SCALE": head.scale,
        "PRECISION": head.precision,
    }


def options(tile):
    # Pipelining (num_stages) costs registers; Triton 3.10 turns fusion to FMA off unless it is asked for.
    return {"num_warps": tile.num_warps, "num_stages": 1, "enable_fp_fusion": True, "maxnreg": tile.registers}


def _strides(batch, channel, position, strides):
    """Strides as (B, C, N) under the names of a kernel's arguments."""
    return {batch: strides.batch, channel: strides.channel, position: strides.position}
