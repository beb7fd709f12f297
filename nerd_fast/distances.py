"""Boundary distances: where a pixel is, as its distances to the borders of the image (paper, section 2.1)."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Literal

import torch
from torch import Tensor

from nerd_fast.integers import pixels

Scale = Literal["extent"] | float
FLOATING = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""The types of distances, features and parameters."""


def resolve_scale(distance_scale: Scale) -> float | None:
    """`None` for `"extent"`, else the number by which pixel distances are multiplied.

    Raises ValueError for any other string and for a number that is not finite or not positive,
    TypeError for what is neither a string nor a number.
    """
    if isinstance(distance_scale, str):
        if distance_scale == "extent":
            return None
        raise ValueError(f"distance_scale: expected 'extent' or a number, got {distance_scale!r}")
    if isinstance(distance_scale, bool) or not isinstance(distance_scale, (int, float, Real)):
        raise TypeError(f"distance_scale: expected 'extent' or a number, got {type(distance_scale).__name__}")
    try:
        factor = float(distance_scale)
    except OverflowError:
        factor = math.inf
    if not math.isfinite(factor) or factor <= 0:
        raise ValueError(f"distance_scale: expected a finite number above 0, got {str(distance_scale)[:40]}")
    return factor


def sizes(name: str, value: Sequence[int], dims: int | None = None) -> tuple[int, ...]:
    """The argument `name` as (H, W) or (D, H, W), or as `dims` sizes.

    Raises what `pixels` raises, and ValueError for a size below 1.
    """
    spatial = pixels(name, value, dims)
    if any(size < 1 for size in spatial):
        raise ValueError(f"{name}: expected sizes of at least 1, got {spatial}")
    return spatial


def check_dtype(dtype: torch.dtype | None) -> None:
    """Raises TypeError unless the argument `dtype` is None or one of `FLOATING`."""
    if not (dtype is None or (isinstance(dtype, torch.dtype) and dtype in FLOATING)):
        raise TypeError(f"dtype: expected one of {FLOATING}, got {dtype!r}")


def resolve_window(
    spatial: Sequence[int], origin: Sequence[int] | None, extent: Sequence[int] | None, sample: int | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The window that `spatial` pixels cover, as `(origin, extent)`: by default the whole image.

    `origin` is the position of the window's first pixel in an image of size `extent`. Raises ValueError when
    either has another rank than `spatial` or the window does not lie inside the image; `sample` is for the message.
    """
    spatial = tuple(spatial)
    origin = (0,) * len(spatial) if origin is None else tuple(origin)
    extent = tuple(o + s for o, s in zip(origin, spatial, strict=False)) if extent is None else tuple(extent)
    for name, value in (("origin", origin), ("extent", extent)):
        if len(value) != len(spatial):
            raise ValueError(f"{name}: expected {len(spatial)} numbers, one per spatial axis, got {len(value)}")
    name = "origin" if sample is None else f"origin[{sample}]"
    for axis, (start, size, whole) in enumerate(zip(origin, spatial, extent, strict=True)):
        if start < 0 or start + size > whole:
            raise ValueError(
                f"{name}: the window [{start}, {start + size}) on spatial axis {axis} lies outside an image of "
                f"{whole} pixels; expected 0 <= origin and origin + size <= extent"
            )
    return origin, extent


def boundary_distances(
    spatial: Sequence[int],
    scale: Scale = "extent",
    origin: Sequence[int] | None = None,
    extent: Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Distances of every position to the borders of the image (paper, section 2.1).

    `spatial` is (H, W) or (D, H, W) in pixels. The result is (4, H, W) with the channels top, right, bottom, left,
    `(i, W-1-j, H-1-i, j)`, or (6, D, H, W) with front and back, `(k, D-1-k)`, after them. `scale="extent"` divides
    each by `max(size - 1, 1)` of its axis, so that it lies in [0, 1]; a number multiplies the distance in pixels.
    With `origin` and `extent` the positions are those of a window of `spatial` pixels whose first pixel stands at
    `origin` in an image of size `extent`.

    `dtype` is float32, float16, bfloat16 or float64, by default torch's default one. Raises ValueError or TypeError for
    what are no whole numbers of pixels, a rank other than 2 or 3, a size below 1, a window outside the image, another
    dtype or an unknown scale.
    """
    spatial = sizes("spatial", spatial)
    check_dtype(dtype)
    dtype = torch.get_default_dtype() if dtype is None else dtype
    window = (("origin", origin), ("extent", extent))
    origin, extent = (None if value is None else pixels(name, value, len(spatial)) for name, value in window)
    origin, extent = resolve_window(spatial, origin, extent)
    factor = resolve_scale(scale)

    def to_borders(axis: int) -> list[Tensor]:
        both = axis_distances(spatial[axis], factor, origin[axis], extent[axis], dtype, device)
        shape = [1] * len(spatial)
        shape[axis] = spatial[axis]
        return [distances.view(shape).expand(spatial) for distances in both]

    rows, columns = len(spatial) - 2, len(spatial) - 1
    (top, bottom), (left, right) = to_borders(rows), to_borders(columns)
    depth = to_borders(0) if len(spatial) == 3 else []
    return torch.stack([top, right, bottom, left, *depth])


def axis_distances(
    size: int,
    factor: float | None,
    origin: int,
    extent: int,
    dtype: torch.dtype,
    device: torch.device | str | None,
) -> tuple[Tensor, Tensor]:
    """Distances (size,) to the lower and to the upper border along one axis; `factor` as from `resolve_scale`."""
    position = torch.arange(origin, origin + size, device=device)
    low, high = position.to(dtype), (extent - 1 - position).to(dtype)
    if factor is None:
        # a trace holds a size as a tensor, and would hold the larger of two numbers as the one it was
        whole = (extent - 1).clamp(min=1) if isinstance(extent, Tensor) else max(extent - 1, 1)
        return low / whole, high / whole
    return low * factor, high * factor
