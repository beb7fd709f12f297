import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.data.slices import (
    SliceGeometry,
    common_axis,
    first_grids,
    largest_size,
    other_spacing,
    picture,
    slicing_axis,
    typical_spacing,
)
from tests.segmentation.images import ramp, write_case, write_nifti

LENGTHS = st.integers(1, 12)


@given(shape=st.tuples(LENGTHS, LENGTHS, LENGTHS), size=st.tuples(LENGTHS, LENGTHS), axis=st.integers(0, 2))
def test_paste_inverts_crop_wherever_nothing_was_cut_off(shape, size, axis):
    geometry = SliceGeometry(axis, shape, size)
    volume = ramp(shape, np.int64) + 1
    slices = geometry.crop(volume)
    assert slices.shape == (shape[axis], *size)
    back = geometry.paste(slices)
    assert back.shape == shape
    kept = back != 0
    np.testing.assert_array_equal(back[kept], volume[kept])
    assert kept.sum() == np.count_nonzero(slices)
    assert kept.sum() == shape[axis] * np.prod(np.minimum(geometry.in_plane, size))
    np.testing.assert_array_equal(geometry.crop(back), slices)


@pytest.mark.parametrize(("n", "size", "first"), [(8, 4, 2), (9, 4, 2), (4, 8, -2), (4, 9, -2), (5, 5, 0)])
def test_window_lies_about_the_centre(n, size, first):
    assert SliceGeometry(2, (n, n, 1), (size, size)).origin == (first, first)


def test_slices_run_over_the_two_other_axes_in_their_order():
    volume = ramp()
    for axis in range(3):
        geometry = SliceGeometry(axis, volume.shape, tuple(np.delete(volume.shape, axis)))
        np.testing.assert_array_equal(geometry.crop(volume)[1], np.take(volume, 1, axis))


def test_wrong_shapes_are_refused():
    geometry = SliceGeometry(2, (6, 5, 4), (8, 8))
    with pytest.raises(ValueError, match=r"array has shape \(5, 6, 4\); expected \(6, 5, 4\)"):
        geometry.crop(np.zeros((5, 6, 4)))
    with pytest.raises(ValueError, match=r"slices has shape \(6, 5, 4\); expected \(4, 8, 8\)"):
        geometry.paste(np.zeros((6, 5, 4)))


@pytest.mark.parametrize(
    ("spacing", "axis"), [((1, 1, 3), 2), ((3, 1, 1), 0), ((1, 1, 1), 2), ((1.0, 3.0, 2.999), 2), ((1, 3, 2), 1)]
)
def test_slicing_axis_is_that_of_the_largest_spacing(spacing, axis):
    assert slicing_axis(spacing) == axis


def test_picture_shows_front_up_and_right_on_the_left():
    volume = np.zeros((6, 5))
    volume[5, 4] = 1  # right, front
    assert picture(volume)[0, 0] == 1
    assert picture(np.zeros((4, 2, 6, 5))).shape == (4, 2, 5, 6)


def test_largest_size_is_a_multiple_of_sixteen_over_all_cases(tmp_path):
    write_case(tmp_path / "a", shape=(20, 5, 4))
    write_case(tmp_path / "b", shape=(6, 33, 4))
    grids = first_grids(find_cases(tmp_path).cases, "FLAIR")
    assert largest_size(grids, 2) == (32, 48)
    assert largest_size(grids, 0, multiple=1) == (33, 4)


def grids_of(folder, **spacings):
    for name, spacing in spacings.items():
        write_nifti(folder / name / "T1.nii.gz", ramp(), np.diag([*spacing, 1]))
    return first_grids(find_cases(folder).cases, "T1")


def test_the_axis_of_a_data_set_is_the_one_that_all_its_cases_have(tmp_path):
    assert common_axis(grids_of(tmp_path, a=(1, 1, 3), b=(1, 1, 1)), tmp_path) == 2


def test_cases_across_different_axes_are_refused_with_the_cases_and_the_way_out(tmp_path):
    grids = grids_of(tmp_path, a=(1, 1, 1), b=(1.2, 1, 1), c=(1, 1, 1))
    with pytest.raises(DataError, match=r"axis 0 in 1, such as b of 1\.2x1x1 mm; axis 2 in 2, such as a .*--axis"):
        common_axis(grids, tmp_path)


def test_pixels_of_another_size_are_told_from_a_quarter_on(tmp_path):
    grids = grids_of(tmp_path, a=(1, 1, 3), b=(1, 1.24, 9), c=(1, 1, 1), d=(1, 0.79, 3))
    spacing = typical_spacing(grids, 2)
    assert spacing == (1, 1)
    assert [other_spacing(grids[name], 2, spacing) for name in "abc"] == [None, None, None]
    assert other_spacing(grids["d"], 2, spacing).startswith("pixels of 1x0.79 mm, where others have 1x1 mm")


def test_the_typical_spacing_is_one_that_a_case_has(tmp_path):
    grids = grids_of(tmp_path, a=(7, 2, 9), b=(2, 2, 9))
    assert typical_spacing(grids, 2) == (2, 2)
