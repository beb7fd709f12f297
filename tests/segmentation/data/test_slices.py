import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.data.slices import (
    SliceGeometry,
    largest_size,
    picture,
    prepare_case,
    scale_to_unit,
    slicing_axis,
)
from nerd_fast.segmentation.data.volumes import read_grid, write_mask
from tests.segmentation.images import AFFINE, ramp, write_case, write_nifti

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


def test_scaling_is_to_the_range_of_the_whole_volume():
    np.testing.assert_array_equal(scale_to_unit(np.float32([-2, 0, 2]), "x"), np.float32([0, 0.5, 1]))
    robust = scale_to_unit(np.arange(101, dtype=np.float32), "x", (10, 90))
    assert (robust[:11] == 0).all()
    assert (robust[90:] == 1).all()
    assert robust[50] == 0.5


@given(st.lists(st.floats(-(2.0**127), 2.0**127, width=32), min_size=2, max_size=20).filter(lambda v: len(set(v)) > 1))
def test_scaled_intensities_stay_in_the_unit_interval(values):
    scaled = scale_to_unit(np.array(values, dtype=np.float32), "x")
    assert scaled.dtype == np.float32
    assert np.isfinite(scaled).all()
    assert (scaled.min(), scaled.max()) == (0, 1)


def test_constant_channel_is_refused():
    with pytest.raises(DataError, match="x: the same intensity 7 in every voxel; expected an image with contrast"):
        scale_to_unit(np.full(3, 7, dtype=np.float32), "x")
    with pytest.raises(DataError, match=r"the same intensity 0 at \(1, 99\) %"):
        scale_to_unit(np.float32([0] * 1000 + [1]), "x", (1, 99))


def prepared(folder, **options):
    dataset = find_cases(folder)
    options = {"channels": dataset.channels, "label": dataset.label, "size": (8, 4), **options}
    return prepare_case(dataset.cases[0], **options)


def test_prepared_case_has_scaled_slices_and_the_truth_of_the_whole_volume(tmp_path):
    case = prepared(write_case(tmp_path / "a"))
    assert case.images.shape == (4, 2, 8, 4)
    assert (case.images.dtype, case.label.dtype, case.truth.dtype) == (np.float32, np.uint8, np.uint8)
    assert (case.label.shape, case.truth.shape, case.volume.shape) == ((4, 8, 4), (6, 5, 4), (6, 5, 4))
    assert (case.images.min(), case.images.max() <= 1) == (0, True)
    assert case.geometry.axis == 2
    assert (case.truth.sum(), case.label_voxels_lost, case.ignore) == (8, 0, None)
    np.testing.assert_array_equal(case.geometry.paste(case.label), case.truth)


def test_images_and_label_stay_on_one_another(tmp_path):
    data = ramp(dtype=np.float32)
    write_nifti(tmp_path / "a" / "T1.nii.gz", data)
    write_nifti(tmp_path / "a" / "label.nii.gz", (data > 90).astype(np.uint8))
    case = prepared(tmp_path / "a", size=(16, 16))
    np.testing.assert_array_equal(case.images[:, 0] > 90 / 119, case.label)


def test_pasted_prediction_is_written_onto_the_stored_voxels(tmp_path):
    write_case(tmp_path / "a")
    case = prepared(tmp_path / "a", size=(16, 16))
    write_mask(tmp_path / "mask.nii.gz", case.geometry.paste(case.label), case.volume)
    write_mask(tmp_path / "truth.nii.gz", case.truth, read_grid(tmp_path / "a" / "lesion.nii.gz"))
    assert (tmp_path / "mask.nii.gz").read_bytes() == (tmp_path / "truth.nii.gz").read_bytes()


def test_label_voxels_lost_by_the_crop_are_counted(tmp_path):
    case = prepared(write_case(tmp_path / "a"), size=(2, 2))
    assert case.truth.sum() - case.label.sum() == case.label_voxels_lost == 4


def test_label_values_become_class_numbers(tmp_path):
    write_case(tmp_path / "a")
    values = np.zeros((6, 5, 4), dtype=np.uint8)
    values[0], values[1], values[2] = 10, 200, 3
    write_nifti(tmp_path / "a" / "lesion.nii.gz", values)
    case = prepared(tmp_path / "a", label_values=(0, 10, 200), ignore_values=(3,))
    np.testing.assert_array_equal(np.unique(case.truth[5]), [1])
    np.testing.assert_array_equal(np.unique(case.truth[4]), [2])
    assert not case.truth[:4].any()
    assert case.ignore[3].all()
    assert case.ignore.sum() == 20


def test_case_without_its_label_can_be_predicted_but_not_trained_on(tmp_path):
    write_case(tmp_path / "a", label=None)
    case = prepared(tmp_path / "a")
    assert (case.label, case.truth) == (None, None)
    with pytest.raises(DataError, match="case a: no label lesion beside FLAIR, T1"):
        prepared(tmp_path / "a", label="lesion")
    with pytest.raises(DataError, match="case a: no T2 beside FLAIR, T1"):
        prepared(tmp_path / "a", channels=["FLAIR", "T2"])


@pytest.mark.parametrize("name", ["T1", "lesion"])
def test_images_on_different_grids_are_refused(tmp_path, name):
    write_case(tmp_path / "a")
    shifted = AFFINE.copy()
    shifted[2, 3] += 3
    write_nifti(tmp_path / "a" / f"{name}.nii.gz", (ramp() > 60).astype(np.uint8), shifted)
    with pytest.raises(DataError, match=rf"{name}.nii.gz: an affine that places the volume up to 3 mm away from"):
        prepared(tmp_path / "a")


@pytest.mark.parametrize("name", ["T1", "lesion"])
def test_images_placed_apart_are_taken_for_one_grid_when_told_to(tmp_path, name):
    write_case(tmp_path / "a")
    whole = prepared(tmp_path / "a")
    image = nib.load(tmp_path / "a" / f"{name}.nii.gz")
    shifted = AFFINE.copy()
    shifted[2, 3] += 3
    write_nifti(tmp_path / "a" / f"{name}.nii.gz", np.asanyarray(image.dataobj), shifted)
    case = prepared(tmp_path / "a", allow_geometry_mismatch=True)
    np.testing.assert_array_equal(case.images, whole.images)
    np.testing.assert_array_equal(case.truth, whole.truth)
    (sentence,) = case.allowed
    assert f"{name}.nii.gz: an affine that places the volume up to 3 mm away" in sentence


def test_images_of_different_shapes_are_refused_whatever_is_allowed(tmp_path):
    write_case(tmp_path / "a")
    write_nifti(tmp_path / "a" / "T1.nii.gz", ramp((6, 5, 3)))
    with pytest.raises(DataError, match="shape"):
        prepared(tmp_path / "a", allow_geometry_mismatch=True)


def test_voxels_that_are_not_finite_are_zero_when_told_to(tmp_path):
    write_case(tmp_path / "a")
    image = ramp(dtype=np.float32) + 1
    image[1, 2, 3], image[0, 0, 0] = np.nan, np.inf
    write_nifti(tmp_path / "a" / "T1.nii.gz", image)
    with pytest.raises(DataError, match=r"2 of 120 voxels NaN or infinite.*--nonfinite zero"):
        prepared(tmp_path / "a")
    case = prepared(tmp_path / "a", nonfinite="zero")
    assert case.images[3, 1, 6 - 1 - 1 + 1, 2] == 0  # X is turned over, and padded by one
    assert np.isfinite(case.images).all()
    assert case.allowed == (f"{tmp_path / 'a' / 'T1.nii.gz'}: 2 voxels NaN or infinite are read as 0",)


def test_a_label_that_is_not_finite_is_refused_whatever_is_allowed(tmp_path):
    write_case(tmp_path / "a")
    write_nifti(tmp_path / "a" / "lesion.nii.gz", np.full((6, 5, 4), np.nan, dtype=np.float32))
    with pytest.raises(DataError, match=r"lesion\.nii\.gz: 120 of 120 voxels NaN"):
        prepared(tmp_path / "a", nonfinite="zero")


def test_axis_and_percentiles_can_be_chosen(tmp_path):
    case = prepared(write_case(tmp_path / "a"), axis=0, size=(5, 4), percentiles=(20, 80))
    assert case.images.shape == (6, 2, 5, 4)
    assert (case.images == 1).mean() > 0.15


def test_largest_size_is_a_multiple_of_sixteen_over_all_cases(tmp_path):
    write_case(tmp_path / "a", shape=(20, 5, 4))
    write_case(tmp_path / "b", shape=(6, 33, 4))
    assert largest_size(find_cases(tmp_path)) == (32, 48)
    assert largest_size(find_cases(tmp_path), axis=0, multiple=1) == (33, 4)


@pytest.mark.parametrize(("name", "size", "largest"), [("la", (240, 160), (240, 160)), ("ms", (160, 224), (192, 224))])
def test_paper_sizes_lose_no_voxel_of_the_real_labels(real_data, name, size, largest):
    dataset = find_cases(real_data / name)
    assert largest_size(dataset) == largest
    for case in dataset.cases[:4]:
        found = prepare_case(case, channels=dataset.channels[:1], label=dataset.label, size=size)
        assert found.geometry.axis == 2
        assert found.truth.any()
        assert found.label_voxels_lost == 0
