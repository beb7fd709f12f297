"""`nerd-fast reproduce` on five tiny synthetic scans, three networks, one epoch."""

import csv
import gc
import re
import shutil
import signal
import weakref

import numpy as np
import pytest
import torch

from nerd_fast.cli import main
from nerd_fast.segmentation.base.errors import CheckpointError, Interrupted, NonFiniteError
from nerd_fast.segmentation.data.phantom import write_phantom
from nerd_fast.segmentation.study import execution
from nerd_fast.segmentation.training import training
from tests.segmentation import damage

SMALL = ["--filters", "16", "--seeds", "0", "--epochs", "1", "--accelerator", "cpu", "--every", "2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_phantom(tmp_path_factory.mktemp("data"), cases=5, shape=(32, 32, 3), spacing=(6, 6.5, 20))


def run_study(data, out, *more):
    return main(["reproduce", "wmh", "--data", str(data), "--out", str(out), "--size", "32", "32", *SMALL, *more])


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    assert run_study(data, out) == 0
    return out


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch):
    """Figures take longer than everything else; those of `finished` are drawn, being made before this."""
    monkeypatch.setattr(execution, "draw_figures", lambda *arguments, **options: None)


@pytest.fixture
def study(finished, tmp_path):
    """A copy of the finished study to damage, in the state it was left in."""
    return shutil.copytree(finished, tmp_path / "out")


@pytest.fixture
def trained(monkeypatch):
    """The folders that are trained from here on."""
    folders, run = [], execution.train_run
    monkeypatch.setattr(execution, "train_run", lambda config: folders.append(config.out) or run(config))
    return folders


def fail_training(monkeypatch, which, error):
    """The `which`-th training from here on raises `error`."""
    run, calls = execution.train_run, []

    def failing(config):
        calls.append(config)
        if len(calls) == which:
            raise error
        run(config)

    monkeypatch.setattr(execution, "train_run", failing)


def test_the_table_stands_beside_the_papers(finished):
    rows = list(csv.reader((finished / "results.csv").open(encoding="utf-8")))
    assert rows[0] == ["Model", "Source", "Dice (%) ↑", "LDice (%) ↑", "LFPR (%) ↓", "LTPR (%) ↑"]
    assert [row[:2] for row in rows[1:5]] == [
        ["U-Net 16", "here, 1 seed"],
        ["NeRDc 16", "here, 1 seed"],
        ["NeRDm 16", "here, 1 seed"],
        ["U-Net 256", "paper, 3 runs"],
    ]
    assert len(rows) == 1 + 3 + 6


def test_everything_of_a_finished_study_is_there(finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {
        *("cases.csv", "differences.csv", "results.csv", "table.md", "study.json", "split.json", "runs"),
        *("scores.png", "losses.png", "missed.png", "over_segmented.png"),
    }
    text = (finished / "table.md").read_text(encoding="utf-8")
    assert "Runs: 3 of 3 finished" in text
    assert len(re.findall(r"\| finished \| \d+\.\d \| \d+ \|", text)) == 3, "with minutes and memory"
    assert "Cases to train/validate/test: 3/1/1 (paper: 42/6/12); the split that comes with" in text
    assert "NeRDm 16 - U-Net 16" in text
    assert "**Training loss**\n\n| Model | Epoch 1 |" in text
    assert not re.search("blind|CoordConv|gain", text), "what was not run is not spoken of"
    assert "| `--connectivity` | neighbours that join voxels to a lesion | 26 |" in text


def test_every_scan_of_every_run_is_listed(finished):
    rows = list(csv.DictReader((finished / "cases.csv").open(encoding="utf-8")))
    assert [(row["model"], row["seed"], row["case"]) for row in rows] == [
        (f"{model} 16", "0", "case05") for model in ("U-Net", "NeRDc", "NeRDm")
    ]


def test_what_a_gain_is_due_to_can_be_read(study, data, trained):
    heads = ("conv", "nerdc", "nerdm", "coordconv", "blind")
    assert run_study(data, study, "--heads", *heads) == 0
    assert trained == [f"{study}/runs/{name}-16-seed0" for name in ("coordconv", "nerdm-blind")]
    text = (study / "table.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\S+) 16 - (\S+) 16 \|", text, re.MULTILINE) == [
        ("NeRDc", "U-Net"),
        ("NeRDc", "CoordConv"),
        ("NeRDc", "NeRDm-blind"),
        ("NeRDm", "U-Net"),
        ("NeRDm", "CoordConv"),
        ("NeRDm", "NeRDm-blind"),
        ("CoordConv", "U-Net"),
        ("NeRDm-blind", "U-Net"),
    ]
    assert "NeRDm-blind has the parameters of NeRDm and sees no position." in text
    _, losses = text.split("**Training loss**")
    assert re.findall(r"^\| (\S+) 16 \| \d\.\d{3} \|$", losses, re.MULTILINE) == [
        "U-Net",
        "NeRDc",
        "NeRDm",
        "CoordConv",
        "NeRDm-blind",
    ]


def test_a_finished_study_is_not_trained_again(study, data, trained):
    assert run_study(data, study) == 0
    assert trained == []


def test_only_what_is_missing_is_done(study, data, trained):
    (study / "runs/u-net-16-seed0/metrics_test.json").unlink()
    shutil.rmtree(study / "runs/nerdm-16-seed0")
    assert run_study(data, study) == 0
    assert trained == [f"{study}/runs/nerdm-16-seed0"]
    assert "Runs: 3 of 3 finished" in (study / "table.md").read_text(encoding="utf-8")


def test_another_threshold_is_another_evaluation_and_no_training(study, data, trained):
    before = (study / "runs/u-net-16-seed0/metrics_test.json").read_text()
    assert run_study(data, study, "--threshold", "0.9") == 0
    assert trained == []
    assert (study / "runs/u-net-16-seed0/metrics_test.json").read_text() != before


def test_status_says_what_is_missing_and_trains_nothing(study, data, trained, capsys):
    shutil.rmtree(study / "runs/nerdm-16-seed0")
    assert run_study(data, study, "--status") == 0
    assert trained == []
    out = capsys.readouterr().out
    assert "NeRDm 16  seed 0  not started" in out
    assert "Missing: NeRDm 16." in out


def test_an_interrupted_study_has_its_tables_and_is_continued(tmp_path, data, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        fail_training(patch, 2, Interrupted(signal.SIGTERM))
        assert run_study(data, tmp_path / "out") == 143
    assert "the same command continues" in capsys.readouterr().err
    assert "Runs: 1 of 3 finished" in (tmp_path / "out/table.md").read_text(encoding="utf-8")
    assert run_study(data, tmp_path / "out") == 0
    assert "Runs: 3 of 3 finished" in (tmp_path / "out/table.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NonFiniteError("the loss\nis nan"), 5),
        (CheckpointError("damaged"), 4),
        (torch.OutOfMemoryError("too large"), 2),
    ],
)
def test_a_run_that_fails_does_not_stop_the_others(study, data, monkeypatch, error, code):
    for name in ("nerdc", "nerdm"):
        shutil.rmtree(study / f"runs/{name}-16-seed0")
    fail_training(monkeypatch, 1, error)
    assert run_study(data, study) == code
    text = (study / "table.md").read_text(encoding="utf-8")
    assert "Runs: 2 of 3 finished" in text
    assert f"| NeRDc 16 | 0 | failed after 0 of 1 epochs: {' '.join(str(error).split())} |" in text


def test_label_that_the_crop_cuts_off_is_counted(data, tmp_path):
    arguments = ["reproduce", "wmh", "--data", str(data), "--out", str(tmp_path), "--size", "16", "16", *SMALL]
    assert main([*arguments, "--heads", "conv"]) == 0
    assert "voxels of label off case05; see `--score-in-crop`." in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_the_data_of_a_run_do_not_stay_in_memory(data, tmp_path, monkeypatch):
    alive, started = weakref.WeakSet(), training.Slices.__init__
    monkeypatch.setattr(training.Slices, "__init__", lambda self, *rest: started(self, *rest) or alive.add(self))
    gc.disable()  # so that nothing but the study itself collects
    try:
        assert run_study(data, tmp_path / "out", "--heads", "conv") == 0
        assert len(alive) == 0
    finally:
        gc.enable()


def test_other_options_in_the_same_folder_are_refused(study, data, capsys):
    assert run_study(data, study, "--loss", "dice") == 2
    assert "holds a run of other options:\n  loss: entropy+dice -> dice" in capsys.readouterr().err


def test_data_that_are_not_there_are_a_data_error(tmp_path, capsys):
    assert run_study(tmp_path / "nowhere", tmp_path / "out") == 3
    assert "no such folder" in capsys.readouterr().err


def test_data_of_other_channels_are_refused_before_anything_is_written(tmp_path, data, capsys):
    arguments = ["reproduce", "la", "--data", str(data), "--out", str(tmp_path / "out"), *SMALL]
    assert main(arguments) == 3
    assert "found the channels FLAIR, T1; expected 1 as in the paper (LGE-MRI)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_scan_without_contrast_at_the_percentiles_is_refused_before_anything_is_trained(tmp_path, data, capsys):
    copy = shutil.copytree(data, tmp_path / "data")
    damage.replace(copy, "T1", lambda array, affine: (np.where(np.arange(len(array)) < 4, array.T, 0).T, affine))
    assert run_study(copy, tmp_path / "out", "--percentiles", "1", "50") == 3
    assert "the same intensity 0 at the percentiles 1 and 50" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_choice_about_label_2_is_refused_where_no_data_of_the_challenge_are(tmp_path, data, capsys):
    assert run_study(data, tmp_path / "out", "--label-2", "background") == 2
    assert "--label-2: found background" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_study_needs_data_and_a_folder(tmp_path, capsys):
    assert main(["reproduce", "wmh", "--out", str(tmp_path)]) == 2
    assert "--data is missing" in capsys.readouterr().err
