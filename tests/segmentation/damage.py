"""Ways to damage a copy of the tiny data set: each function takes its folder."""

import gzip
import json

import nibabel as nib
import numpy as np


def missing(folder):
    (folder / "case01" / "T1.nii.gz").unlink()


def truncated(folder):
    path = folder / "case01" / "T1.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])


def bit_flipped(folder):
    path = folder / "case01" / "T1.nii.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(content)


def lying(folder):
    path = folder / "case01" / "T1.nii.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[42:48] = np.array([4000, 4000, 12], dtype="<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(content)))


def replace(folder, name, change):
    path = folder / "case01" / f"{name}.nii.gz"
    image = nib.load(path)
    array, affine = change(np.asanyarray(image.dataobj), image.affine.copy())
    nib.save(nib.Nifti1Image(array, affine), path)


def flat(folder):
    replace(folder, "T1", lambda array, affine: (array[..., 0], affine))


def four_dimensional(folder):
    replace(folder, "T1", lambda array, affine: (np.stack([array, array], -1), affine))


def coloured(folder):
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    replace(folder, "T1", lambda array, affine: (np.zeros(array.shape, kind), affine))


def complex_valued(folder):
    replace(folder, "T1", lambda array, affine: (array.astype(np.complex64), affine))


def mismatched_shape(folder):
    replace(folder, "T1", lambda array, affine: (array[:-1], affine))


def mismatched_affine(folder):
    replace(folder, "lesion", lambda array, affine: (array, affine + np.diag([0.5, 0, 0, 0])))


def undeclared_label(folder):
    replace(folder, "lesion", lambda array, affine: ((array * 3).astype(np.uint8), affine))


def not_finite(folder):
    replace(folder, "T1", lambda array, affine: (np.where(array > 500, np.nan, array).astype(np.float32), affine))


def split_of(folder, train):
    (folder / "split.json").write_text(json.dumps({"train": train, "val": ["case03"], "test": ["case04"]}))


def absent_in_split(folder):
    split_of(folder, ["case01", "case09"])


def twice_in_split(folder):
    split_of(folder, ["case01", "case03"])


def no_training_case(folder):
    split_of(folder, [])


def odd(folder):
    """What `--nonfinite zero` and `--allow-geometry-mismatch` let pass."""
    not_finite(folder)
    mismatched_affine(folder)
