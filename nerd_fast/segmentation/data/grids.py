"""Where the voxels of a file lie in the patient, and whether two files lie in one place."""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

from nerd_fast.segmentation.base.faults import Fault, data_error
from nerd_fast.segmentation.data.description import PLACE_TOLERANCE, Description, corners_apart

_CANONICAL = np.array([[0, 1], [1, 1], [2, 1]])


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a file lie, and the way back to how they were stored.

    `shape` (X, Y, Z) and `affine` (4, 4; voxel index to mm, RAS+) are those of the closest canonical orientation: X
    grows to the right of the patient, Y to the front, Z to the top. `spacing` is in mm. `orientation` takes the stored
    axes to these (nibabel's convention), `stored_shape` is the file's, `header` its NIfTI header, `unit` what that
    counts in (mm, micron, metre, unknown). `doubts` are what may be wrong with the header.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    spacing: tuple[float, float, float]
    source: Path
    header: nib.Nifti1Header
    orientation: np.ndarray
    stored_shape: tuple[int, ...]
    unit: str
    doubts: tuple[Fault, ...]

    @property
    def steps(self) -> np.ndarray:
        """From one voxel to the next along each axis, in mm: columns of a (3, 3) matrix. Its determinant is the volume
        of a voxel, whatever the angles between the axes."""
        return self.affine[:3, :3]

    def to_canonical(self, stored: np.ndarray) -> np.ndarray:
        """An array in the file's axes, turned to (X, Y, Z)."""
        return apply_orientation(stored, self.orientation)

    def to_stored(self, array: np.ndarray) -> np.ndarray:
        """An array (X, Y, Z), turned to the axes and shape of the file."""
        back = ornt_transform(_CANONICAL, self.orientation)
        return apply_orientation(array, back).reshape(self.stored_shape)


def grid_of(path: Path, description: Description, component: int | None) -> Grid:
    """The grid of one image of a file. Raises DataError for an image that the file does not hold."""
    images = description.shape[3] if len(description.shape) == 4 else 1
    if component is None and images != 1:
        raise data_error(
            path,
            found=f"4-D data of shape {description.shape}",
            expected="one volume of three dimensions (X, Y, Z)",
            remedy="split the file into one per channel",
        )
    if not 0 <= (component or 0) < images:
        raise data_error(
            path,
            found=f"{images} images in the file, and number {component} asked for",
            expected=f"0 to {images - 1}",
            remedy="check the channels of the data set",
        )
    stored = description.shape[:3]
    orientation = io_orientation(description.affine)
    affine = description.affine @ inv_ornt_aff(orientation, stored)
    shape = tuple(stored[int(i)] for i in np.argsort(orientation[:, 0]))
    spacing = tuple(float(s) for s in nib.affines.voxel_sizes(affine))
    return Grid(
        shape,
        affine,
        spacing,
        path,
        description.header,
        orientation,
        stored_shape=stored if images > 1 else description.stored_shape,
        unit=description.unit,
        doubts=description.doubts,
    )


def check_same_grid(grid: Grid, other: Grid) -> None:
    """Raises DataError unless both grids have one shape and corners within `PLACE_TOLERANCE` of a voxel.

    What `--allow-geometry-mismatch` makes of it is said at `volumes.on_grid`.
    """
    if grid.shape != other.shape:
        raise data_error(
            other.source,
            found=f"shape {other.shape}",
            expected=f"{grid.shape}, that of {grid.source}",
            remedy="resample one onto the other, or, where the axes of both files are equally long, use "
            "--allow-geometry-mismatch",
        )
    apart = corners_apart(grid.affine, other.affine, grid.shape)
    if apart > PLACE_TOLERANCE * min(grid.spacing):
        raise data_error(
            other.source,
            found=f"an affine that places the volume up to {apart:.4g} mm away from {grid.source}",
            expected=f"the same place within {PLACE_TOLERANCE * min(grid.spacing):.3g} mm",
            remedy="resample one onto the other, correct the header, or use --allow-geometry-mismatch",
        )
