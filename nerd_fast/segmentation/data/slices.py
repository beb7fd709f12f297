"""Volumes as the slices a network sees, and its slices pasted back.

A slice is (H, W) with H along the first and W along the second of the two in-plane axes of the canonical volume; for
axial slices H is X (left to right) and W is Y (back to front), so that the paper's 160x224 holds a brain of 182x218
and 240x160 the atrium crops of up to 232x159. `picture` turns a slice for the eye.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.base.faults import data_error, fault_of
from nerd_fast.segmentation.data.cases import Case, DataSet
from nerd_fast.segmentation.data.volumes import Grid, Volume, check_same_grid, read_grid, read_label, read_volume

SPACING_TIE = 0.01
"""Spacings closer than this share are equal: the slicing axis is then the last of them."""


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


@dataclass(frozen=True)
class PreparedCase:
    """A case ready for a network, S slices of (H, W).

    Attributes:
        images: (S, C, H, W) float32, each channel scaled to [0, 1] over its whole volume, zero where padded.
        label: (S, H, W) uint8 class numbers, 0 for background and for ignored values, or None.
        truth: (X, Y, Z) uint8, the same before crop and padding, in the orientation of `volume`; or None.
        ignore: (X, Y, Z) bool, where the label holds an ignored value; None where there is none.
        volume: the grid of the first channel, to measure distances in and to write masks like.
        label_voxels_lost: foreground voxels that the crop cut off.
        allowed: what is wrong with the files and was let pass, a sentence each.
    """

    name: str
    images: np.ndarray
    label: np.ndarray | None
    truth: np.ndarray | None
    ignore: np.ndarray | None
    volume: Grid
    geometry: SliceGeometry
    label_voxels_lost: int
    allowed: tuple[str, ...] = ()


def slicing_axis(spacing: Sequence[float]) -> int:
    """The axis across the slices: that of the largest spacing, the last of them where several are equal within 1 %."""
    largest = max(spacing)
    return max(axis for axis, length in enumerate(spacing) if length >= largest * (1 - SPACING_TIE))


def scale_to_unit(
    data: np.ndarray, source: str | os.PathLike, percentiles: tuple[float, float] = (0, 100)
) -> np.ndarray:
    """`data` as float32 with these percentiles at 0 and 1, clipped to [0, 1]. Raises DataError where they are equal."""
    low, high = (data.min(), data.max()) if tuple(percentiles) == (0, 100) else np.percentile(data, percentiles)
    if not high > low:
        raise data_error(
            source,
            found=f"the same intensity {low:g} "
            + ("in every voxel" if data.min() == data.max() else f"at {percentiles} %"),
            expected="an image with contrast",
            remedy="export the channel again or leave the case out",
        )
    low, extent = float(low), float(high) - float(low)
    scaled = np.empty_like(data, dtype=np.float32)
    for index, slab in enumerate(data):  # in double precision, which cannot overflow, a slab at a time to save memory
        scaled[index] = np.clip((slab - np.float64(low)) / extent, 0, 1)
    return scaled


def prepare_case(
    case: Case,
    *,
    channels: Sequence[str],
    size: tuple[int, int],
    label: str | None = None,
    axis: int | None = None,
    label_values: Sequence[int] = (0, 1),
    ignore_values: Sequence[int] = (),
    percentiles: tuple[float, float] = (0, 100),
    nonfinite: Literal["error", "zero"] = "error",
    allow_geometry_mismatch: bool = False,
) -> PreparedCase:
    """Reads a case, checks that its images share one grid, scales it and cuts it into slices.

    `axis` is that of the canonical volume across the slices, found from the spacing where None. With `label` None the
    label file is not read. `label_values` are the values of background, class 1, class 2, ...; `ignore_values` as in
    `DataSet`. `nonfinite` "zero" reads NaN and infinity in channels as 0; `allow_geometry_mismatch` puts images of one
    shape on the grid of the first channel wherever their affines place them.

    Raises:
        DataError: a file that cannot be trusted, a channel that is missing or constant, a label that is missing.
    """
    missing = [name for name in channels if name not in case.channels]
    if missing or (label is not None and case.label is None):
        raise data_error(
            f"case {case.name}",
            found=f"no {', '.join(missing) or f'label {label}'} beside {', '.join(case.channels)}",
            expected=f"the channels {', '.join(channels)}" + (f" and the label {label}" if label else ""),
            remedy="add the file or leave the case out",
        )
    grid, geometry, stacks, allowed = None, None, [], []
    for name in channels:
        volume = read_volume(case.channels[name], component=case.component.get(name), nonfinite=nonfinite)
        allowed += volume.allowed
        if grid is None:
            grid = volume.grid
            geometry = SliceGeometry(slicing_axis(grid.spacing) if axis is None else axis, grid.shape, tuple(size))
        allowed += geometry_mismatch(grid, volume, allow_geometry_mismatch)
        stacks.append(geometry.crop(scale_to_unit(volume.data, volume.source, percentiles)))
    images = np.stack(stacks, axis=1)
    if label is None:
        return PreparedCase(case.name, images, None, None, None, grid, geometry, 0, tuple(allowed))
    found = read_label(case.label, (*label_values, *ignore_values))
    allowed += [*found.allowed, *geometry_mismatch(grid, found, allow_geometry_mismatch)]
    truth, ignore = class_numbers(found, label_values, ignore_values)
    cropped = geometry.crop(truth)
    lost = int(np.count_nonzero(truth) - np.count_nonzero(cropped))
    return PreparedCase(case.name, images, cropped, truth, ignore, grid, geometry, lost, tuple(allowed))


def geometry_mismatch(grid: Grid, other: Grid, allow: bool) -> list[str]:
    """How the two grids differ in place, in a sentence, where that is allowed; otherwise as `check_same_grid`."""
    try:
        check_same_grid(grid, other)
    except DataError as error:
        if not allow or grid.shape != other.shape:
            raise
        fault = fault_of(error)
        return [f"{fault.file}: {fault.found}, taken for the same place"]
    return []


def class_numbers(
    label: Volume, label_values: Sequence[int] = (0, 1), ignore_values: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray | None]:
    """Class numbers (X, Y, Z) uint8 for the values of a label, and where it is to be ignored (bool, or None)."""
    lookup = np.zeros(256, dtype=np.uint8)
    lookup[list(label_values)] = np.arange(len(label_values))
    ignore = np.isin(label.data, ignore_values)
    return lookup[label.data], ignore if ignore.any() else None


def largest_size(dataset: DataSet, *, axis: int | None = None, multiple: int = 16) -> tuple[int, int]:
    """The largest height and width of a slice over the cases, up to a multiple of 16. Reads headers alone."""
    sizes = []
    for case in dataset.cases:
        name = dataset.channels[0]
        grid = read_grid(case.channels[name], component=case.component.get(name))
        sizes.append(SliceGeometry(slicing_axis(grid.spacing) if axis is None else axis, grid.shape, (1, 1)).in_plane)
    return tuple(-(-max(lengths) // multiple) * multiple for lengths in zip(*sizes, strict=True))


def picture(slices: np.ndarray) -> np.ndarray:
    """A slice (..., H, W) turned for the eye: front of the head up, right of the patient on the left (radiological)."""
    return np.swapaxes(slices, -1, -2)[..., ::-1, ::-1]
