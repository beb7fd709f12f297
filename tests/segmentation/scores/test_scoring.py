"""What `evaluate` leaves out and joins is what was chosen: label 2 of WMH scans, and which voxels make a lesion."""

import numpy as np
import pytest

from nerd_fast.segmentation.commands.evaluate import EvaluateOptions
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.network import inference
from nerd_fast.segmentation.runs.loading import RunData
from nerd_fast.segmentation.scores import scoring
from tests.segmentation.data.test_layouts import wmh_fake

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


def two_corners(images):
    mask = np.zeros((len(images), *SIZE), dtype=np.uint8)
    mask[0, 0, 0] = mask[1, 1, 1] = 1
    return mask


def test_lesions_are_joined_by_the_connectivity_chosen(scan, monkeypatch):
    assert score(scan, monkeypatch, two_corners)["predicted_lesions"] == 1
    assert score(scan, monkeypatch, two_corners, connectivity=6)["predicted_lesions"] == 2
