"""Small image files for tests, sound or broken in one chosen way."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.data.volumes import read_volume

AFFINE = np.array([[-1.5, 0, 0, 10], [0, 1.25, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
"""Stored to the left of the patient, to the front, to the top: not canonical, so that orientation matters."""


def ramp(shape=(6, 5, 4), dtype=np.int16):
    """A different value in every voxel."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def write_nifti(path, data=None, affine=AFFINE, *, kind=nib.Nifti1Image, edit=None, tail=b""):
    """Writes `data` as NIfTI; `edit` changes the finished header by name of its field, unchecked. Returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = kind(ramp() if data is None else data, affine).to_bytes()
    if edit:
        raw = np.frombuffer(
            content[: kind.header_class.template_dtype.itemsize], kind.header_class.template_dtype
        ).copy()
        for field, value in edit.items():
            raw[field] = value
        content = raw.tobytes() + content[len(raw.tobytes()) :]
    content += tail
    path.write_bytes(gzip.compress(content, mtime=0) if path.name.endswith(".gz") else content)
    return path


def write_case(folder, *, channels=("FLAIR", "T1"), label="lesion", shape=(6, 5, 4), seed=0, affine=AFFINE):
    """A sound case of the plain folder layout, its voxels drawn from `seed`. Returns the folder."""
    rng = np.random.default_rng(seed)
    for channel in channels:
        write_nifti(Path(folder) / f"{channel}.nii.gz", rng.integers(0, 500, shape).astype(np.int16), affine)
    if label:
        mask = np.zeros(shape, dtype=np.uint8)
        mask[1:3, 1:3, 1:3] = 1
        write_nifti(Path(folder) / f"{label}.nii.gz", mask, affine)
    return Path(folder)


def blocks(*corners):
    """A mask (16, 16, 4) with a block at each corner."""
    mask = np.zeros((16, 16, 4), dtype=np.uint8)
    for x, y in corners:
        mask[x : x + 3, y : y + 3, 1:3] = 1
    return mask


def fails(path, *words, read=read_volume):
    """The message of the data error of reading `path`, which names the file and holds every word."""
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert caught.value.args == (message,)
    for word in (str(path), "expected", *words):
        assert word in message
    return message
