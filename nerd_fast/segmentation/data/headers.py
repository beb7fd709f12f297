"""What the header of an image file claims, checked before a voxel is allocated: NIfTI-1, NIfTI-2 and NRRD."""

import gzip
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import nrrd
import numpy as np

from nerd_fast.segmentation.base.faults import data_error

SUFFIXES = (".nii.gz", ".nii", ".nrrd")
MAX_VOXELS = 2**28
"""Most voxels of one file unless told otherwise: 1 GiB as float32."""
MAX_DIMENSION = 4096
DEFLATE_BOUND = 1032
"""No deflate stream expands by more than this factor (zlib technical details)."""
MAX_TAIL = 4096
"""Bytes allowed after the last voxel, padding to a disk block; more means that the header left voxels out."""

_NRRD_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_NRRD_SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "ras": (1, 1, 1),
    "las": (-1, 1, 1),
    "lps": (-1, -1, 1),
}


@dataclass(frozen=True)
class Description:
    """The voxels a file claims to hold and where they lie.

    `shape` is (X, Y, Z) or (X, Y, Z, T) in stored order, `dtype` has the file's byte order, a value is slope * stored +
    inter. `affine` takes stored voxel indices to millimetres in RAS+ space. The voxels begin `offset` bytes into the
    stream that begins `base` bytes into the file, gzip if `compressed`. `header` is NIfTI, made up for an NRRD file.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    slope: float
    inter: float
    affine: np.ndarray
    header: nib.Nifti1Header
    base: int
    offset: int
    compressed: bool

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
            scaling or affine not finite, affine singular.
    """
    if not suffix(path):
        raise data_error(
            path,
            found="not an image file by its name",
            expected=f"one of {', '.join(SUFFIXES)}",
            remedy="convert the file",
        )
    description = _nrrd(path, file) if suffix(path) == ".nrrd" else _nifti(path, file)
    _check_numbers(path, description)
    _check_claim(path, description, os.fstat(file.fileno()).st_size, max_voxels)
    return description


def _nifti(path: Path, file: BinaryIO) -> Description:
    compressed = suffix(path) == ".nii.gz"
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
    header = kind(block[: kind.template_dtype.itemsize])
    magic = header["magic"].tobytes()[:2]
    if magic != b"n+":
        raise data_error(
            path,
            found=f"magic {magic!r}, so the voxels lie elsewhere",
            expected="NIfTI in a single file (n+1 or n+2)",
            remedy="convert the .hdr and .img pair, or download the file again",
        )
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0:  # "not scaled", by the NIfTI-1 standard
        slope, inter = 1.0, 0.0
    return Description(
        shape=tuple(int(n) for n in header["dim"][1 : 1 + int(header["dim"][0])]),
        dtype=header.get_data_dtype(),
        slope=slope,
        inter=inter,
        affine=header.get_best_affine(),
        header=header,
        base=0,
        offset=int(header["vox_offset"]),
        compressed=compressed,
    )


def _nrrd(path: Path, file: BinaryIO) -> Description:
    if file.read(4) != b"NRRD":
        raise data_error(path, found="not NRRD", expected="a file that begins with NRRD", remedy="export it again")
    file.seek(0)
    fields = nrrd.read_header(file)
    encoding = fields["encoding"].lower()
    code = next((code for code, names in _NRRD_TYPES.items() if fields["type"] in names), None)
    elsewhere = {"data file", "datafile", "byte skip", "line skip", "byteskip", "lineskip"} & set(fields)
    if code is None or elsewhere or encoding not in ("raw", "gzip", "gz"):
        raise data_error(
            path,
            found=f"voxels of type {fields['type']}, encoding {encoding}, {', '.join(sorted(elsewhere)) or 'attached'}",
            expected="integers or real numbers, raw or gzip, right behind the header",
            remedy="convert the file",
        )
    affine = _nrrd_affine(path, fields)
    header = nib.Nifti1Header()
    header["pixdim"][1:4] = np.linalg.norm(affine[:3, :3], axis=0)
    header.set_sform(affine, code="scanner")
    header.set_xyzt_units("mm")
    return Description(
        shape=tuple(int(n) for n in fields["sizes"]),
        dtype=np.dtype(code).newbyteorder(">" if fields.get("endian") == "big" else "<"),
        slope=1.0,
        inter=0.0,
        affine=affine,
        header=header,
        base=file.tell(),
        offset=0,
        compressed=encoding != "raw",
    )


def _nrrd_affine(path: Path, fields: dict) -> np.ndarray:
    signs = _NRRD_SPACES.get(fields.get("space", "ras").lower())
    if signs is None:
        raise data_error(
            path,
            found=f"space {fields['space']!r}",
            expected=f"one of {', '.join(_NRRD_SPACES)}",
            remedy="convert the file",
        )
    affine = np.eye(4)
    if int(fields["dimension"]) == 3:
        directions = fields.get("space directions", np.diag(fields.get("spacings", np.ones(3))))
        affine[:3, :3] = np.asarray(directions, dtype=float).T
        affine[:3, 3] = fields.get("space origin", np.zeros(3))
    affine[:3] *= np.array(signs)[:, None]
    return affine


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
