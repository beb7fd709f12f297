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
from nerd_fast.kernels.calibrator_backward_narrow import calibrator_backward_narrow
from nerd_fast.kernels.launch import Step, options
from nerd_fast.kernels.layout import ABSENT, Flat, Rows, flat

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

    @property
    def channels_adjacent(self):
        """Whether neighbours in memory are channels of one position, several of them, and not positions."""
        return self.strides.channel == 1 and self.strides.position > 1

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
    """The launches of a backward, and the shapes of their float32 workspaces, None where there is none of them.

    `summed` lists, for each place of a row, which of the gradients is summed there, in the order of `backward`, and
    then, where the last layer is `folded`, its weight, bias and the classifier; one that is not wanted has another
    stand in.
    """

    apply: Step
    calibrator: Step | None
    reduction: Step | None
    grad_f: tuple[int, int, int] | None
    apply_rows: tuple[int, int] | None
    rows: Rows | None
    summed: tuple[int, ...]
    folded: bool
    x_copied: bool
    grad_copied: bool


@lru_cache(PLANS)
def forward(description, shape, x_strides, item_bytes, logits_strides):
    """The plan of a forward of the Head(*description) on features of this shape, strides and bytes of an element."""
    return plan_forward(tiling.Head(*description), shape, x_strides, item_bytes, logits_strides)


@lru_cache(PLANS)
def backward(description, shape, x_strides, grad_strides, grad_x_strides, wants):
    """The plan of a backward; `wants` in the order x, classifier, bias, *weights, *biases."""
    return plan_backward(tiling.Head(*description), shape, x_strides, grad_strides, grad_x_strides, wants)


def plan_forward(head, shape, x_strides, item_bytes, logits_strides):
    """`forward` without its cache."""
    x = Features.of(shape, x_strides)
    tile = tiling.forward(head, x.channels_adjacent, 16 // item_bytes if x.aligned(head.in_channels) else 1)
    tiles, shares = x.cover(tile)
    logits = flat((shape[0], head.out_channels, *shape[2:]), logits_strides)
    integers = {
        **logits.integers("logits", "batch", "class"),
        **x.strides.integers("x", "batch", "channel"),
        "positions": x.positions,
        "batch": x.batch,
        "shares": shares,
    }
    constants = {
        **_map_constants(head),
        "POSITIONS": tile.positions,
        "SAMPLES": tile.samples,
        "CLASSES": tile.classes,
        "READERS": tile.readers,
        "CHANNELS": tiling.padded(head.in_channels),
        "LANES": tile.lanes,
        "VECTOR": tile.vector,
        "RUN": tile.run,
        "CHANNELS_ADJACENT": x.channels_adjacent,
        "CLASSES_ADJACENT": logits.channel == 1 and logits.position == head.out_channels,
        "INNER": tile.inner,
    }
    step = Step(apply_forward, tiles * shares, integers, constants, options(tile.num_warps, tile.registers))
    return Forward(step, x.strides.copied)


def plan_backward(head, shape, x_strides, grad_strides, grad_x_strides, wants):
    """`backward` without its cache."""
    x = Features.of(shape, x_strides)
    grad = flat((shape[0], head.out_channels, *shape[2:]), grad_strides)
    grad_x = flat(shape, grad_x_strides) if wants[0] else ABSENT
    tile = tiling.apply_backward(head, x.aligned(head.in_channels), x.channels_adjacent)
    tiles, shares = x.cover(tile)
    wants_f = any(wants[1:] if head.folded else wants[3:])
    wants_rows = (wants[1] or wants[2]) and not head.folded
    grad_f = (shares, head.planes + head.folded, tiles * tile.positions) if wants_f else None
    apply_rows = (tiles * shares, head.out_channels * (head.in_channels + 1)) if wants_rows else None
    integers = {
        **grad_x.integers("grad_x", "batch", "channel"),
        **grad.integers("grad", "batch", "class"),
        **x.strides.integers("x", "batch", "channel"),
        "positions": x.positions,
        "batch": x.batch,
        "shares": shares,
        "tiles": tiles,
    }
    constants = {
        **_map_constants(head),
        "WANTS_X": wants[0],
        "WANTS_F": wants_f,
        "WANTS_CLASSIFIER": wants[1] and not head.folded,
        "WANTS_BIAS": wants[2] and not head.folded,
        "FOLDED": head.folded,
        "POSITIONS": tile.positions,
        "SAMPLES": tile.samples,
        "CHANNELS": tile.channels,
        "INNER": tile.inner,
    }
    apply = Step(apply_backward, tiles * shares, integers, constants, options(tile.num_warps, tile.registers))
    calibrator, rows = None, Rows.apart(*apply_rows) if wants_rows else None
    if wants_f:
        calibrator, rows = calibrator_step(head, x, grad_f, apply_rows, wants)
    summing, summed = reduction_step(head, rows, wants, wants_f) if rows else (None, ())
    copies = x.strides.copied, grad.copied
    return Backward(apply, calibrator, summing, grad_f, apply_rows, rows, summed, head.folded, *copies)


def calibrator_step(head, x, grad_f, apply_rows, wants):
    """The launch of the calibrator's backward, and the Rows that it writes."""
    tile = tiling.calibrator_backward_narrow(head) if head.narrow else tiling.calibrator_backward(head)
    offsets = _parameter_offsets(head)
    tiles = -(-x.positions // tile.positions)
    programs = tiling.row_programs(tiles)
    apply_programs, apply_columns = apply_rows or (0, 0)
    classifier_columns = head.out_channels * head.in_channels
    width = offsets[-1] + (head.hidden_channels[-1] + 1 if head.folded else apply_columns)
    rows = Rows.apart(programs, width)
    integers = {
        "positions": x.positions,
        "grad_f_width": grad_f[2],
        "shares": grad_f[0],
        "apply_programs": apply_programs,
        # the apply pass has written the columns of the classifier, then of the bias, where they are wanted
        "first_apply_column": 0 if wants[1] else classifier_columns,
        "last_apply_column": apply_columns if wants[2] else classifier_columns,
    }
    constants = {
        "OUTPUTS": head.planes,
        "APPLY_COLUMNS": apply_columns,
        "OFFSETS": offsets,
        **calibrator_constants(head),
        "POSITIONS": tile.positions,
    }
    compiled_with = options(tile.num_warps, tile.registers)
    if not head.narrow:
        constants["INNER"] = tiling.POSITION_FIRST_INNER
        integers["tiles"] = tiles
        return Step(calibrator_backward, programs, integers, constants, compiled_with), rows
    if grad_f[2] == tiles * tile.positions:
        rows = Rows.within(programs, width, grad_f[1], tile.positions, tiles) or rows
    constants |= {"PADDED_OUTPUTS": tiling.padded(head.planes), "FOLDED": head.folded}
    integers |= {"tiles_each": tiles // programs, "longer_programs": tiles % programs, **rows.integers()}
    return Step(calibrator_backward_narrow, programs, integers, constants, compiled_with), rows


def reduction_step(head, rows, wants, wants_f):
    """The launch that sums the rows, and which gradient lies in each place of a row.

    A row lists the calibrator's parameters, if its backward has run, layer by layer, weight and bias, in as many places
    as the deepest calibrator has, then the classifier and the bias. With a folded last layer the sums that its and the
    classifier's gradients are made of lie in the classifier's place; that of dbeta is the gradient of the bias.
    """
    plain = head.layers + 1 - head.folded  # layers whose sums are their gradients
    offsets = _parameter_offsets(head)[: 2 * plain + 1] if wants_f else (0,) * (2 * plain + 1)
    absent = reduction.GRADIENTS - 2 * plain - 2
    pairs = [place for layer in range(plain) for place in (3 + layer, 4 + head.layers + layer)]
    places = [*pairs, *[None] * absent, None if head.folded else 1, 2]
    bias_column = max(offsets[-1], rows.width - head.out_channels)
    ends = (*offsets[1:], *[offsets[-1]] * absent, bias_column, rows.width)
    if head.folded:
        places += [3 + head.layers, 4 + 2 * head.layers, 1]
    wanted = [place is not None and wants[place] for place in places]
    # One that is not wanted has the type of one that is, so that no other kernel is compiled for it.
    stand_in = places[wanted.index(True)]
    programs = -(-rows.width // reduction.COLUMNS)
    integers = reduction.integers(rows, ends, wanted) | {
        "folded_column": offsets[-1],
        "channels": head.in_channels,
        "hidden": head.hidden_channels[-1],
    }
    folded_programs = head.in_channels if head.folded and (wants[1] or wanted[12] or wanted[13]) else 0
    step = reduction.step(integers, programs + folded_programs)
    return step, tuple(place if want else stand_in for place, want in zip(places, wanted, strict=True))


def _parameter_offsets(head):
    """Where the calibrator's parameters begin in a row of partial sums: weight, bias, weight, ..., and the end."""
    widths = (2 * head.spatial_dims, *head.hidden_channels, head.planes)
    sizes = (size for fan_in, fan_out in pairwise(widths) for size in (fan_out * fan_in, fan_out))
    return (0, *accumulate(sizes))


def _map_constants(head):
    """The constants of the calibrator and of the map it makes, the same in both kernels that stream features."""
    sizes = {"C": head.in_channels, "K": head.out_channels}
    return {"MODULATES": head.modulates, **sizes, **calibrator_constants(head)}


def calibrator_constants(head):
    """The constants of the calibrator, the same in every kernel."""
    return {
        "HIDDEN": head.hidden_channels,
        "PADDED": head.padded,
        "SPATIAL_DIMS": head.spatial_dims,
        "ACTIVATION": head.activation,
        "SCALE": head.scale,
        "PRECISION": head.products,
    }
