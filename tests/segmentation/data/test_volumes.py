import gzip
import os
import resource
import subprocess
import sys

import nibabel as nib
import nrrd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerd_fast.segmentation.base.errors import DataError, UsageError
from nerd_fast.segmentation.data.grids import check_same_grid
from nerd_fast.segmentation.data.volumes import read_grid, read_label, read_volume, write_mask
from tests.segmentation.images import AFFINE, ramp, write_nifti

OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.3, -0.2, 0.5) @ np.diag([1.0, 1.2, 3.0]), np.array([-80.0, 30.0, 12.5])
)


def fails(path, *words, read=read_volume):
    """The message of the data error of reading `path`, which names the file and holds every word."""
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert caught.value.args == (message,)
    for word in (str(path), "expected", *words):
        assert word in message
    return message


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


def test_broken_nrrd_is_refused(tmp_path):
    path = tmp_path / "a.nrrd"
    nrrd.write(str(path), ramp(), {"encoding": "gzip"})
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    fails(path)
    path.write_bytes(whole.replace(b"sizes: 6 5 4", b"sizes: 6 5 9"))
    fails(path, "240 bytes of voxels", "540")
    path.write_bytes(whole.replace(b"gzip", b"bz2"))
    fails(path, "bz2")
    path.write_text("no nrrd")
    fails(path)


@pytest.mark.parametrize("keep", [0, 10, 100, 0.5, 0.99, -8, -1])
def test_truncated_gzip_is_refused(tmp_path, keep):
    path = write_nifti(tmp_path / "a.nii.gz", ramp((20, 20, 10)))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    fails(path)


def test_flipped_bits_never_change_a_voxel(tmp_path):
    rng = np.random.default_rng(0)
    path = write_nifti(tmp_path / "a.nii.gz", rng.integers(0, 900, (8, 8, 6)).astype(np.int16))
    content, truth = path.read_bytes(), read_volume(path)
    refused = 0
    for bit in rng.choice(len(content) * 8, 300, replace=False):
        broken = bytearray(content)
        broken[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(broken)
        try:
            volume = read_volume(path)
        except DataError:
            refused += 1
            continue
        np.testing.assert_array_equal(volume.data, truth.data)
        np.testing.assert_array_equal(volume.affine, truth.affine)
    assert refused > 290  # what passes is the gzip header: time, flags, operating system


def test_flipped_bits_of_an_open_header_never_crash(tmp_path):
    path = write_nifti(tmp_path / "a.nii")
    content = path.read_bytes()
    outcomes = set()
    for bit in np.random.default_rng(1).choice(352 * 8, 300, replace=False):
        broken = bytearray(content)
        broken[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(broken)
        try:
            outcomes.add(read_volume(path).data.size)
        except DataError:
            outcomes.add("refused")
    assert outcomes == {120, "refused"}


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, ["32767"]),
        ({"dim": [3, 2000, 2000, 2000, 1, 1, 1, 1]}, ["8000000000 voxels"]),
        ({"dim": [3, 600, 600, 600, 1, 1, 1, 1]}, ["432000000 bytes"]),
        ({"dim": [3, 6, 5, 0, 1, 1, 1, 1]}, ["(6, 5, 0)"]),
        ({"dim": [3, -6, 5, 4, 1, 1, 1, 1]}, ["(-6, 5, 4)"]),
        ({"dim": [0, 6, 5, 4, 1, 1, 1, 1]}, ["0-D"]),
        ({"dim": [2, 6, 5, 1, 1, 1, 1, 1]}, ["2-D"]),
        ({"dim": [9, 6, 5, 4, 1, 1, 1, 1]}, []),
        ({"datatype": 9999}, []),
        ({"datatype": 64, "bitpix": 64}, ["960 bytes"]),
        ({"vox_offset": np.nan}, []),
        ({"vox_offset": 1e9}, ["from byte 1000000000 on"]),
        ({"vox_offset": -400}, []),
        ({"vox_offset": 0}, ["vox_offset 0", "352 or more"]),
        ({"vox_offset": 351}, ["351"]),
        ({"sizeof_hdr": 999}, ["not NIfTI", "348"]),
        ({"magic": b"ni1"}, ["single file"]),
        ({"magic": b"xyz"}, ["magic"]),
        ({"scl_slope": 1, "scl_inter": np.nan}, ["intercept nan"]),
        ({"srow_x": [np.nan, 0, 0, 0]}, ["affine", "nan"]),
        ({"srow_x": [0, 0, 0, 0]}, ["affine", "not invertible"]),
        ({"srow_x": [0, 1, 0, 0], "srow_y": [0, 2, 0, 0]}, ["affine", "not invertible"]),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 2}, []),
    ],
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_lying_header_is_refused(tmp_path, name, edit, words):
    path = write_nifti(tmp_path / name, edit=edit)
    if edit.get("datatype") == 64 and name.endswith(".gz"):
        words = ["240 bytes"]  # within what deflate could hold, so that the end of the stream tells
    if words == ["432000000 bytes"]:
        assert path.stat().st_size * 1032 < 432000000
    fails(path, *words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((6, 5), dtype=np.int16), ["2-D"]),
        (np.zeros((6, 5, 4, 2), dtype=np.int16), ["4-D", "split the file"]),
        (np.zeros((6, 5, 4, 1, 3), dtype=np.int16), ["5-D"]),
        (np.zeros((6, 5, 4), dtype=np.complex64), ["complex64"]),
        (np.zeros((6, 5, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), ["'R'"]),
    ],
)
def test_what_is_no_volume_of_real_numbers_is_refused(tmp_path, data, words):
    fails(write_nifti(tmp_path / "a.nii.gz", data), *words)


def test_voxels_beyond_the_cap_are_refused(tmp_path):
    with pytest.raises(DataError, match="expected at most 100 voxels"):
        read_volume(write_nifti(tmp_path / "a.nii"), max_voxels=100)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_voxels_that_the_header_leaves_out_are_refused(tmp_path, name):
    fails(write_nifti(tmp_path / name, tail=bytes(5000)), "more than")
    assert read_volume(write_nifti(tmp_path / name, tail=bytes(512))).data.shape == (6, 5, 4)


def test_bombs_and_claims_do_not_allocate(tmp_path):
    """In 64 MiB of address space beyond what the imports take: 536 MB claimed, and 160 MiB behind a small volume."""
    claim = write_nifti(tmp_path / "claim.nii.gz", edit={"dim": [3, 645, 645, 645, 1, 1, 1, 1]})
    bomb = tmp_path / "bomb.nii.gz"
    with gzip.open(bomb, "wb", compresslevel=9) as file:
        file.write(gzip.decompress(write_nifti(tmp_path / "small.nii.gz").read_bytes()))
        for _ in range(10):
            file.write(bytes(2**24))
    script = (
        "import resource, sys\n"
        "from nerd_fast.segmentation.data.volumes import read_volume\n"
        "from nerd_fast.segmentation.base.errors import DataError\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        read_volume(path)\n"
        "    except DataError as error:\n"
        "        print('refused', error)\n"
    )
    if not hasattr(resource, "RLIMIT_AS") or not sys.platform.startswith("linux"):
        pytest.skip("address space can be limited on Linux alone")
    done = subprocess.run(
        [sys.executable, "-c", script, claim, bomb], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    refusals = done.stdout.splitlines()
    assert [line.startswith("refused") for line in refusals] == [True, True]
    assert all("MemoryError" not in line for line in refusals)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd"])
def test_files_that_are_no_images_are_refused(tmp_path, name):
    path = tmp_path / name
    fails(path, "no such file")
    for content in (b"", b"hello", b"hello" * 200, gzip.compress(b"hello" * 200)):
        path.write_bytes(content)
        fails(path)
    path.unlink()
    path.mkdir()
    fails(path)


def test_name_without_image_suffix_is_refused(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(b"x")
    fails(path, ".nii.gz, .nii, .nrrd")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused_and_a_pipe_not_waited_for(tmp_path, make):
    make(tmp_path / "a.nii.gz")
    fails(tmp_path / "a.nii.gz", "a.nii.gz: no regular file; expected an image")


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


@pytest.mark.parametrize("affine", [AFFINE, OBLIQUE, np.diag([2.0, 2.0, -4.0, 1.0])[:, [1, 2, 0, 3]]])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (2, 0), (0, 1), (4, 2)])
def test_mask_keeps_geometry_and_header_codes(tmp_path, affine, kind, sform, qform):
    image = kind(ramp(), affine)
    image.set_sform(affine, code=sform)
    image.set_qform(affine, code=qform)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"a scan"
    image.header["cal_max"] = 900
    image.to_filename(tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    write_mask(tmp_path / "mask.nii.gz", volume.data > 60, volume)
    source, mask = nib.load(tmp_path / "a.nii.gz"), nib.load(tmp_path / "mask.nii.gz")
    assert mask.get_data_dtype() == np.uint8
    assert (mask.dataobj.slope, mask.dataobj.inter) == (1, 0)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), ramp() > 60)
    np.testing.assert_array_equal(mask.affine, source.affine)
    for field in set(source.header.keys()) - {"datatype", "bitpix", "cal_max"}:
        np.testing.assert_array_equal(mask.header[field], source.header[field], err_msg=field)


def test_mask_of_a_big_endian_scan(tmp_path):
    nib.Nifti1Image(ramp(), AFFINE, nib.Nifti1Header(endianness=">")).to_filename(tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    write_mask(tmp_path / "mask.nii", volume.data > 60, volume)
    np.testing.assert_array_equal(nib.load(tmp_path / "mask.nii").get_fdata(), ramp() > 60)


def test_mask_of_a_scaled_scan_is_not_scaled(tmp_path):
    volume = read_volume(write_nifti(tmp_path / "a.nii.gz", edit={"scl_slope": 0.5, "scl_inter": -3}))
    write_mask(tmp_path / "mask.nii", volume.data > 20, volume)
    mask = nib.load(tmp_path / "mask.nii")
    assert (mask.dataobj.slope, mask.dataobj.inter) == (1, 0)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), ramp() * 0.5 - 3 > 20)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((5, 6, 4)), r"mask has shape \(5, 6, 4\); expected \(6, 5, 4\)"),
        (np.full((6, 5, 4), 0.5), "not whole numbers"),
        (np.full((6, 5, 4), 300), "not whole numbers"),
        (np.full((6, 5, 4), -1), "not whole numbers"),
    ],
)
def test_mask_that_cannot_be_written_as_it_is_raises(tmp_path, mask, message):
    grid = read_grid(write_nifti(tmp_path / "a.nii.gz"))
    with pytest.raises(ValueError, match=message):
        write_mask(tmp_path / "mask.nii.gz", mask, grid)
    assert not (tmp_path / "mask.nii.gz").exists()


def test_mask_of_nan_raises(tmp_path):
    grid = read_grid(write_nifti(tmp_path / "a.nii.gz"))
    with pytest.raises(ValueError, match="not whole numbers"):
        write_mask(tmp_path / "mask.nii.gz", np.full((6, 5, 4), np.nan), grid)


def test_mask_needs_the_name_of_a_nifti_file(tmp_path):
    grid = read_grid(write_nifti(tmp_path / "a.nii.gz"))
    with pytest.raises(ValueError, match=r"ending in .nii.gz or .nii"):
        write_mask(tmp_path / "mask.nrrd", np.zeros((6, 5, 4)), grid)


def test_full_disk_leaves_the_old_mask_and_nothing_else(tmp_path):
    grid = read_grid(write_nifti(tmp_path / "a.nii.gz", ramp((60, 50, 40))))
    folder = tmp_path / "out"
    write_mask(folder / "mask.nii", np.zeros(grid.shape), grid)
    before = (folder / "mask.nii").read_bytes()
    script = (
        "import resource, signal, sys\n"
        "import numpy as np\n"
        "from nerd_fast.segmentation.base.errors import UsageError\n"
        "from nerd_fast.segmentation.data.volumes import read_grid, write_mask\n"
        "grid = read_grid(sys.argv[1])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    write_mask(sys.argv[2], np.ones(grid.shape), grid)\n"
        "except UsageError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", script, grid.source, folder / "mask.nii"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert f"{folder / 'mask.nii'}: cannot be written" in done.stdout, done.stderr
    assert (folder / "mask.nii").read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["mask.nii"]


def test_folder_that_is_a_file_is_refused(tmp_path):
    grid = read_grid(write_nifti(tmp_path / "a.nii.gz"))
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_mask(tmp_path / "out" / "mask.nii.gz", np.zeros((6, 5, 4)), grid)


def test_real_scans_agree_with_nibabel(real_data):
    for path in (real_data / "ms/case01/T1.nii.gz", real_data / "la/case01/image.nii.gz"):
        volume, reference = read_volume(path), nib.as_closest_canonical(nib.load(path))
        np.testing.assert_array_equal(volume.data, reference.get_fdata(dtype=np.float32))
        np.testing.assert_allclose(volume.affine, reference.affine)


def test_mask_written_like_a_real_scan_is_its_label_again(real_data, tmp_path):
    case = real_data / "la/case04"
    label = read_label(case / "label.nii.gz")
    write_mask(tmp_path / "mask.nii.gz", label.data, read_grid(case / "image.nii.gz"))
    written, source = nib.load(tmp_path / "mask.nii.gz"), nib.load(case / "label.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(source.dataobj))
    np.testing.assert_array_equal(written.affine, source.affine)
