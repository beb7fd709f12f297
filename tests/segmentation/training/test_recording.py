"""The log of a run: one row an epoch, written whole, best epoch by validation Dice or, without validation, by loss."""

import csv
import json
import shutil

import pytest

from nerd_fast.segmentation.commands.train import train
from nerd_fast.segmentation.runs.checkpoints import read_checkpoint
from nerd_fast.segmentation.training.recording import COLUMNS, write_rows
from tests.segmentation.runs_for_tests import tiny_config, tiny_data


def rows_of(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_data(tmp_path_factory.mktemp("recording") / "data")


def best_epoch(folder):
    return len(read_checkpoint(folder / "best.ckpt")["callbacks"]["Recorder"]["rows"])


def test_best_is_the_epoch_of_the_highest_validation_dice(data, tmp_path):
    train(tiny_config(data, tmp_path, epochs=3))
    scores = [float(row["val_dice"]) for row in rows_of(tmp_path)]
    assert best_epoch(tmp_path) == scores.index(max(scores)) + 1


def test_without_validation_best_is_the_epoch_of_the_lowest_loss(data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "copy")
    (copy / "split.json").write_text(json.dumps({"train": ["case01", "case02"], "val": [], "test": ["case04"]}))
    train(tiny_config(copy, tmp_path / "run", epochs=3))
    rows = rows_of(tmp_path / "run")
    losses = [float(row["train_loss"]) for row in rows]
    assert [row["val_dice"] for row in rows] == ["", "", ""]
    assert best_epoch(tmp_path / "run") == losses.index(min(losses)) + 1


def test_a_row_says_how_fast_and_how_large(data, tmp_path):
    train(tiny_config(data, tmp_path, epochs=1))
    (row,) = rows_of(tmp_path)
    assert tuple(row) == COLUMNS
    assert 0 < float(row["seconds"]) < 600
    assert float(row["images_per_s"]) > 12 / float(row["seconds"])  # the seconds count validation too
    assert float(row["peak_memory_mib"]) > 100


def test_the_log_is_written_whole(tmp_path):
    write_rows([dict.fromkeys(COLUMNS, 1)], tmp_path / "metrics.csv")
    with pytest.raises(ValueError, match="dict contains fields not in fieldnames"):
        write_rows([{"epoch": 1, "colour": "red"}], tmp_path / "metrics.csv")
    assert rows_of(tmp_path) == [dict.fromkeys(COLUMNS, "1")]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
