"""A file that is damaged, lies about itself or is no volume is refused, and no voxel changes in silence."""

import gzip
import os
import resource
import subprocess
import sys

import nrrd
import numpy as np
import pytest

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.data.volumes import read_volume
from tests.segmentation.images import fails, ramp, write_nifti


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
