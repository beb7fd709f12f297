"""The positions that the MLP runs over: the rows and columns of an image, by their boundary distances, in blocks."""

from itertools import pairwise, repeat
from typing import NamedTuple

import torch

from nerd_fast.distances import axis_distances

# Units times positions of the largest layer that a CPU runs at once, 2 MiB to 5 MiB of float32. Every block costs the
# fixed time of some fifty operations; but a tensor in memory fresh from the system costs a page fault every 4 KiB, more
# than the arithmetic in it, and the allocator keeps about what the largest tensor, the gradient of x, has taken.
SMALLEST_BLOCK, LARGEST_BLOCK, BLOCKS_IN_FEATURES = 1 << 19, 5 << 18, 6


class Positions(NamedTuple):
    """R rows of an image, W positions each, in the order of memory: position r W + w is row r, column w.

    rows (R, 2) are the distances to top and bottom, or (R, 4) to front and back as well; columns (W, 2) those to right
    and left.
    """

    rows: torch.Tensor
    columns: torch.Tensor

    def block(self, start, stop):
        return Positions(self.rows[start:stop], self.columns)


def image_of(x, scale, origin, extent):
    """All positions of x (B, C, *spatial), in float32, or in float64 for float64 features."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    *depth, (top, bottom), (left, right) = (
        axis_distances(*axis, dtype, x.device) for axis in zip(x.shape[2:], repeat(scale), origin, extent, strict=False)
    )
    rows = [top, bottom]
    if depth:
        height = len(top)
        rows = [d.repeat(len(depth[0][0])) for d in rows] + [d.repeat_interleave(height) for d in depth[0]]
    return Positions(torch.stack(rows, 1), torch.stack([right, left], 1))


def blocks(image, weights, features):
    """Blocks of whole rows, each with its slice of the positions: all rows on a GPU, on a CPU as its memory has it.

    `weights` are those of the MLP, `features` is the number of elements in x.
    """
    rows, columns = image
    if rows.is_cuda:
        return [(image, slice(None))]
    elements = len(rows) * len(columns) * max(weight.shape[0] for weight in weights)
    count = -(-elements // min(max(features // BLOCKS_IN_FEATURES, SMALLEST_BLOCK), LARGEST_BLOCK))
    starts = [len(rows) * block // count for block in range(count + 1)]
    return [
        (image.block(start, stop), slice(start * len(columns), stop * len(columns)))
        for start, stop in pairwise(starts)
        if start < stop
    ]
