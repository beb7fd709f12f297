import nrrd
import numpy as np
import pytest

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.data.prepared import prepare_case
from nerd_fast.segmentation.data.splits import split_of
from tests.segmentation.images import ramp, write_case, write_nifti
from tests.segmentation.layouts_for_tests import bids_fake, prepare_all, wmh_fake


def test_wmh2017_in_all_its_folders(tmp_path):
    dataset = find_cases(wmh_fake(tmp_path))
    assert dataset.layout == "wmh2017"
    assert dataset.channels == ("FLAIR", "T1")
    assert {case.name: (case.site, case.part) for case in dataset.cases} == {
        "Utrecht_0": ("Utrecht", "training"),
        "Utrecht_2": ("Utrecht", "training"),
        "Singapore_50": ("Singapore", "training"),
        "Amsterdam_GE3T_100": ("Amsterdam_GE3T", "training"),
        "test_Amsterdam_Philips_VU_.PETMR_01._155": ("Amsterdam_Philips_VU_.PETMR_01.", "test"),
    }
    assert all(path.parent.name == "pre" for case in dataset.cases for path in case.channels.values())
    prepared = {case.name: case for case in prepare_all(dataset)}
    assert prepared["Utrecht_0"].ignore is None


def test_wmh2017_label_two_is_background_and_ignored(tmp_path):
    dataset = find_cases(wmh_fake(tmp_path))
    assert (dataset.label_values, dataset.ignore_values) == ((0, 1), (2,))
    prepared = {case.name: case for case in prepare_all(dataset)}["Utrecht_2"]
    assert np.argwhere(prepared.truth).tolist() == [[4, 1, 1]]
    assert np.argwhere(prepared.ignore).tolist() == [[3, 2, 2]]
    assert prepared.label.sum() == 1


def test_wmh2017_of_one_old_archive_and_original_images(tmp_path):
    wmh_fake(tmp_path / "all")
    (tmp_path / "all/training/Amsterdam").rename(tmp_path / "old")
    dataset = find_cases(tmp_path / "old", layout="wmh2017-orig", channels=["FLAIR"])
    assert [(case.name, case.site) for case in dataset.cases] == [("GE3T_100", "GE3T")]
    assert dataset.cases[0].channels["FLAIR"] == tmp_path / "old/GE3T/100/orig/FLAIR.nii.gz"


def test_la2018(tmp_path):
    for folder, name in (("Training Set", "ABC"), ("Training Set", "DEF"), ("Testing Set", "XYZ")):
        place = tmp_path / folder / name
        place.mkdir(parents=True)
        nrrd.write(str(place / "lgemri.nrrd"), ramp(dtype=np.uint8))
        if folder == "Training Set":
            nrrd.write(str(place / "laendo.nrrd"), (255 * (ramp() > 100)).astype(np.uint8))
    dataset = find_cases(tmp_path)
    assert dataset.layout == "la2018"
    assert [(case.name, case.part, case.label is None) for case in dataset.cases] == [
        ("XYZ", "test", True),
        ("ABC", "training", False),
        ("DEF", "training", False),
    ]
    assert set(np.unique(prepare_all(dataset)[1].truth)) == {0, 1}


def test_bids_with_sessions_and_derivatives(tmp_path):
    dataset = find_cases(bids_fake(tmp_path), channels=["FLAIR", "T1"])
    assert (dataset.layout, dataset.label) == ("bids", "lesion")
    assert [(case.name, case.patient) for case in dataset.cases] == [
        ("sub-01_ses-1", "sub-01"),
        ("sub-01_ses-2", "sub-01"),
        ("sub-02_ses-1", "sub-02"),
    ]
    assert dataset.cases[0].channels["T1"].name == "sub-01_ses-1_T1w.nii.gz"
    assert len(prepare_all(dataset)) == 3
    assert find_cases(tmp_path).channels == ("FLAIR", "T1w")


def test_bids_with_two_runs_or_two_labels_asks(tmp_path):
    bids_fake(tmp_path)
    rater = tmp_path / "derivatives/raters/sub-01/ses-1/anat"
    write_nifti(rater / "sub-01_ses-1_label-tumour_mask.nii.gz")
    with pytest.raises(DataError, match="labels lesion, tumour; expected the name of one"):
        find_cases(tmp_path)
    assert find_cases(tmp_path, label="tumour").cases[1].label is None
    write_nifti(tmp_path / "sub-01/ses-1/anat/sub-01_ses-1_run-2_FLAIR.nii.gz")
    with pytest.raises(DataError, match="a second FLAIR of sub-01_ses-1"):
        find_cases(tmp_path, label="lesion")


def test_folder_of_cases(tmp_path):
    for seed, name in enumerate(("b", "a")):
        write_case(tmp_path / name, seed=seed)
    write_nifti(tmp_path / "a" / "extra.nii.gz")
    (tmp_path / "a" / ".12.partial.T1.nii.gz").write_bytes(b"")
    (tmp_path / "split.json").write_text('{"train": ["a"], "test": ["b"]}')
    dataset = find_cases(tmp_path)
    assert (dataset.layout, dataset.channels, dataset.label) == ("folder", ("FLAIR", "T1"), "lesion")
    assert dataset.names == ["a", "b"]
    assert split_of(dataset) == {"train": ["a"], "val": [], "test": ["b"]}
    assert dataset.describe().endswith("layout folder, 2 cases, channels FLAIR, T1, 2 labels (lesion)")
    assert [case.name for case in dataset.subset(["b", "a"])] == ["b", "a"]


def test_folder_with_sites_and_chosen_channels(tmp_path):
    write_case(tmp_path / "Oslo" / "1")
    write_case(tmp_path / "Rome" / "1", label=None)
    dataset = find_cases(tmp_path, channels=["T1"], label="lesion")
    assert [(case.name, case.site, case.label is None) for case in dataset.cases] == [
        ("Oslo_1", "Oslo", False),
        ("Rome_1", "Rome", True),
    ]
    assert set(dataset.cases[0].channels) == {"T1"}


def test_one_case_is_a_folder_of_one(tmp_path):
    dataset = find_cases(write_case(tmp_path / "patient 7"))
    assert dataset.names == ["patient_7"]


def test_missing_channel_stays_listed_where_it_was_expected(tmp_path):
    write_case(tmp_path / "a")
    write_case(tmp_path / "b", channels=("FLAIR",))
    case = find_cases(tmp_path, channels=["FLAIR", "T1"]).cases[1]
    assert case.channels["T1"] == tmp_path / "b" / "T1.nii.gz"
    with pytest.raises(DataError, match=r"b/T1.nii.gz: no such file"):
        prepare_case(case, channels=["FLAIR", "T1"], label="lesion", size=(6, 5), axis=2)


def test_folders_that_tell_no_channels_or_two_labels_ask(tmp_path):
    write_case(tmp_path / "a", channels=("x",), label=None)
    write_case(tmp_path / "b", channels=("y",), label=None)
    with pytest.raises(DataError, match="no image that each of the 2 cases has; names are x, y"):
        find_cases(tmp_path)
    write_case(tmp_path / "a", label="mask")
    write_case(tmp_path / "b", label="lesion")
    with pytest.raises(DataError, match="may all be the label: lesion, mask"):
        find_cases(tmp_path)
