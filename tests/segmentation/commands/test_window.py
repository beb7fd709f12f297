"""--window: a scan wider than the slices of the run is said to be cut, and seen whole through windows."""

import json

import nibabel as nib
import numpy as np
import pytest

from nerd_fast.segmentation.data.phantom import write_phantom
from tests.segmentation.runs_for_tests import command, refused


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Scans of 64x48 for a network of 32x32."""
    return write_phantom(tmp_path_factory.mktemp("wide") / "data", cases=3, shape=(64, 48, 3), seed=7)


def outside(mask):
    inner = np.zeros(mask.shape, dtype=bool)
    inner[16:48, 8:40] = True
    return mask[~inner]


def test_what_is_outside_of_the_slices_of_the_run_is_said_and_seen_through_windows(run, wide, tmp_path):
    words = ("predict", "--run", run, "--input", wide / "case03", "--threshold", "0.01", "--out")
    code, _, errors = command(*words, tmp_path / "cut")
    assert code == 0
    assert "non-zero voxels (" in errors
    assert "lie outside of the crop to 32x32; predict and evaluate see the whole slice with --window" in errors
    assert not outside(nib.load(tmp_path / "cut" / "case03.nii.gz").get_fdata()).any()
    code, _, errors = command(*words, tmp_path / "whole", "--window", "32", "32")
    assert (code, errors.count("outside")) == (0, 0)
    assert outside(nib.load(tmp_path / "whole" / "case03.nii.gz").get_fdata()).any()


def test_no_label_is_lost_to_windows(run, wide, tmp_path):
    (tmp_path / "split.json").write_text('{"train": [], "val": [], "test": ["case01", "case02", "case03"]}')
    words = ("evaluate", "--run", run, "--data", wide, "--split", tmp_path / "split.json", "--out")
    lost = []
    for name, window in (("cut", ()), ("whole", ("--window", "32", "32"))):
        assert command(*words, tmp_path / f"{name}.json", *window)[0] == 0
        cases = json.loads((tmp_path / f"{name}.json").read_text())["cases"]
        lost.append(sum(case["label_voxels_lost"] for case in cases))
    assert lost[0] > lost[1] == 0


def test_windows_and_scores_inside_the_crop_exclude_one_another(run, wide, tmp_path):
    words = ("evaluate", "--run", run, "--data", wide, "--window", "32", "32", "--score-in-crop", "--out", tmp_path)
    refused(2, *words, leaves=tmp_path, says=["--score-in-crop", "--window"])
