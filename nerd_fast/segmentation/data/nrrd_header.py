"""Headers of NRRD with the voxels attached, raw or gzip."""

from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import nrrd
import numpy as np

from nerd_fast.segmentation.base.faults import data_error
from nerd_fast.segmentation.data.description import Description, in_millimetres, without_trailing_ones

_UNITS = {
    "mm": ("mm", "millimeter", "millimetre", "millimeters", "millimetres"),
    "micron": ("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer", "micrometers", "micrometre"),
    "metre": ("m", "meter", "metre", "meters", "metres"),
}
_TYPES = {
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
_SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "ras": (1, 1, 1),
    "las": (-1, 1, 1),
    "lps": (-1, -1, 1),
}


def describe_nrrd(path: Path, file: BinaryIO) -> Description:
    """The description in an NRRD header. Raises DataError where it is none, or what it says cannot be read here."""
    if file.read(4) != b"NRRD":
        raise data_error(path, found="not NRRD", expected="a file that begins with NRRD", remedy="export it again")
    file.seek(0)
    fields = nrrd.read_header(file)
    encoding = fields["encoding"].lower()
    code = next((code for code, names in _TYPES.items() if fields["type"] in names), None)
    elsewhere = {"data file", "datafile", "byte skip", "line skip", "byteskip", "lineskip"} & set(fields)
    if code is None or elsewhere or encoding not in ("raw", "gzip", "gz"):
        raise data_error(
            path,
            found=f"voxels of type {fields['type']}, encoding {encoding}, {', '.join(sorted(elsewhere)) or 'attached'}",
            expected="integers or real numbers, raw or gzip, right behind the header",
            remedy="convert the file",
        )
    unit = _unit(fields)
    affine = in_millimetres(_affine(path, fields), unit)
    stored_shape = tuple(int(n) for n in fields["sizes"])
    header = nib.Nifti1Header()
    header["pixdim"][1:4] = np.linalg.norm(affine[:3, :3], axis=0)
    header.set_sform(affine, code="scanner")
    header.set_xyzt_units("mm")
    return Description(
        shape=without_trailing_ones(stored_shape),
        stored_shape=stored_shape,
        dtype=np.dtype(code).newbyteorder(">" if fields.get("endian") == "big" else "<"),
        slope=1.0,
        inter=0.0,
        affine=affine,
        unit=unit,
        header=header,
        base=file.tell(),
        offset=0,
        compressed=encoding != "raw",
    )


def _unit(fields: dict) -> str:
    """The unit of an NRRD file's space, or of its axes where it has none; unknown where the three differ."""
    told = {str(unit).strip(' "').lower() for unit in (fields.get("space units") or fields.get("units") or [])[:3]}
    return next((unit for unit, names in _UNITS.items() if told and told <= set(names)), "unknown")


def _affine(path: Path, fields: dict) -> np.ndarray:
    signs = _SPACES.get(fields.get("space", "ras").lower())
    if signs is None:
        raise data_error(
            path,
            found=f"space {fields['space']!r}",
            expected=f"one of {', '.join(_SPACES)}",
            remedy="convert the file",
        )
    affine = np.eye(4)
    if int(fields["dimension"]) >= 3:
        directions = fields.get("space directions", np.diag(fields.get("spacings", np.ones(3))[:3]))
        affine[:3, :3] = np.asarray(directions, dtype=float)[:3].T
        affine[:3, 3] = fields.get("space origin", np.zeros(3))
    affine[:3] *= np.array(signs)[:, None]
    return affine
