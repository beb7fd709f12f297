import pickle

import pytest

from nerd_fast.segmentation.base.errors import DataError, UsageError
from nerd_fast.segmentation.base.faults import Fault, absent, data_error, fault_of
from nerd_fast.segmentation.base.files import check_folder
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.data.splits import hash_file
from nerd_fast.segmentation.data.volumes import read_volume


def test_data_error_is_one_line_and_keeps_its_parts():
    error = data_error("a.nii", found="nothing", expected="an image", remedy="add it")
    assert isinstance(error, DataError)
    assert error.args == ("a.nii: nothing; expected an image: add it",)
    assert fault_of(error) == Fault("a.nii", "nothing", "an image", "add it")


def test_data_error_survives_the_trip_between_processes():
    error = pickle.loads(pickle.dumps(data_error("a.nii", found="nothing", expected="an image", remedy="add it")))
    assert str(error) == "a.nii: nothing; expected an image: add it"
    assert fault_of(error).remedy == "add it"


def test_error_without_parts_goes_whole_into_what_was_found():
    assert fault_of(DataError("odd")).found == "odd"


def test_a_link_that_leads_nowhere_is_called_that(tmp_path):
    link = tmp_path / "T1.nii.gz"
    link.symlink_to(tmp_path / "moved.nii.gz")
    assert absent(tmp_path / "T2.nii.gz") == "no such file"
    for refuse in (read_volume, find_cases, hash_file):
        with pytest.raises(DataError, match=r"a link to \S+moved\.nii\.gz, where nothing is"):
            refuse(link)
    with pytest.raises(UsageError, match=r"T1\.nii\.gz is a link to \S+moved\.nii\.gz, where nothing is"):
        check_folder(link / "masks")
