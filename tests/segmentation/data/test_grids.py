"""Where files lie: in one place, in the same place stored otherwise, or taken for it voxel by voxel."""

import re

import nibabel as nib
import numpy as np
import pytest

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.data.grids import check_same_grid
from nerd_fast.segmentation.data.volumes import on_grid, read_grid, read_volume
from tests.segmentation.images import AFFINE, ramp, write_nifti

LAS = np.diag([-1.0, 1.0, 1.0, 1.0])
PERMUTED = np.array([[0.0, 0, 2, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def test_same_grid_up_to_rounding_but_not_shifted(tmp_path):
    shifted, rounded = AFFINE.copy(), AFFINE.copy()
    shifted[0, 3] += 0.5
    rounded[0, 3] += 1e-3
    grid = read_grid(write_nifti(tmp_path / "a.nii.gz"))
    check_same_grid(grid, read_grid(write_nifti(tmp_path / "rounded.nii.gz", affine=rounded)))
    with pytest.raises(DataError, match=r"shifted.nii.gz: an affine .* up to 0.5 mm away from .*a.nii.gz"):
        check_same_grid(grid, read_grid(write_nifti(tmp_path / "shifted.nii.gz", affine=shifted)))
    with pytest.raises(DataError, match=re.escape("small.nii.gz: shape (5, 5, 4); expected (6, 5, 4)")):
        check_same_grid(grid, read_grid(write_nifti(tmp_path / "small.nii.gz", ramp((5, 5, 4)))))


def test_same_space_stored_in_another_orientation_is_the_same_grid(tmp_path):
    flipped = AFFINE @ np.array([[-1.0, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    a = read_volume(write_nifti(tmp_path / "a.nii.gz"))
    b = read_volume(write_nifti(tmp_path / "b.nii.gz", ramp()[::-1], flipped))
    check_same_grid(a, b)
    np.testing.assert_array_equal(a.data, b.data)


@pytest.mark.parametrize("affine", [np.eye(4), LAS @ np.diag([-2, 1, 1, 1]), PERMUTED])
@pytest.mark.parametrize("reference", [LAS, PERMUTED])
def test_with_mismatch_allowed_a_voxel_of_one_file_is_the_same_voxel_of_the_other(tmp_path, reference, affine):
    grid = read_volume(write_nifti(tmp_path / "a.nii.gz", affine=reference))
    other = read_volume(write_nifti(tmp_path / "b.nii.gz", affine=affine @ np.diag([1, 1, 1.5, 1])))
    with pytest.raises(DataError, match="--allow-geometry-mismatch"):
        on_grid(other, grid)
    placed = on_grid(other, grid, allow_mismatch=True)
    np.testing.assert_array_equal(placed.data, grid.data)
    np.testing.assert_array_equal(placed.affine, grid.affine)
    assert placed.source == other.source
    (sentence,) = placed.allowed
    assert sentence.startswith(f"{other.source}: ")


def test_axes_of_other_lengths_are_no_mismatch_to_allow(tmp_path):
    grid = read_volume(write_nifti(tmp_path / "a.nii.gz"))
    other = read_volume(write_nifti(tmp_path / "b.nii.gz", ramp((4, 6, 5)), PERMUTED))
    with pytest.raises(DataError, match=re.escape("(4, 6, 5) stored voxels; expected (6, 5, 4), as in")):
        on_grid(other, grid, allow_mismatch=True)


@pytest.mark.parametrize(("code", "unit", "factor"), [(1, "metre", 1e3), (2, "mm", 1), (3, "micron", 1e-3)])
def test_units_of_the_header_become_millimetres(tmp_path, code, unit, factor):
    grid = read_grid(write_nifti(tmp_path / "a.nii.gz", edit={"xyzt_units": code + 8}))
    assert grid.unit == unit
    np.testing.assert_allclose(grid.spacing, np.array([1.5, 1.25, 3]) * factor)
    np.testing.assert_allclose(grid.affine[1, 3], -20 * factor)


@pytest.mark.parametrize("code", [0, 7])
def test_a_unit_that_is_not_told_is_unknown_and_taken_for_millimetres(tmp_path, code):
    grid = read_grid(write_nifti(tmp_path / "a.nii.gz", edit={"xyzt_units": code}))
    assert (grid.unit, grid.spacing) == ("unknown", (1.5, 1.25, 3.0))


def doubts_of(path):
    return [doubt.found for doubt in read_grid(path).doubts]


def test_sform_and_qform_that_disagree_are_a_doubt(tmp_path):
    image = nib.Nifti1Image(ramp(), AFFINE)
    moved = AFFINE.copy()
    moved[1, 3] += 2.5
    image.set_sform(AFFINE, code=1)
    image.set_qform(AFFINE, code=1)
    nib.save(image, tmp_path / "agree.nii.gz")
    image.set_qform(moved, code=1)
    nib.save(image, tmp_path / "apart.nii.gz")
    image.set_qform(moved, code=0)
    nib.save(image, tmp_path / "unused.nii.gz")
    assert doubts_of(tmp_path / "agree.nii.gz") == doubts_of(tmp_path / "unused.nii.gz") == []
    assert doubts_of(tmp_path / "apart.nii.gz") == ["sform and qform place the volume up to 2.5 mm apart"]


def test_a_qform_that_is_no_rotation_is_a_doubt_where_the_sform_counts(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", edit={"qform_code": 1, "quatern_b": 2})
    assert doubts_of(path) == ["sform and qform place the volume up to inf mm apart"]


def test_axes_that_are_not_at_right_angles_are_a_doubt(tmp_path):
    sheared = np.diag([1.0, 1.0, 2.0, 1.0])
    sheared[0, 1] = 1
    (found,) = doubts_of(write_nifti(tmp_path / "a.nii.gz", affine=sheared))
    assert found.startswith("axes 45.0 degrees off a right angle")
