import nibabel as nib
import nrrd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.data.grids import check_same_grid
from nerd_fast.segmentation.data.volumes import read_grid, read_label, read_volume, write_mask
from tests.segmentation.images import AFFINE, fails, ramp, write_nifti


def test_volume_is_turned_to_canonical_orientation(tmp_path):
    stored = ramp()
    volume = read_volume(write_nifti(tmp_path / "a.nii.gz", stored))
    np.testing.assert_array_equal(volume.data, stored[::-1])
    assert volume.data.dtype == np.float32
    assert volume.data.flags.c_contiguous
    assert volume.spacing == (1.5, 1.25, 3.0)
    first_stored = AFFINE @ [0, 0, 0, 1]
    np.testing.assert_allclose(volume.affine @ [5, 0, 0, 1], first_stored)


@given(axes=st.permutations(range(3)), signs=st.tuples(*[st.sampled_from([-1, 1])] * 3))
@settings(max_examples=25)
def test_every_orientation_agrees_with_nibabel_and_comes_back(tmp_path_factory, axes, signs):
    affine = np.eye(4)
    affine[:3, :3] = (np.diag(signs) @ np.diag([1.0, 2.0, 3.0]))[:, axes]
    path = write_nifti(tmp_path_factory.mktemp("turned") / "a.nii", ramp(), affine)
    volume, reference = read_volume(path), nib.as_closest_canonical(nib.load(path))
    np.testing.assert_array_equal(volume.data, reference.get_fdata())
    np.testing.assert_array_equal(volume.affine, reference.affine)
    np.testing.assert_array_equal(volume.to_stored(volume.data), ramp())
    assert read_grid(path).shape == volume.data.shape


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64])
def test_every_real_number_type_is_read(tmp_path, kind, dtype):
    image = kind(ramp(dtype=dtype), AFFINE, dtype=dtype)
    image.to_filename(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").data, ramp()[::-1])


def test_big_endian_is_read_in_native_order(tmp_path):
    image = nib.Nifti1Image(ramp(), AFFINE, nib.Nifti1Header(endianness=">"))
    image.to_filename(tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.data, ramp()[::-1])
    assert volume.data.dtype.isnative


def test_slope_and_intercept_are_applied(tmp_path):
    path = write_nifti(tmp_path / "a.nii", edit={"scl_slope": 0.5, "scl_inter": -3})
    np.testing.assert_allclose(read_volume(path).data, ramp()[::-1] * 0.5 - 3)


@pytest.mark.parametrize("slope", [0, np.nan, np.inf])
def test_slope_of_zero_or_not_finite_means_unscaled(tmp_path, slope):
    path = write_nifti(tmp_path / "a.nii", edit={"scl_slope": slope, "scl_inter": 7})
    np.testing.assert_array_equal(read_volume(path).data, ramp()[::-1])


def test_single_trailing_dimension_is_dropped_and_restored(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", ramp((6, 5, 4, 1)))
    volume = read_volume(path)
    assert volume.data.shape == (6, 5, 4)
    write_mask(tmp_path / "mask.nii.gz", volume.data > 3, volume)
    assert nib.load(tmp_path / "mask.nii.gz").shape == (6, 5, 4, 1)


def test_axes_of_length_one_beyond_the_fourth_are_dropped_and_restored(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", ramp((6, 5, 4, 1, 1, 1)))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, ramp()[::-1])
    write_mask(tmp_path / "mask.nii.gz", volume.data > 3, volume)
    assert nib.load(tmp_path / "mask.nii.gz").shape == (6, 5, 4, 1, 1, 1)
    images = write_nifti(tmp_path / "b.nii.gz", ramp((6, 5, 4, 3, 1)))
    np.testing.assert_array_equal(read_volume(images, component=1).data, ramp((6, 5, 4, 3))[::-1, ..., 1])


def test_component_of_a_four_dimensional_file(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", ramp((6, 5, 4, 3)))
    np.testing.assert_array_equal(read_volume(path, component=2).data, ramp((6, 5, 4, 3))[::-1, ..., 2])
    with pytest.raises(DataError, match="3 images in the file, and number 3 asked for; expected 0 to 2"):
        read_volume(path, component=3)


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_nrrd_in_lps_space(tmp_path, encoding):
    fields = {
        "space": "left-posterior-superior",
        "space directions": np.diag([0.6, 0.7, 2.0]),
        "space origin": np.array([1.0, 2.0, 3.0]),
        "encoding": encoding,
    }
    nrrd.write(str(tmp_path / "a.nrrd"), ramp(), fields)
    volume = read_volume(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(volume.data, ramp()[::-1, ::-1])
    np.testing.assert_allclose(volume.spacing, (0.6, 0.7, 2.0))
    np.testing.assert_allclose(volume.affine @ [5, 4, 0, 1], [-1, -2, 3, 1])
    write_mask(tmp_path / "mask.nii.gz", volume.data > 60, volume)
    again = read_label(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(again.data, volume.data > 60)
    check_same_grid(volume, again)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nonfinite_intensities_are_refused_kept_or_zeroed(tmp_path, bad):
    data = ramp(dtype=np.float32)
    data[1, 2, 3] = bad
    path = write_nifti(tmp_path / "a.nii.gz", data)
    assert "1 of 120 voxels NaN or infinite, in the file the first at (1, 2, 3)" in fails(path)
    assert not np.isfinite(read_volume(path, nonfinite="keep").data[4, 2, 3])
    assert read_volume(path, nonfinite="zero").data[4, 2, 3] == 0


def test_double_precision_beyond_single_precision_is_refused(tmp_path):
    data = ramp(dtype=np.float64)
    data[0, 0, 0] = 1e300
    fails(write_nifti(tmp_path / "a.nii.gz", data), "infinite")


def test_label_that_scaling_moved_off_whole_numbers_is_rounded(tmp_path):
    truth = np.zeros((6, 5, 4))
    truth[1], truth[2] = 1, 2
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    nib.Nifti1Image(truth, AFFINE, header).to_filename(tmp_path / "a.nii.gz")
    assert 0.99 < np.unique(nib.load(tmp_path / "a.nii.gz").get_fdata())[1] < 1  # the rot is there
    label = read_label(tmp_path / "a.nii.gz", (0, 1, 2))
    assert label.data.dtype == np.uint8
    np.testing.assert_array_equal(label.data, truth[::-1])
    assert label.allowed == (f"{tmp_path / 'a.nii.gz'}: 20 label voxels up to 0.0039 off a whole number are rounded",)
    assert read_label(write_nifti(tmp_path / "b.nii.gz", truth.astype(np.float32)), (0, 1, 2)).allowed == ()


def test_label_between_whole_numbers_is_refused(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", ramp(dtype=np.float32) / 119)
    fails(path, "108 label voxels between whole numbers", "nearest neighbour", read=read_label)


@pytest.mark.parametrize("value", [2, 255, 256, -1])
def test_undeclared_label_value_is_refused(tmp_path, value):
    data = np.zeros((6, 5, 4), dtype=np.int16)
    data[0] = value
    fails(write_nifti(tmp_path / "a.nii.gz", data), f"the label values {value} in 20 voxels", "(0, 1)", read=read_label)


def test_declared_label_values_are_kept(tmp_path):
    data = np.zeros((6, 5, 4), dtype=np.int16)
    data[0] = 255
    label = read_label(write_nifti(tmp_path / "a.nii.gz", data), (0, 255))
    np.testing.assert_array_equal(label.data, data[::-1])


def test_real_scans_agree_with_nibabel(real_data):
    for path in (real_data / "ms/case01/T1.nii.gz", real_data / "la/case01/image.nii.gz"):
        volume, reference = read_volume(path), nib.as_closest_canonical(nib.load(path))
        np.testing.assert_array_equal(volume.data, reference.get_fdata(dtype=np.float32))
        np.testing.assert_allclose(volume.affine, reference.affine)
