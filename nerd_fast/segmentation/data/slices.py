"""Volumes as the slices a network sees, and its slices pasted back.

A slice is (H, W) with H along the first and W along the second of the two in-plane axes of the canonical volume; for
axial slices H is X (left to right) and W is Y (back to front): the paper's 160x224 cuts 11 rows off each side of a scan
of 182x218 and pads it by 3 columns at each end, and 240x160 holds atrium crops of up to 232x159. `picture`
turns a slice for the eye.

Nothing is resampled: a network sees pixels, of whatever size in millimetres.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nerd_fast.segmentation.base.faults import data_error
from nerd_fast.segmentation.data.cases import Case
from nerd_fast.segmentation.data.grids import Grid
from nerd_fast.segmentation.data.volumes import read_grid

SPACING_TIE = 0.01
"""Spacings closer than this share are equal: the slicing axis is then the last of them."""
SPACING_RATIO = 1.25
"""In-plane spacings that differ by more than this factor show a network things of another size: a warning."""


@dataclass(frozen=True)
class SliceGeometry:
    """A volume (X, Y, Z) as slices (S, H, W): cut across `axis`, cropped or padded about the centre to `size`."""

    axis: int
    shape: tuple[int, int, int]
    size: tuple[int, int]

    @property
    def in_plane(self) -> tuple[int, int]:
        """Height and width of the whole slice, before crop and padding."""
        return tuple(n for axis, n in enumerate(self.shape) if axis != self.axis)

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the first pixel of the window within the whole slice; negative where it is padded."""
        return tuple(
            (n - size) // 2 if n >= size else -((size - n) // 2)
            for n, size in zip(self.in_plane, self.size, strict=True)
        )

    def crop(self, array: np.ndarray, fill: float = 0) -> np.ndarray:
        """The slices (S, H, W) of a volume (X, Y, Z), padded with `fill`."""
        self._check("array", array.shape, self.shape)
        slices = np.full((self.shape[self.axis], *self.size), fill, dtype=array.dtype)
        window, within = self._windows()
        slices[window] = np.moveaxis(array, self.axis, 0)[within]
        return slices

    def paste(self, slices: np.ndarray, fill: float = 0) -> np.ndarray:
        """The volume (X, Y, Z) of slices (S, H, W): `crop` inverted, with `fill` where the crop cut something off."""
        self._check("slices", slices.shape, (self.shape[self.axis], *self.size))
        stacked = np.full((self.shape[self.axis], *self.in_plane), fill, dtype=slices.dtype)
        window, within = self._windows()
        stacked[within] = slices[window]
        return np.ascontiguousarray(np.moveaxis(stacked, 0, self.axis))

    def uncropped(self) -> "SliceGeometry":
        """The same slices padded where they are smaller than `size`, and whole where they are larger."""
        return replace(self, size=tuple(max(pair) for pair in zip(self.in_plane, self.size, strict=True)))

    def _windows(self) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        window, within = [slice(None)], [slice(None)]
        for start, n, size in zip(self.origin, self.in_plane, self.size, strict=True):
            length = min(n, size)
            window.append(slice(max(-start, 0), max(-start, 0) + length))
            within.append(slice(max(start, 0), max(start, 0) + length))
        return tuple(window), tuple(within)

    @staticmethod
    def _check(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
        if tuple(found) != tuple(expected):
            raise ValueError(f"{name} has shape {tuple(found)}; expected {tuple(expected)}")


def slicing_axis(spacing: Sequence[float]) -> int:
    """The axis across the slices: that of the largest spacing, the last of them where several are equal within 1 %."""
    largest = max(spacing)
    return max(axis for axis, length in enumerate(spacing) if length >= largest * (1 - SPACING_TIE))


def first_grids(cases: Sequence[Case], channel: str) -> dict[str, Grid]:
    """The grid of each case by its name, from the header of that channel."""
    return {case.name: read_grid(case.channels[channel], component=case.component.get(channel)) for case in cases}


def common_axis(grids: Mapping[str, Grid], where: str | os.PathLike) -> int:
    """The `slicing_axis` that all grids have. Raises DataError where they have several, or there is no grid."""
    found = defaultdict(list)
    for name, grid in grids.items():
        found[slicing_axis(grid.spacing)].append(name)
    if len(found) == 1:
        return next(iter(found))
    told = "; ".join(
        f"axis {axis} in {len(names)}, such as {names[0]} of {_spacing_text(grids[names[0]].spacing)} mm"
        for axis, names in sorted(found.items())
    )
    raise data_error(
        where,
        found=f"slices across different axes by the spacing of the cases: {told or 'no case'}",
        expected="one axis that a network is trained across",
        remedy="choose it with --axis, or leave the others out",
    )


def typical_spacing(grids: Mapping[str, Grid], axis: int) -> tuple[float, float]:
    """The median over the grids of the two in-plane spacings, in mm; the lower one of two, and not what neither has."""
    spacings = [_in_plane(grid.spacing, axis) for grid in grids.values()]
    return tuple(float(step) for step in np.percentile(spacings, 50, axis=0, method="lower"))


def other_spacing(grid: Grid, axis: int, spacing: Sequence[float]) -> str | None:
    """How the in-plane spacing of a grid differs from `spacing` by more than `SPACING_RATIO`; None where it does not.

    Where nothing is resampled, a lesion of 5 mm is then of another size to the network.
    """
    found = _in_plane(grid.spacing, axis)
    if all(max(pair) <= SPACING_RATIO * min(pair) for pair in zip(found, spacing, strict=True)):
        return None
    return f"pixels of {_spacing_text(found)} mm, where others have {_spacing_text(spacing)} mm; nothing is resampled"


def _in_plane(values: Sequence, axis: int) -> tuple:
    return tuple(value for number, value in enumerate(values) if number != axis)


def _spacing_text(spacing: Sequence[float]) -> str:
    return "x".join(f"{step:.4g}" for step in spacing)


def outside_of_crop(seen: np.ndarray, geometry: SliceGeometry) -> str | None:
    """How much of the mask `seen` (X, Y, Z), the voxels that hold anything, a crop cuts off; None where it is nothing.

    Its voxels are "non-zero" in the sentence.
    """
    total = int(np.count_nonzero(seen))
    outside = total - int(np.count_nonzero(geometry.crop(seen)))
    if not outside:
        return None
    size = "x".join(map(str, geometry.size))
    return f"{outside} of {total} non-zero voxels ({outside / total:.1%}) lie outside of the crop to {size}"


def largest_size(grids: Mapping[str, Grid], axis: int, *, multiple: int = 16) -> tuple[int, int]:
    """The largest height and width of a slice across `axis` over the grids, up to a multiple of 16."""
    sizes = [SliceGeometry(axis, grid.shape, (1, 1)).in_plane for grid in grids.values()]
    return tuple(-(-max(lengths) // multiple) * multiple for lengths in zip(*sizes, strict=True))


def picture(slices: np.ndarray) -> np.ndarray:
    """A slice (..., H, W) turned for the eye: front of the head up, right of the patient on the left (radiological)."""
    return np.swapaxes(slices, -1, -2)[..., ::-1, ::-1]
