import pickle

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.base.faults import Fault, data_error, fault_of


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
