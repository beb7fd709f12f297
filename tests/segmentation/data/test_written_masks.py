"""A mask is written with the geometry of its scan, whole or not at all."""

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.data.volumes import read_grid, read_label, read_volume, write_mask
from tests.segmentation.images import AFFINE, ramp, write_nifti

OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.3, -0.2, 0.5) @ np.diag([1.0, 1.2, 3.0]), np.array([-80.0, 30.0, 12.5])
)


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


def test_mask_written_like_a_real_scan_is_its_label_again(real_data, tmp_path):
    case = real_data / "la/case04"
    label = read_label(case / "label.nii.gz")
    write_mask(tmp_path / "mask.nii.gz", label.data, read_grid(case / "image.nii.gz"))
    written, source = nib.load(tmp_path / "mask.nii.gz"), nib.load(case / "label.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(source.dataobj))
    np.testing.assert_array_equal(written.affine, source.affine)
