"""Boundary distances: where a pixel is, as its distances to the borders of the image (paper, section 2.1)."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Scale = Literal["extent"] | float


def resolve_scale(distance_scale: Scale) -> float | None:
    """`None` for `"extent"`, else the number by which pixel distances are multiplied.

    Raises ValueError for any other string and for a number that is not finite or not positive,
    TypeError for what is neither a string nor a number.
    """
    if isinstance(distance_scale, str):
        if distance_scale == "extent":
            return None
        raise ValueError(f"distance_scale: expected 'extent' or a number, got {distance_scale!r}")
    if isinstance(distance_scale, bool) or not isinstance(distance_scale, (int, float)):
        raise TypeError(f"distance_scale: expected 'extent' or a number, got {type(distance_scale).__name__}")
    if not math.isfinite(distance_scale) or distance_scale <= 0:
        raise ValueError(f"distance_scale: expected a finite number above 0, got {distance_scale}")
    return float(distance_scale)


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

    `dtype` is a floating-point type, by default torch's default one. Raises ValueError or TypeError for a rank
    other than 2 or 3, a size below 1, a window outside the image, or an unknown scale.
    """
    spatial = tuple(spatial)
    if len(spatial) not in (2, 3):
        raise ValueError(f"spatial: expected (H, W) or (D, H, W), got {len(spatial)} sizes")
    if any(size < 1 for size in spatial):
        raise ValueError(f"spatial: expected sizes of at least 1, got {spatial}")
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if not dtype.is_floating_point:
        raise TypeError(f"dtype: expected a floating-point type, got {dtype}")
    for name, value in (("origin", origin), ("extent", extent)):
        if value is not None and not all(hasattr(number, "__index__") for number in value):
            raise TypeError(f"{name}: expected {len(spatial)} whole numbers, one per spatial axis, got {value!r}")
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
