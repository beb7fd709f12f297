"""verify says "ready" only of data that train takes."""

import json
import shutil

import numpy as np

from tests.segmentation import damage
from tests.segmentation.runs_for_tests import arguments, command, refused


def neither(copy, tmp_path, *words, says):
    """Both commands refuse the data, and verify says why."""
    code, printed, message = command("verify", "--data", copy, *words)
    assert code == 3, message
    assert says in printed
    assert "not to be trained on" in printed
    assert command(*arguments(copy, tmp_path / "run"), *words)[0] in (2, 3)


def test_data_that_train_takes_are_ready(data):
    code, printed, _ = command("verify", "--data", data)
    assert code == 0
    assert printed.rstrip().endswith("ready")


def test_data_without_labels_are_not_ready(copy, tmp_path):
    for label in copy.glob("*/lesion.nii.gz"):
        label.unlink()
    neither(copy, tmp_path, says="no label")


def test_a_training_case_without_its_label_is_not_ready(copy, tmp_path):
    (copy / "case02" / "lesion.nii.gz").unlink()
    neither(copy, tmp_path, says="no label of case02")


def test_a_split_without_training_cases_is_not_ready(copy, tmp_path):
    split = {"train": [], "val": ["case01"], "test": ["case02", "case03", "case04"]}
    (copy / "split.json").write_text(json.dumps(split))
    neither(copy, tmp_path, says="no training case")


def test_too_few_cases_to_split_are_not_ready(copy, tmp_path):
    (copy / "split.json").unlink()
    for number in (2, 3, 4):
        shutil.rmtree(copy / f"case0{number}")
    neither(copy, tmp_path, says="case")


def test_a_channel_without_contrast_at_the_percentiles_is_not_ready(copy, tmp_path):
    damage.replace(copy, "T1", lambda array, affine: (np.where(np.arange(len(array)) < 4, array.T, 0).T, affine))
    assert command("verify", "--data", copy)[0] == 0
    neither(copy, tmp_path, "--percentiles", "1", "50", says="the same intensity 0 at the percentiles 1 and 50")


def test_a_value_that_is_not_declared_names_the_option(copy):
    label = "--label-values"
    code, printed, _ = command("verify", "--data", copy, label, "0", "2")
    assert code == 3
    assert f"declare its values with {label}" in printed


def test_a_channel_named_twice_is_refused_by_both_commands(data, tmp_path):
    for words in (("verify", "--data", data), arguments(data, tmp_path / "run")):
        refused(2, *words, "--channels", "FLAIR", "FLAIR", says=["--channels: expected", "found FLAIR, FLAIR"])
