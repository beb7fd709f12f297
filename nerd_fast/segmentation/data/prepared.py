"""A case as a network takes it: its channels scaled to [0, 1], cut into slices, its label beside them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nerd_fast.segmentation.base.faults import data_error
from nerd_fast.segmentation.data.cases import Case
from nerd_fast.segmentation.data.grids import Grid
from nerd_fast.segmentation.data.slices import SliceGeometry, outside_of_crop
from nerd_fast.segmentation.data.volumes import Volume, on_grid, read_label, read_volume


@dataclass(frozen=True)
class PreparedCase:
    """A case ready for a network, S slices of (H, W).

    Attributes:
        images: (S, C, H, W) float32, each channel scaled to [0, 1] over its whole volume, `padding` where padded.
        padding: (C,) float32, what the padding of each channel is.
        label: (S, H, W) uint8 class numbers, 0 for background and for ignored values, or None.
        truth: (X, Y, Z) uint8, the same before crop and padding, in the orientation of `volume`; or None.
        ignore: (X, Y, Z) bool, where the label holds an ignored value; None where there is none.
        volume: the grid of the first channel, to measure distances in and to write masks like.
        label_voxels_lost: foreground voxels that the crop cut off.
        warnings: what is wrong and was let pass, and what the crop cut off, a sentence each.
    """

    name: str
    images: np.ndarray
    padding: np.ndarray
    label: np.ndarray | None
    truth: np.ndarray | None
    ignore: np.ndarray | None
    volume: Grid
    geometry: SliceGeometry
    label_voxels_lost: int
    warnings: tuple[str, ...] = ()


def intensity_limits(
    data: np.ndarray, source: str | os.PathLike, percentiles: Sequence[float] = (0, 100)
) -> tuple[float, float]:
    """The intensities of `data` at these percentiles, which become 0 and 1. Raises DataError where they are equal."""
    low, high = (data.min(), data.max()) if tuple(percentiles) == (0, 100) else np.percentile(data, percentiles)
    if not high > low:
        flat = data.min() == data.max()
        raise data_error(
            source,
            found=f"the same intensity {low:g} "
            + ("in every voxel" if flat else "at the percentiles {:g} and {:g}".format(*percentiles)),
            expected="an image with contrast",
            remedy="export the channel again or leave the case out"
            if flat
            else "choose --percentiles further apart, or leave the case out",
        )
    return float(low), float(high)


def scale_to_unit(data: np.ndarray, source: str | os.PathLike, percentiles: Sequence[float] = (0, 100)) -> np.ndarray:
    """`data` as float32 with these percentiles at 0 and 1, clipped to [0, 1]. Raises DataError where they are equal."""
    low, high = intensity_limits(data, source, percentiles)
    extent = high - low
    scaled = np.empty_like(data, dtype=np.float32)
    for index, slab in enumerate(data):  # in double precision, which cannot overflow, a slab at a time to save memory
        scaled[index] = np.clip((slab - np.float64(low)) / extent, 0, 1)
    return scaled


def background_of(scaled: np.ndarray, axis: int) -> np.float32:
    """What the background of a scaled volume (X, Y, Z) has become: the median of the border of all its slices.

    It is 0 only where the background is the darkest there is: a scan with negative voxels has it at 0.07 to 0.1.
    """
    planes = np.moveaxis(scaled, axis, 0)
    border = [planes[:, (0, -1), :].ravel(), planes[:, :, (0, -1)].ravel()]
    return np.float32(np.median(np.concatenate(border)))


def prepare_case(
    case: Case,
    *,
    channels: Sequence[str],
    size: tuple[int, int],
    axis: int,
    label: str | None = None,
    label_values: Sequence[int] = (0, 1),
    ignore_values: Sequence[int] = (),
    percentiles: Sequence[float] = (0, 100),
    padding: Literal["background", "zero"] = "background",
    whole: bool = False,
    nonfinite: Literal["error", "zero"] = "error",
    allow_geometry_mismatch: bool = False,
) -> PreparedCase:
    """Reads a case, checks that its images share one grid, scales it and cuts it into slices.

    `axis` is that of the canonical volume across the slices. They are cropped or padded to `size`; with `whole` only
    padded, so that nothing is cut off. `padding` is what each channel's own background becomes (`background_of`), or
    zero. With `label` None the label file is not read. `label_values` are the values of background, class 1, class 2,
    ...; `ignore_values` as in `DataSet`. `nonfinite` "zero" reads NaN and infinity in channels as 0;
    `allow_geometry_mismatch` takes the images for one grid voxel by voxel, as `volumes.on_grid` says.

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
    grid, geometry, images, fills, warnings = _channels(
        case, channels, axis, size, percentiles, padding, whole, nonfinite, allow_geometry_mismatch
    )
    cropped = truth = ignore = None
    lost = 0
    if label is not None:
        found = read_label(case.label, (*label_values, *ignore_values))
        found = on_grid(found, grid, allow_mismatch=allow_geometry_mismatch)
        warnings += found.allowed
        truth, ignore = class_numbers(found, label_values, ignore_values)
        cropped = geometry.crop(truth)
        lost = int(np.count_nonzero(truth) - np.count_nonzero(cropped))
    return PreparedCase(
        name=case.name,
        images=images,
        padding=fills,
        label=cropped,
        truth=truth,
        ignore=ignore,
        volume=grid,
        geometry=geometry,
        label_voxels_lost=lost,
        warnings=tuple(warnings),
    )


def _channels(case, channels, axis, size, percentiles, padding, whole, nonfinite, allow_geometry_mismatch):
    """Grid and geometry of the first channel; slices (S, C, H, W) and padding (C,) of all; what is to be said."""
    grid, geometry, seen, stacks, fills, warnings = None, None, None, [], [], []
    for name in channels:
        volume = read_volume(case.channels[name], component=case.component.get(name), nonfinite=nonfinite)
        if grid is None:
            grid = volume.grid
            geometry = SliceGeometry(axis, grid.shape, tuple(size))
            geometry = geometry.uncropped() if whole else geometry
            seen = np.zeros(grid.shape, dtype=bool)
            warnings += [f"{doubt.file}: {doubt.found}" for doubt in grid.doubts]
        volume = on_grid(volume, grid, allow_mismatch=allow_geometry_mismatch)
        warnings += volume.allowed
        seen |= volume.data != 0
        scaled = scale_to_unit(volume.data, volume.source, percentiles)
        fills.append(background_of(scaled, axis) if padding == "background" else np.float32(0))
        stacks.append(geometry.crop(scaled, fills[-1]))
    if cut := outside_of_crop(seen, geometry):
        warnings.append(f"{case.name}: {cut}; predict and evaluate see the whole slice with --window")
    return grid, geometry, np.stack(stacks, axis=1), np.array(fills), warnings


def class_numbers(
    label: Volume, label_values: Sequence[int] = (0, 1), ignore_values: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray | None]:
    """Class numbers (X, Y, Z) uint8 for the values of a label, and where it is to be ignored (bool, or None)."""
    lookup = np.zeros(256, dtype=np.uint8)
    lookup[list(label_values)] = np.arange(len(label_values))
    ignore = np.isin(label.data, ignore_values)
    return lookup[label.data], ignore if ignore.any() else None
