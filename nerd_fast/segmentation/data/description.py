"""What an image file says of itself, whichever its format: the voxels it claims to hold and where they lie."""

import gzip
import math
from dataclasses import dataclass
from typing import BinaryIO

import nibabel as nib
import numpy as np

from nerd_fast.segmentation.base.faults import Fault

PLACE_TOLERANCE = 0.01
"""Farthest, in voxels, that two affines may place a corner of the volume apart and still mean one place."""
MILLIMETRES = {"mm": 1.0, "micron": 1e-3, "metre": 1e3, "unknown": 1.0}
"""Units of length a file may count in, in mm; unknown ones are taken for that."""


@dataclass(frozen=True)
class Description:
    """The voxels a file claims to hold and where they lie.

    `shape` is (X, Y, Z) or (X, Y, Z, T) in stored order, `stored_shape` the same with the axes of length 1 that the
    file has behind these; `dtype` has the file's byte order, a value is slope * stored + inter. `affine` takes stored
    voxel indices to millimetres in RAS+ space, whatever `unit` the file counts in (mm, micron, metre, unknown). The
    voxels begin `offset` bytes into the stream that begins `base` bytes into the file, gzip if `compressed`. `header`
    is NIfTI, made up for an NRRD file. `doubts` are what may be wrong with it and does not keep it from being read.
    """

    shape: tuple[int, ...]
    stored_shape: tuple[int, ...]
    dtype: np.dtype
    slope: float
    inter: float
    affine: np.ndarray
    unit: str
    header: nib.Nifti1Header
    base: int
    offset: int
    compressed: bool
    doubts: tuple[Fault, ...] = ()

    @property
    def voxels(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.voxels * self.dtype.itemsize

    def stream(self, file: BinaryIO) -> BinaryIO:
        """The bytes of the open file from the first voxel on, decompressed."""
        file.seek(self.base)
        stream = gzip.GzipFile(fileobj=file) if self.compressed else file
        stream.seek(self.base + self.offset if stream is file else self.offset)
        return stream


def without_trailing_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without the axes of length 1 at its end that lie beyond the fourth: they say nothing."""
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def in_millimetres(affine: np.ndarray, unit: str) -> np.ndarray:
    scaled = np.array(affine, dtype=float)
    scaled[:3] *= MILLIMETRES[unit]
    return scaled


def corners_apart(affine: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    """The farthest, along an axis of space in mm, that two affines place a corner voxel of the volume apart."""
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(shape) - 1)
    return float(np.abs(nib.affines.apply_affine(affine, corners) - nib.affines.apply_affine(other, corners)).max())
