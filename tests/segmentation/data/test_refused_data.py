"""Data that cannot be trusted stop every command that meets them and leave nothing; what may pass is said."""

import json
import shutil

import pytest
import torch
import yaml

from tests.segmentation.damage import (
    absent_in_split,
    bit_flipped,
    coloured,
    complex_valued,
    flat,
    four_dimensional,
    lying,
    mismatched_affine,
    mismatched_shape,
    missing,
    no_training_case,
    not_finite,
    odd,
    truncated,
    twice_in_split,
    undeclared_label,
)
from tests.segmentation.runs_for_tests import arguments, command, refused


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (missing, "T1.nii.gz"),
        (truncated, "T1.nii.gz"),
        (bit_flipped, "T1.nii.gz"),
        (lying, "T1.nii.gz"),
        (flat, "T1.nii.gz"),
        (four_dimensional, "4-D"),
        (coloured, "T1.nii.gz"),
        (complex_valued, "T1.nii.gz"),
        (mismatched_shape, "shape"),
        (mismatched_affine, "lesion.nii.gz"),
        (undeclared_label, "lesion.nii.gz"),
        (not_finite, "NaN"),
        (absent_in_split, "case09"),
        (twice_in_split, "case03"),
        (no_training_case, "no training case"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_bad_data_is_refused_before_training_and_leaves_nothing(copy, tmp_path, damage, says):
    damage(copy)
    words = arguments(copy, tmp_path / "run", channels=["FLAIR", "T1"], label="lesion")
    refused(3, *words, leaves=tmp_path / "run", says=[says])


ALLOWANCES = {"nonfinite": "zero", "allow_geometry_mismatch": True}


def test_what_is_allowed_is_said_and_recorded_in_the_run(copy, tmp_path):
    odd(copy)
    words = arguments(copy, tmp_path, epochs=1, channels=["FLAIR", "T1"], label="lesion", **ALLOWANCES)
    code, _, message = command(*words)
    assert code == 0, message
    assert "T1.nii.gz" in message
    assert "read as 0" in message
    assert "lesion.nii.gz: an affine" in message
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    for record in (checkpoint["data"], checkpoint["config"], yaml.safe_load((tmp_path / "config.yaml").read_text())):
        assert {name: record[name] for name in ALLOWANCES} == ALLOWANCES
    assert command("evaluate", "--run", tmp_path, "--data", copy, "--subset", "train")[0] == 0
    header = json.loads((tmp_path / "metrics_train.json").read_text())["header"]
    assert {name: header[name] for name in ALLOWANCES} == ALLOWANCES


def test_what_a_run_does_not_allow_is_allowed_for_one_evaluation_or_prediction(run, copy, tmp_path):
    odd(copy)
    evaluated = ("evaluate", "--run", run, "--data", copy, "--subset", "train", "--out", tmp_path / "out" / "m.json")
    predicted = ("predict", "--run", run, "--input", copy / "case01", "--out", tmp_path / "out")
    for words in (evaluated, predicted):
        refused(3, *words, leaves=tmp_path / "out", says=["T1.nii.gz", "--nonfinite zero"])
    for words in (evaluated, predicted):
        code, _, message = command(*words, "--nonfinite", "zero", "--allow-geometry-mismatch")
        assert code == 0, message
    header = json.loads((tmp_path / "out" / "m.json").read_text())["header"]
    assert {name: header[name] for name in ALLOWANCES} == ALLOWANCES


def test_verify_takes_what_is_allowed_for_a_warning(copy):
    odd(copy)
    words = ("verify", "--data", copy, "--channels", "FLAIR", "T1", "--label", "lesion")
    assert command(*words)[0] == 3
    code, printed, _ = command(*words, "--nonfinite", "zero", "--allow-geometry-mismatch")
    assert code == 0
    assert "0 errors, 2 warnings: ready" in printed


@pytest.mark.parametrize("damage", [missing, truncated, not_finite, undeclared_label])
def test_verify_reports_and_exits_with_3(copy, tmp_path, damage):
    damage(copy)
    words = (
        "verify",
        "--data",
        copy,
        "--channels",
        "FLAIR",
        "T1",
        "--label",
        "lesion",
        "--out",
        tmp_path / "report.json",
    )
    code, printed, _ = command(*words)
    assert code == 3
    assert "case01" in printed
    assert json.loads((tmp_path / "report.json").read_text())["ok"] is False


def test_verify_of_good_data_exits_with_0(data):
    code, printed, _ = command("verify", "--data", data, "--size", 32, 32)
    assert code == 0
    assert "ready" in printed


def test_a_data_folder_that_is_not_there_is_named(tmp_path):
    refused(3, *arguments(tmp_path / "nowhere", tmp_path / "run"), leaves=tmp_path, says=["nowhere"])


def test_evaluate_refuses_a_data_set_without_the_cases_of_the_run(run, copy):
    shutil.rmtree(copy / "case04")
    (copy / "split.json").unlink()
    refused(3, "evaluate", "--run", run, "--data", copy, says=["case04"])


def test_an_empty_folder_is_no_data_set(run, tmp_path):
    (tmp_path / "empty").mkdir()
    for words in (
        arguments(tmp_path / "empty", tmp_path / "out"),
        ("verify", "--data", tmp_path / "empty"),
        ("evaluate", "--run", run, "--data", tmp_path / "empty", "--out", tmp_path / "m.json"),
        ("predict", "--run", run, "--input", tmp_path / "empty", "--out", tmp_path / "out"),
        ("reproduce", "la", "--data", tmp_path / "empty", "--out", tmp_path / "out"),
    ):
        refused(3, *words, says=[tmp_path / "empty", "no case"])
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_channels_that_are_not_there_are_refused_with_those_that_are(data, tmp_path):
    words = arguments(data, tmp_path / "out", channels=["T2"], label="lesion")
    refused(3, *words, says=["images called FLAIR, T1, lesion", "T2"])
    assert not list(tmp_path.iterdir())


def test_evaluate_names_a_case_without_label(run, copy, tmp_path):
    (copy / "case04" / "lesion.nii.gz").unlink()
    words = ("evaluate", "--run", run, "--data", copy, "--out", tmp_path / "m.json")
    refused(3, *words, says=["case04", "no label lesion"])
    assert not (tmp_path / "m.json").exists()


def test_a_split_that_is_not_there_is_named(data, tmp_path):
    refused(3, *arguments(data, tmp_path / "out", split=tmp_path / "s.json"), says=["s.json: no such file"])
    assert not list(tmp_path.iterdir())


def test_a_study_is_not_begun_on_data_of_which_a_test_scan_is_damaged(copy, tmp_path):
    bit_flipped(copy)
    (copy / "case04" / "lesion.nii.gz").unlink()
    words = ("reproduce", "wmh", "--quick", "--data", copy, "--out", tmp_path / "study", "--heads", "conv")
    refused(3, *words, says=["case01/T1.nii.gz", "case04: no label"])
    assert not (tmp_path / "study").exists()
