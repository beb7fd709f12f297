"""What `evaluate` leaves out and joins is what was chosen: label 2 of WMH scans, and which voxels make a lesion."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from nerd_fast.segmentation.commands.evaluate import EvaluateOptions
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.network import inference
from nerd_fast.segmentation.runs.loading import RunData
from nerd_fast.segmentation.scores import scoring
from tests.segmentation.layouts_for_tests import nnunet_fake, wmh_fake
from tests.segmentation.runs_for_tests import arguments, command, refused

SIZE = [6, 5]


@pytest.fixture
def scan(tmp_path):
    """A scan with a voxel of lesion and one of other pathology, and its `RunData`."""
    dataset = find_cases(wmh_fake(tmp_path))
    (case,) = dataset.subset(["Utrecht_2"])
    split = {"train": [], "val": [], "test": [case.name]}
    return case, RunData(
        list(dataset.channels), dataset.label, [0, 1], list(dataset.ignore_values), SIZE, None, [0, 100], split, {}
    )


def score(scan, monkeypatch, mask, **options):
    case, data = scan
    monkeypatch.setattr(inference, "predict_mask", lambda network, images, **_: mask(images))
    return scoring.evaluate_case(None, case, data, EvaluateOptions(**options))


def everything(images):
    return np.ones((len(images), *SIZE), dtype=np.uint8)


def test_label_2_is_left_out_or_background_as_chosen(scan, monkeypatch):
    excluded = score(scan, monkeypatch, everything)
    background = score(scan, monkeypatch, everything, label_2="background")
    voxel = np.prod((1.5, 1.25, 3)) / 1000
    assert background["predicted_ml"] - excluded["predicted_ml"] == pytest.approx(voxel)
    assert background["truth_ml"] == excluded["truth_ml"] == pytest.approx(voxel)


@pytest.mark.parametrize(("make", "is_wmh2017"), [(wmh_fake, True), (nnunet_fake, False)])
def test_only_the_data_of_the_challenge_have_its_metrics_and_a_label_2(tmp_path, make, is_wmh2017):
    dataset = find_cases(make(tmp_path))
    assert dataset.ignore_values, "both leave voxels out"
    data = RunData(
        channels=list(dataset.channels),
        label=dataset.label,
        label_values=list(dataset.label_values),
        ignore_values=list(dataset.ignore_values),
        size=SIZE,
        axis=2,
        percentiles=[0, 100],
        split={},
        files={},
        layout=dataset.layout,
    )
    older = replace(data, layout=None)
    assert data.is_wmh2017 == older.is_wmh2017 == is_wmh2017


def test_a_choice_about_label_2_is_refused_where_no_data_of_the_challenge_are(data, run, tmp_path):
    words = ("evaluate", "--run", run, "--data", data, "--out", tmp_path / "m.json", "--label-2", "background")
    refused(2, *words, leaves=tmp_path, says=["--label-2: found background", "expected exclude"])


def test_an_evaluation_of_the_challenges_data_says_its_metrics(data, tmp_path):
    for case in data.glob("case0*"):
        place = tmp_path / "wmh" / "training" / "Utrecht" / case.name
        (place / "pre").mkdir(parents=True)
        for name in ("FLAIR", "T1"):
            shutil.copy(case / f"{name}.nii.gz", place / "pre")
        shutil.copy(case / "lesion.nii.gz", place / "wmh.nii.gz")
    assert command(*arguments(tmp_path / "wmh", tmp_path / "run", epochs=1))[0] == 0
    words = ("evaluate", "--run", tmp_path / "run", "--data", tmp_path / "wmh", "--label-2", "background")
    code, printed, message = command(*words)
    assert code == 0, message
    assert "wmh_f1 " in printed


def two_corners(images):
    mask = np.zeros((len(images), *SIZE), dtype=np.uint8)
    mask[0, 0, 0] = mask[1, 1, 1] = 1
    return mask


def test_lesions_are_joined_by_the_connectivity_chosen(scan, monkeypatch):
    assert score(scan, monkeypatch, two_corners)["predicted_lesions"] == 1
    assert score(scan, monkeypatch, two_corners, connectivity=6)["predicted_lesions"] == 2
