"""What is wrong with a header is said by us, once, and by nothing else."""

import pytest

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.data.volumes import read_volume
from tests.segmentation.images import write_nifti


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"vox_offset": 100}, "vox_offset 100, so that voxels would begin within the header; expected 352 or more"),
        ({"datatype": 9999}, "data code 9999 not recognized"),
    ],
)
def test_a_header_that_cannot_be_read_is_refused_in_one_message(tmp_path, capfd, edit, says):
    with pytest.raises(DataError, match=says):
        read_volume(write_nifti(tmp_path / "a.nii.gz", edit=edit))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"qform_code": 77}, "qform_code 77 not valid; setting to 0"),
        ({"vox_offset": 360}, "vox offset (=360) not divisible by 16, not SPM compatible; leaving at current value"),
    ],
)
def test_what_is_set_right_in_a_header_is_a_doubt_about_it(tmp_path, capfd, edit, says):
    shift = b"\0" * (edit.get("vox_offset", 352) - 352)
    path = write_nifti(tmp_path / "a.nii", edit=edit)
    content = path.read_bytes()
    path.write_bytes(content[:352] + shift + content[352:])
    assert [doubt.found for doubt in read_volume(path).doubts] == [says]
    assert capfd.readouterr() == ("", "")
