"""What the header of an image file claims, checked before a voxel is allocated: NIfTI-1, NIfTI-2 and NRRD."""

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nerd_fast.segmentation.base.faults import Fault, data_error
from nerd_fast.segmentation.data.description import Description
from nerd_fast.segmentation.data.nifti_header import describe_nifti
from nerd_fast.segmentation.data.nrrd_header import describe_nrrd

SUFFIXES = (".nii.gz", ".nii", ".nrrd")
MAX_VOXELS = 2**28
"""Most voxels of one file unless told otherwise: 1 GiB as float32."""
MAX_DIMENSION = 4096
DEFLATE_BOUND = 1032
"""No deflate stream expands by more than this factor (zlib technical details)."""
MAX_TAIL = 4096
"""Bytes allowed after the last voxel, padding to a disk block; more means that the header left voxels out."""
RIGHT_ANGLE_TOLERANCE = 0.1
"""Degrees by which the axes of a grid may be off a right angle without a word."""


def suffix(path: str | os.PathLike) -> str:
    """The image suffix of a path (`.nii.gz`, `.nii`, `.nrrd`), or an empty string."""
    name = Path(path).name.lower()
    return next((known for known in SUFFIXES if name.endswith(known)), "")


def stem(path: str | os.PathLike) -> str:
    """The file name without its image suffix: `FLAIR` of `case01/FLAIR.nii.gz`."""
    name = Path(path).name
    return name[: len(name) - len(suffix(path))]


def describe(path: Path, file: BinaryIO, max_voxels: int = MAX_VOXELS) -> Description:
    """Reads the header of an open image file and refuses what it cannot truly hold, without allocating for it.

    Raises:
        DataError: not an image of a known kind; not 3-D (or 4-D); not real numbers; a size of zero, negative or beyond
            `MAX_DIMENSION`; more than `max_voxels`; more bytes than the file holds or could hold after decompression;
            voxels that begin within the header; an intercept or affine that is not finite, a singular affine.
    """
    if not suffix(path):
        raise data_error(
            path,
            found="not an image file by its name",
            expected=f"one of {', '.join(SUFFIXES)}",
            remedy="convert the file",
        )
    if suffix(path) == ".nrrd":
        description = describe_nrrd(path, file)
    else:
        description = describe_nifti(path, file, compressed=suffix(path) == ".nii.gz")
    _check_numbers(path, description)
    _check_claim(path, description, os.fstat(file.fileno()).st_size, max_voxels)
    return replace(description, doubts=(*description.doubts, *_shear(path, description.affine)))


def _shear(path: Path, affine: np.ndarray) -> Iterator[Fault]:
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    off = 90 - np.degrees(np.arccos(np.clip(np.abs(np.triu(steps.T @ steps, 1)), 0, 1))).min()
    if off > RIGHT_ANGLE_TOLERANCE:
        yield Fault(
            str(path),
            f"axes {off:.1f} degrees off a right angle, so that voxels are no boxes",
            "axes at right angles",
            "volumes and distances are measured right through the affine, but slices are seen as if they were "
            "rectangular: resample the scan to a rectangular grid",
        )


def _check_numbers(path: Path, description: Description) -> None:
    shape, dtype, affine = description.shape, description.dtype, description.affine
    if dtype.kind not in "iuf":
        raise data_error(
            path,
            found=f"voxels of type {dtype}",
            expected="integers or real numbers",
            remedy="convert the colours or complex numbers to one grey value",
        )
    if len(shape) not in (3, 4) or not all(1 <= n <= MAX_DIMENSION for n in shape):
        raise data_error(
            path,
            found=f"{len(shape)}-D data of shape {shape}",
            expected=f"a volume of three dimensions (X, Y, Z), each 1 to {MAX_DIMENSION}",
            remedy="choose or export a 3-D image",
        )
    if not (math.isfinite(description.slope) and math.isfinite(description.inter)):
        raise data_error(
            path,
            found=f"intensities scaled by slope {description.slope} and intercept {description.inter}",
            expected="finite numbers",
            remedy="correct scl_slope and scl_inter",
        )
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-6 * lengths.prod()):
        raise data_error(
            path,
            found=f"the affine {np.round(affine, 4).tolist()}, not finite or not invertible",
            expected="one that places the voxels in space",
            remedy="correct sform and qform",
        )


def _check_claim(path: Path, description: Description, size: int, max_voxels: int) -> None:
    if description.voxels > max_voxels:
        raise data_error(
            path,
            found=f"a header that claims shape {description.shape}, {description.voxels} voxels",
            expected=f"at most {max_voxels} voxels",
            remedy="the header is damaged: export the file again; or crop or resample the volume",
        )
    held = size - description.base
    bound = held * DEFLATE_BOUND if description.compressed else held
    if not 0 <= description.offset <= bound - description.nbytes:
        raise data_error(
            path,
            found=f"a header that claims {description.nbytes} bytes of voxels from byte {description.offset} on",
            expected=f"no more than the {'compressed ' if description.compressed else ''}{held} bytes can hold",
            remedy="the file is truncated or its header damaged: copy or download it again",
        )
