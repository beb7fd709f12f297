"""The one boundary through which images enter and masks leave: NIfTI in and out, NRRD in.

Every file is read once, whole, to the end of its gzip stream: a partial read never meets the checksum, and four of
five flipped bits would pass as voxels. Everything that can be wrong with a file becomes a DataError of one string.
"""

import contextlib
import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import nibabel as nib
import numpy as np
from nibabel.orientations import OrientationError
from nibabel.spatialimages import HeaderDataError
from nrrd.errors import NRRDError

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.base.faults import absent, data_error, fault_of
from nerd_fast.segmentation.base.files import whole_file
from nerd_fast.segmentation.data.description import Description
from nerd_fast.segmentation.data.grids import Grid, check_same_grid, grid_of
from nerd_fast.segmentation.data.headers import MAX_TAIL, MAX_VOXELS, describe, suffix

LABEL_TOLERANCE = 0.05
"""Farthest a label may lie from a whole number: scaled integer labels come back as 0.9961 and 2.0000001."""
LABEL_ROUNDING = 1e-3
"""Farthest a label may lie from a whole number without a word: what single precision makes of one."""

_FAULTS = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    OverflowError,
    LookupError,
    MemoryError,
    zlib.error,
    HeaderDataError,
    OrientationError,
    np.linalg.LinAlgError,
    NRRDError,
)


@dataclass(frozen=True)
class Volume(Grid):
    """A grid with its voxels: `data` (X, Y, Z), native byte order, closest canonical (RAS) orientation.

    `allowed` says what is wrong with the file and was let pass, a sentence each.
    """

    data: np.ndarray
    allowed: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid:
        """The grid without the voxels, to keep when the voxels may go."""
        return Grid(**grid_fields(self))


def grid_fields(grid: Grid) -> dict[str, Any]:
    """The fields of a grid by name, without those of a volume."""
    return {name: getattr(grid, name) for name in Grid.__dataclass_fields__}


def read_grid(path: str | os.PathLike, *, component: int | None = None, max_voxels: int = MAX_VOXELS) -> Grid:
    """The grid of an image from its header alone. Raises DataError as `read_volume` does, voxels aside."""
    path = Path(path)
    with _opened(path, max_voxels) as (description, _):
        return grid_of(path, description, component)


def read_volume(
    path: str | os.PathLike,
    *,
    component: int | None = None,
    max_voxels: int = MAX_VOXELS,
    nonfinite: Literal["error", "zero", "keep"] = "error",
) -> Volume:
    """Reads an image as float32, scaled by its slope and intercept, to the very end of the file.

    `component` picks one image of a 4-D file, the last axis counting the images; without it a 4-D file must hold one.
    `nonfinite` says what becomes of NaN and infinity: an error, zero, or kept for the caller to report.

    Raises:
        DataError: absent, damaged, truncated or lying file; data that is not one real-valued volume; NaN or infinity.
    """
    path = Path(path)
    with _opened(path, max_voxels) as (description, file):
        grid = grid_of(path, description, component)
        stored = _read_voxels(path, description, file)
        if len(description.shape) == 4:
            stored = stored[..., component or 0]
        with np.errstate(over="ignore"):  # what overflows becomes infinite, and is reported as that
            data = np.ascontiguousarray(grid.to_canonical(stored), dtype=np.float32)
            if (description.slope, description.inter) != (1.0, 0.0):
                data *= np.float32(description.slope)
                data += np.float32(description.inter)
    if nonfinite == "error":
        check_finite(grid, data)
    zeroed = set_nonfinite_to_zero(data) if nonfinite == "zero" else 0
    allowed = (f"{path}: {zeroed} voxels NaN or infinite are read as 0",) if zeroed else ()
    return Volume(data=data, allowed=allowed, **grid_fields(grid))


def check_finite(grid: Grid, data: np.ndarray) -> None:
    """Raises DataError where voxels of `data` on that grid are NaN or infinite, with their number and the first.

    It is found by its index in the file, where a viewer shows it, and not in the canonical orientation.
    """
    finite = np.isfinite(data)
    if finite.all():
        return
    stored = grid.to_stored(finite)
    first = tuple(int(i) for i in np.unravel_index(np.argmin(stored), stored.shape))
    raise data_error(
        grid.source,
        found=f"{data.size - np.count_nonzero(finite)} of {data.size} voxels NaN or infinite, "
        f"in the file the first at {first}",
        expected="finite intensities",
        remedy="repair the file, leave the case out, or, for a channel but not for a label, use --nonfinite zero",
    )


def set_nonfinite_to_zero(data: np.ndarray) -> int:
    """Sets NaN and infinity to 0 in place; returns how many there were."""
    bad = ~np.isfinite(data)
    data[bad] = 0
    return int(np.count_nonzero(bad))


def read_label(path: str | os.PathLike, values: Sequence[int] = (0, 1), *, max_voxels: int = MAX_VOXELS) -> Volume:
    """Reads a label image as uint8 and checks that it holds none but the declared `values` (each 0 to 255).

    Values within `LABEL_TOLERANCE` of a whole number are rounded to it, and `allowed` says so where they lie farther
    from it than `LABEL_ROUNDING`.

    Raises:
        DataError: what `read_volume` raises; fractions; values outside `values`.
    """
    volume = read_volume(path, max_voxels=max_voxels)
    rounded = np.rint(volume.data)
    off = np.abs(volume.data - rounded)
    wrong = off > LABEL_TOLERANCE
    if wrong.any():
        raise data_error(
            path,
            found=f"{np.count_nonzero(wrong)} label voxels between whole numbers, such as {volume.data[wrong][0]:.6g}",
            expected=f"the values {tuple(values)}",
            remedy="export the label again, or resample it by nearest neighbour",
        )
    unexpected = np.setdiff1d(np.unique(rounded), values)
    if unexpected.size:
        count = int(np.isin(rounded, unexpected).sum())
        found = ", ".join(f"{value:g}" for value in unexpected[:8])
        raise data_error(
            path,
            found=f"the label values {found} in {count} voxels",
            expected=f"none but {tuple(values)}",
            remedy="correct the label, or declare its values with --label-values",
        )
    count = np.count_nonzero(off > LABEL_ROUNDING)
    allowed = (f"{path}: {count} label voxels up to {off.max():.2g} off a whole number are rounded",) if count else ()
    return Volume(data=rounded.astype(np.uint8), allowed=allowed, **grid_fields(volume))


def on_grid(volume: Volume, grid: Grid, *, allow_mismatch: bool = False) -> Volume:
    """The volume with its voxels where those of the grid lie.

    Where both lie in one place (`check_same_grid`) it is the volume as it is. Elsewhere, with `allow_mismatch`, its
    affine counts for nothing: voxel [i, j, k] of its file is voxel [i, j, k] of the grid's file, both are turned as the
    grid's affine says, and `allowed` says so.

    Raises:
        DataError: another place, and no mismatch allowed; files that hold other numbers of voxels along their axes.
    """
    try:
        check_same_grid(grid, volume)
    except DataError as error:
        if not allow_mismatch:
            raise
        reason = fault_of(error)
    else:
        return volume
    if volume.stored_shape[:3] != grid.stored_shape[:3]:
        raise data_error(
            volume.source,
            found=f"{volume.stored_shape[:3]} stored voxels",
            expected=f"{grid.stored_shape[:3]}, as in {grid.source}, to take one for the other",
            remedy="resample one onto the other",
        )
    stored = volume.to_stored(volume.data).reshape(volume.stored_shape[:3])
    sentence = f"{volume.source}: {reason.found}, taken for the same place voxel by voxel"
    return Volume(
        data=np.ascontiguousarray(grid.to_canonical(stored)),
        allowed=(*volume.allowed, sentence),
        **{**grid_fields(grid), "source": volume.source},
    )


def write_mask(path: str | os.PathLike, mask: np.ndarray, like: Grid, *, description: str | None = None) -> None:
    """Writes a mask (X, Y, Z), values 0 to 255, as uint8 NIfTI with the orientation, shape and header codes of `like`.

    The header is that of the source but for the data type, the scaling (slope 1, intercept 0) and, where a
    `description` of up to 79 bytes is given, the field `descrip`. The file appears whole or not at all.

    Raises:
        ValueError: shape or values of the mask, or the suffix of the path, are not as above.
        UsageError: the folder cannot be written or the disk is full.
    """
    path = Path(path)
    if suffix(path) not in (".nii.gz", ".nii"):
        raise ValueError(f"path is {path}; expected a name ending in .nii.gz or .nii")
    mask = np.asarray(mask)
    if mask.shape != like.shape:
        raise ValueError(f"mask has shape {mask.shape}; expected {like.shape}, that of {like.source}")
    with np.errstate(invalid="ignore"):  # NaN is found by the comparison
        values = mask.astype(np.uint8)
    if not np.array_equal(values, mask):
        raise ValueError(f"mask of {mask.dtype} holds values that are not whole numbers from 0 to 255")
    header = like.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"] = 0, 0
    if description is not None:
        header["descrip"] = description.encode()
    image = (nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image)(
        like.to_stored(values), None, header
    )
    content = image.to_bytes()
    with whole_file(path) as temporary:
        temporary.write_bytes(
            gzip.compress(content, compresslevel=6, mtime=0) if suffix(path) == ".nii.gz" else content
        )


@contextlib.contextmanager
def _opened(path: Path, max_voxels: int) -> Iterator[tuple[Description, BinaryIO]]:
    if path.exists() and not path.is_file():  # to read a pipe would wait for a writer
        raise data_error(path, found="no regular file", expected="an image", remedy="put a file there")
    try:
        with open(path, "rb") as file:
            yield describe(path, file, max_voxels), file
    except FileNotFoundError:
        raise data_error(
            path,
            found=absent(path),
            expected="an image",
            remedy="check the folder and the names of channels and label",
        ) from None
    except _FAULTS as error:
        raise data_error(
            path,
            found=f"{type(error).__name__} while reading ({error})",
            expected="a whole, undamaged NIfTI or NRRD file",
            remedy="copy, download or export it again",
        ) from error


def _read_voxels(path: Path, description: Description, file: BinaryIO) -> np.ndarray:
    stream = description.stream(file)
    content = bytearray(description.nbytes)
    view, filled = memoryview(content), 0
    while filled < len(content) and (count := stream.readinto(view[filled:])):
        filled += count
    tail = len(stream.read(MAX_TAIL + 1))
    if filled < len(content) or tail > MAX_TAIL:
        found = f"{filled}" if filled < len(content) else f"more than {filled + MAX_TAIL}"
        raise data_error(
            path,
            found=f"{found} bytes of voxels",
            expected=f"{description.nbytes} for shape {description.shape} of {description.dtype}",
            remedy="the file is truncated or its header damaged: copy or download it again",
        )
    return np.frombuffer(content, dtype=description.dtype).reshape(description.shape, order="F")
