"""Headers of NIfTI-1 and NIfTI-2 in a single file, compressed or not."""

import gzip
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from nerd_fast.segmentation.base.faults import Fault, data_error
from nerd_fast.segmentation.data.description import (
    MILLIMETRES,
    PLACE_TOLERANCE,
    Description,
    corners_apart,
    in_millimetres,
    without_trailing_ones,
)

EXTENDER = 4
"""Bytes behind a header that say whether extensions follow: no voxel lies before their end."""
_UNITS = {1: "metre", 2: "mm", 3: "micron"}


def describe_nifti(path: Path, file: BinaryIO, *, compressed: bool) -> Description:
    """The description in a NIfTI header. Raises DataError where it is none, or where its voxels lie elsewhere."""
    block = (gzip.GzipFile(fileobj=file) if compressed else file).read(540)
    sizes = {int.from_bytes(block[:4], order) for order in ("little", "big")}
    kind = nib.Nifti1Header if 348 in sizes else nib.Nifti2Header if 540 in sizes else None
    if kind is None or len(block) < kind.template_dtype.itemsize:
        raise data_error(
            path,
            found=f"not NIfTI ({len(block)} bytes of header whose size field says {min(sizes)})",
            expected="a header of 348 or 540 bytes",
            remedy="export or download the file again",
        )
    header = kind(block[: kind.template_dtype.itemsize], check=False)
    magic = header["magic"].tobytes()[:2]
    if magic != b"n+":
        raise data_error(
            path,
            found=f"magic {magic!r}, so the voxels lie elsewhere",
            expected="NIfTI in a single file (n+1 or n+2)",
            remedy="convert the .hdr and .img pair, or download the file again",
        )
    offset, least = int(header["vox_offset"]), kind.template_dtype.itemsize + EXTENDER
    if offset < least:
        raise data_error(
            path,
            found=f"vox_offset {offset}, so that voxels would begin within the header",
            expected=f"{least} or more",
            remedy="the header is damaged: export or download the file again",
        )
    mended = _mend(path, header)
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):  # 0 by the standard; the others as the programs that write them read
        slope, inter = 1.0, 0.0
    stored_shape = tuple(int(n) for n in header["dim"][1 : 1 + int(header["dim"][0])])
    unit = _UNITS.get(int(header["xyzt_units"]) & 7, "unknown")
    affine = in_millimetres(header.get_best_affine(), unit)
    return Description(
        shape=without_trailing_ones(stored_shape),
        stored_shape=stored_shape,
        dtype=header.get_data_dtype(),
        slope=slope,
        inter=inter,
        affine=affine,
        unit=unit,
        header=header,
        base=0,
        offset=offset,
        compressed=compressed,
        doubts=(*mended, *_doubts(path, header, stored_shape, affine, unit)),
    )


def _mend(path: Path, header: nib.Nifti1Header) -> list[Fault]:
    """What of the header is against the standard and was set right in place. Raises HeaderDataError for what cannot be.

    nibabel would print each of them, and once more for each time that the file is read.
    """
    said = _Messages()
    logger = logging.Logger("header", logging.WARNING)  # of no family: nothing else hears it
    logger.addHandler(said)
    header.check_fix(logger)
    return [
        Fault(str(path), message, "a header that keeps to the NIfTI standard", "correct the header")
        for message in said.messages
    ]


class _Messages(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _doubts(path, header, shape, affine, unit) -> Iterator[Fault]:
    """What the header says twice and differently: sform and qform, and the spacing of pixdim and of the affine."""
    if len(shape) < 3:
        return
    claimed = [float(zoom) * MILLIMETRES[unit] for zoom in header.get_zooms()[:3]]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(sorted(claimed), sorted(spacing), rtol=1e-2):
        yield Fault(
            str(path),
            f"pixdim says {np.round(sorted(claimed), 3).tolist()} mm and the affine "
            f"{np.round(sorted(spacing), 3).tolist()} mm",
            "one spacing from both",
            "correct the header; the affine is what counts here",
        )
    if not (int(header["sform_code"]) and int(header["qform_code"])):
        return
    try:
        apart = corners_apart(affine, in_millimetres(header.get_qform(), unit), shape[:3])
    except (ValueError, HeaderDataError):  # a quaternion that is none
        apart = math.inf
    if not apart <= PLACE_TOLERANCE * spacing.min():
        yield Fault(
            str(path),
            f"sform and qform place the volume up to {apart:.4g} mm apart",
            "one place from both",
            "find out which is right and copy it over the other; the sform is what counts here",
        )
