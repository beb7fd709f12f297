import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.data.prepared import background_of, prepare_case, scale_to_unit
from nerd_fast.segmentation.data.slices import first_grids, largest_size
from nerd_fast.segmentation.data.volumes import read_grid, write_mask
from tests.segmentation.images import AFFINE, ramp, write_case, write_nifti


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
    with pytest.raises(DataError, match="the same intensity 0 at the percentiles 1 and 99"):
        scale_to_unit(np.float32([0] * 1000 + [1]), "x", (1, 99))


def prepared(folder, **options):
    dataset = find_cases(folder)
    options = {"channels": dataset.channels, "label": dataset.label, "size": (8, 4), "axis": 2, **options}
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
    (sentence,) = [sentence for sentence in case.warnings if "crop" not in sentence]
    assert f"{name}.nii.gz: an affine that places the volume up to 3 mm away" in sentence


def test_a_label_of_another_orientation_is_paired_as_it_is_stored(tmp_path):
    image = ramp((5, 5, 5), np.float32)
    write_nifti(tmp_path / "a" / "T1.nii.gz", image, np.diag([-1.0, 1, 1, 1]))
    permuted = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    for affine in (np.eye(4), permuted):
        write_nifti(tmp_path / "a" / "label.nii.gz", (image > 90).astype(np.uint8), affine)
        case = prepared(tmp_path / "a", size=(16, 16), allow_geometry_mismatch=True)
        np.testing.assert_array_equal(case.images[:, 0] > 90 / 124, case.label)


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
    assert case.warnings[0] == f"{tmp_path / 'a' / 'T1.nii.gz'}: 2 voxels NaN or infinite are read as 0"


def test_a_label_that_is_not_finite_is_refused_whatever_is_allowed(tmp_path):
    write_case(tmp_path / "a")
    write_nifti(tmp_path / "a" / "lesion.nii.gz", np.full((6, 5, 4), np.nan, dtype=np.float32))
    with pytest.raises(DataError, match=r"lesion\.nii\.gz: 120 of 120 voxels NaN"):
        prepared(tmp_path / "a", nonfinite="zero")


def test_padding_is_what_the_background_becomes(tmp_path):
    brain = np.zeros((6, 5, 4), dtype=np.float32)
    brain[2:4, 2:4] = 100
    brain[2, 2, 2] = -25  # what filters make of a sharp edge: the background is not the darkest any more
    write_nifti(tmp_path / "a" / "T1.nii.gz", brain)
    case = prepared(tmp_path / "a", label=None, size=(16, 16))
    assert case.padding == case.images[0, 0, 0, 0] == case.images[0, 0, 8, 5] == np.float32(0.2)
    assert (case.images[0, 0] == np.float32(0.2)).sum() == 16 * 16 - 4
    zero = prepared(tmp_path / "a", label=None, size=(16, 16), padding="zero")
    assert (zero.padding, zero.images[0, 0, 0, 0], zero.images[0, 0, 8, 5]) == (0, 0, np.float32(0.2))


def test_background_is_the_median_of_the_border_of_all_slices():
    scan = np.full((6, 5, 4), 0.5, dtype=np.float32)
    scan[1:-1, 1:-1] = 1
    scan[0, 0] = 0.9
    assert background_of(scan, 2) == 0.5


def test_what_the_crop_cuts_off_the_scan_is_said_and_whole_slices_lose_nothing(tmp_path):
    brain = np.zeros((40, 40, 4), dtype=np.int16)
    brain[5:35, 15:25] = 100
    write_nifti(tmp_path / "a" / "T1.nii.gz", brain, np.diag([1.0, 1, 3, 1]))
    case = prepared(tmp_path / "a", label=None, size=(18, 64))
    (sentence,) = case.warnings
    assert "a: 480 of 1200 non-zero voxels (40.0%) lie outside of the crop to 18x64" in sentence
    assert "--window" in sentence
    whole = prepared(tmp_path / "a", label=None, size=(18, 64), whole=True)
    assert (whole.warnings, whole.geometry.size) == ((), (40, 64))


def test_axis_and_percentiles_can_be_chosen(tmp_path):
    case = prepared(write_case(tmp_path / "a"), axis=0, size=(5, 4), percentiles=(20, 80))
    assert case.images.shape == (6, 2, 5, 4)
    assert (case.images == 1).mean() > 0.15


@pytest.mark.parametrize(("name", "size", "largest"), [("la", (240, 160), (240, 160)), ("ms", (160, 224), (192, 224))])
def test_paper_sizes_lose_no_voxel_of_the_real_labels(real_data, name, size, largest):
    dataset = find_cases(real_data / name)
    assert largest_size(first_grids(dataset.cases, dataset.channels[0]), 2) == largest
    for case in dataset.cases[:4]:
        found = prepare_case(case, channels=dataset.channels[:1], label=dataset.label, size=size, axis=2)
        assert found.truth.any()
        assert found.label_voxels_lost == 0
