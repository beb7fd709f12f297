"""How tensors lie: features and logits as (B, C, N), new logits and gradients, and the rows of partial sums.

Where one stride leads from each position to the next, nothing is copied.
"""

from functools import lru_cache
from typing import NamedTuple

import torch


class Flat(NamedTuple):
    """The strides of a (B, C, *spatial) tensor as (B, C, N), and whether it takes a contiguous copy to have them."""

    batch: int
    channel: int
    position: int
    copied: bool

    def integers(self, tensor, first, second):
        """The arguments of a kernel for the strides of this tensor, whose axes before N are named first and second."""
        return {
            f"{tensor}_stride_{first}": self.batch,
            f"{tensor}_stride_{second}": self.channel,
            f"{tensor}_stride_position": self.position,
        }


ABSENT = Flat(0, 0, 0, False)


class Rows(NamedTuple):
    """Where the rows of partial sums lie, one for each program, `width` columns each.

    Row r begins at r stride + min(r, longer_rows) longer_by; its columns lie in pieces of `span`, `plane` apart.
    """

    count: int
    width: int
    stride: int
    longer_rows: int
    longer_by: int
    span: int
    plane: int

    @classmethod
    def apart(cls, count, width):
        """Rows one after the other, in memory of their own."""
        return cls(count, width, width, 0, 0, width, 0)

    @classmethod
    def within(cls, count, width, planes, positions, tiles):
        """Rows in the planes that their programs have read, each in its own tiles' columns; None if they do not fit.

        The tiles, of so many positions, are dealt out in turn: a program has tiles // count neighbours, or one more.
        """
        span = tiles // count * positions
        if width > planes * span:
            return None
        return cls(count, width, span, tiles % count, positions, span, tiles * positions)

    def integers(self):
        """The arguments of the kernels that write and read the rows."""
        return {
            "row_stride": self.stride,
            "longer_rows": self.longer_rows,
            "longer_by": self.longer_by,
            "row_span": self.span,
            "row_plane": self.plane,
        }


def flat(shape, strides):
    """How a tensor of this shape (B, C, *spatial) and these strides is read as (B, C, N)."""
    stride = position_stride(shape[2:], strides[2:])
    if stride is None:
        positions = torch.Size(shape[2:]).numel()
        return Flat(shape[1] * positions, positions, 1, True)
    return Flat(strides[0], strides[1], stride, False)


@lru_cache(256)
def position_stride(sizes, strides):
    """The stride between neighbours in the flattened positions of spatial axes, None where there is none."""
    stride, reach = None, None
    for size, step in zip(reversed(sizes), reversed(strides), strict=True):
        if size == 1:
            continue
        if stride is None:
            stride = step
        elif step != reach:
            return None
        reach = step * size
    return 1 if stride is None else stride


def workspace(like, shape):
    """Unwritten float32 memory of this shape on the device of `like`; None for None."""
    return None if shape is None else torch.empty(shape, dtype=torch.float32, device=like.device)


def empty_logits(x, out_channels):
    """Unwritten logits (B, K, *spatial) in x's dtype, channels_last where x is so and not contiguous as well."""
    channels_last = not x.is_contiguous() and x.shape[1] > 1 and x.stride(1) == 1
    last = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
    return torch.empty(
        (x.shape[0], out_channels, *x.shape[2:]),
        dtype=x.dtype,
        device=x.device,
        memory_format=last if channels_last else torch.contiguous_format,
    )


def destination(gradient, is_features):
    """Where a kernel can write a gradient: itself, or a contiguous stand-in for strides that kernels do not write."""
    if is_features:
        writable = position_stride(gradient.shape[2:], gradient.stride()[2:]) is not None
    else:
        writable = gradient.is_contiguous()
    return gradient if writable else torch.empty_like(gradient, memory_format=torch.contiguous_format)
