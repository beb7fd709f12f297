"""train, evaluate and verify from the command line: what they write, what they refuse, how a run is resumed."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from nerd_fast.segmentation.runs.runs import environment
from tests.segmentation.damage import replace
from tests.segmentation.runs_for_tests import arguments, command, refused, weights_of


def test_evaluate_writes_a_row_for_each_case_and_a_summary(run, data, tmp_path):
    code, printed, _ = command(
        "evaluate", "--run", run, "--data", data, "--subset", "train", "--out", tmp_path / "m.json"
    )
    assert code == 0
    assert "dice" in printed
    with open(tmp_path / "m.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    content = json.loads((tmp_path / "m.json").read_text())
    assert [row["case"] for row in rows] == ["case01", "case02"] == [case["case"] for case in content["cases"]]
    assert content["header"]["head"] == "nerdm"
    assert content["summary"]["dice"]["mean"] == pytest.approx(np.mean([float(row["dice"]) for row in rows]))


def test_a_run_records_what_it_was_trained_with(run):
    recorded = torch.load(run / "last.ckpt", weights_only=True)["environment"]
    expected = environment("cpu")
    assert recorded.keys() == expected.keys()
    for name in ("python", "torch", "triton", "monai", "device", "nerd-fast"):
        assert recorded[name] == expected[name]


def test_label_outside_of_the_crop_counts_as_missed_unless_told_otherwise(data, tmp_path):
    """A network whose every pixel is lesion: in the crop it misses nothing, in the volume what the crop cut off."""
    command(*arguments(data, tmp_path / "run", epochs=1, size=[16, 16]))
    path = tmp_path / "run" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["network.final_conv.bias"].fill_(1e6)
    torch.save(checkpoint, path)
    scores = {}
    for crop in ("--score-in-crop", "--no-score-in-crop"):
        out = tmp_path / f"{crop}.json"
        assert command("evaluate", "--run", tmp_path / "run", "--data", data, "--out", out, crop)[0] == 0
        scores[crop] = json.loads(out.read_text())["cases"][0]
    lost = scores["--score-in-crop"]["label_voxels_lost"]
    assert lost > 0
    truth = nib.load(data / "case04" / "lesion.nii.gz").get_fdata()
    voxel = np.prod(nib.load(data / "case04" / "lesion.nii.gz").header.get_zooms()) / 1000
    assert scores["--no-score-in-crop"]["truth_ml"] == pytest.approx(truth.sum() * voxel, rel=1e-4)
    assert scores["--score-in-crop"]["truth_ml"] == pytest.approx((truth.sum() - lost) * voxel, rel=1e-4)
    assert scores["--score-in-crop"]["dice"] > scores["--no-score-in-crop"]["dice"]


@pytest.mark.parametrize(
    "words", [("predict", "--input"), ("evaluate", "--data"), ("diagnose", "--data"), ("export",), ("report",)]
)
def test_a_run_behind_a_link_that_leads_nowhere_is_told_from_one_that_is_absent(tmp_path, words):
    (tmp_path / "run").symlink_to("moved")
    data = [tmp_path] if len(words) > 1 else []
    code, _, message = command(*words, *data, "--run", tmp_path / "run", "--out", tmp_path / "out")
    assert code in (2, 4)
    assert f"({tmp_path / 'run'} is a link to moved, where nothing is)" in message


def test_an_unknown_layout_is_a_usage_error(data, tmp_path):
    refused(2, *arguments(data, tmp_path / "run", layout="folders"), leaves=tmp_path, says=["--layout"])


@pytest.mark.parametrize(("content", "code"), [(b"", 4), (b"PK\x03\x04 no archive", 4), (None, 4)])
def test_a_checkpoint_that_cannot_be_used_exits_with_4(copied_run, data, tmp_path, content, code):
    path = copied_run / "last.ckpt"
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    words = ("predict", "--run", copied_run, "--input", data / "case04", "--out", tmp_path / "masks")
    refused(code, *words, leaves=tmp_path / "masks", says=[path])


def test_a_hostile_checkpoint_exits_with_4_and_does_not_run(copied_run, data, tmp_path):
    class Attack:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    torch.save(Attack(), copied_run / "last.ckpt")
    refused(4, *arguments(data, copied_run, epochs=1, head="nerdm", resume=True), says=["last.ckpt"])
    assert not (tmp_path / "ran").exists()


def test_weights_with_nan_exit_with_5_and_leave_no_mask(copied_run, data, tmp_path):
    path = copied_run / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["network.final_conv.bias"].fill_(torch.nan)
    torch.save(checkpoint, path)
    words = ("predict", "--run", copied_run, "--input", data / "case04", "--out", tmp_path / "masks")
    refused(5, *words, leaves=tmp_path / "masks", says=["final_conv.bias"])


def test_training_that_diverges_exits_with_5_and_keeps_its_checkpoint(data, tmp_path):
    refused(5, *arguments(data, tmp_path, lr=1e30, epochs=3), says=["learning rate 1e+30", "not finite"])
    assert weights_of(tmp_path / "last.ckpt")


@pytest.mark.parametrize("options", [{"devices": "cpu:7"}, {"accelerator": "abacus"}])
def test_what_lightning_cannot_do_is_a_usage_error(data, tmp_path, options):
    refused(
        2, *arguments(data, tmp_path / "run", **options), says=[f"{name} {value}" for name, value in options.items()]
    )


def test_a_batch_that_memory_does_not_hold_is_a_usage_error_and_never_made_smaller(data, tmp_path, monkeypatch):
    def out_of_memory(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr("nerd_fast.segmentation.training.training.Segmenter.training_step", out_of_memory)
    refused(2, *arguments(data, tmp_path), says=["--batch-size: 4 slices", "--accumulate-grad-batches"])


def test_an_existing_run_is_refused_and_stays(copied_run, data):
    before = weights_of(copied_run / "last.ckpt")
    refused(2, *arguments(data, copied_run, epochs=1), says=["--resume"])
    assert weights_of(copied_run / "last.ckpt") == before


def test_resume_takes_its_options_from_the_run(copied_run):
    code, _, message = command("train", "--out", copied_run, "--resume")
    assert code == 0, message


def test_resume_with_other_options_is_refused_with_the_difference(copied_run):
    refused(2, "train", "--out", copied_run, "--resume", "--lr", "0.5", says=["lr: 0.001 -> 0.5", "--override"])
    refused(2, "train", "--out", copied_run, "--resume", "--head", "conv", says=["head: nerdm -> conv", "--override"])


def test_resume_with_other_options_goes_on_when_told_to(copied_run):
    code, printed, _ = command("train", "--out", copied_run, "--resume", "--epochs", "2", "--override")
    assert code == 0
    assert "epoch   2/2" in printed


def test_resume_on_another_machine_says_that_bits_may_differ(copied_run, monkeypatch):
    monkeypatch.setattr("nerd_fast.segmentation.training.session.environment", lambda _: {"torch": "9.9", "new": 1})
    code, _, message = command("train", "--out", copied_run, "--resume", "--epochs", "2", "--override")
    assert code == 0
    assert f"with torch {torch.__version__} -> 9.9\n" in message


def test_resume_with_changed_data_is_refused_with_the_file(copied_run, copy):
    replace(copy, "T1", lambda array, affine: (array + 1, affine))
    refused(3, "train", "--out", copied_run, "--resume", "--data", copy, says=["case01/T1.nii.gz has changed"])


def test_a_folder_that_cannot_be_written_is_a_usage_error(run, data, tmp_path):
    (tmp_path / "file").touch()
    refused(2, *arguments(data, tmp_path / "file" / "run"), says=["cannot be written"])
    words = ("predict", "--run", run, "--input", data / "case04", "--out", tmp_path / "file" / "masks")
    refused(2, *words, says=["cannot be written"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
@pytest.mark.parametrize("name", ["train", "evaluate", "predict", "reproduce", "diagnose"])
def test_an_absent_device_is_a_usage_error_and_nothing_is_written(run, data, tmp_path, name):
    out = tmp_path / "out"
    words = {
        "train": arguments(data, out, accelerator="gpu"),
        "evaluate": ("evaluate", "--run", run, "--data", data, "--out", out / "m.json"),
        "predict": ("predict", "--run", run, "--input", data / "case04", "--out", out),
        "reproduce": ("reproduce", "wmh", "--quick", "--data", data, "--out", out),
        "diagnose": ("diagnose", "--run", run, "--data", data, "--out", out),
    }[name]
    refused(2, *words, *(() if name == "train" else ("--accelerator", "gpu")), says=["accelerator gpu"])
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_run_is_named(data, tmp_path):
    (tmp_path / "notes.txt").write_text("no run")
    refused(4, "evaluate", "--run", tmp_path, "--data", data, says=[tmp_path / "last.ckpt", "nerd-fast train"])
    refused(4, "predict", "--run", tmp_path, "--input", data, "--out", tmp_path / "masks", says=["last.ckpt"])
    refused(4, "export", "--run", tmp_path, "--out", tmp_path / "program", says=["last.ckpt"])
    refused(2, "report", "--run", tmp_path, "--out", tmp_path / "report.html", says=["nerd-fast evaluate"])
    refused(2, "train", "--out", tmp_path, "--resume", says=["config.yaml", "no run to resume"])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_override_that_is_killed_before_its_first_checkpoint_can_be_resumed(copied_run, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nerd_fast.segmentation.training.training.Segmenter.training_step", die)
        words = ("train", "--out", copied_run, "--resume", "--epochs", "2", "--lr", "0.5", "--override")
        assert command(*words)[0] == 130
    code, _, message = command("train", "--out", copied_run, "--resume")
    assert code == 0, message


def test_a_run_killed_after_its_last_checkpoint_gets_its_log_and_options_back(copied_run):
    log = (copied_run / "metrics.csv").read_text()
    for name in ("metrics.csv", "config.yaml"):
        (copied_run / name).unlink()
    assert command("train", "--out", copied_run, "--resume")[0] == 0
    assert (copied_run / "metrics.csv").read_text() == log
    assert (copied_run / "config.yaml").exists()


def test_options_and_checkpoint_change_together(copied_run):
    words = ("train", "--out", copied_run, "--resume", "--epochs", "2", "--lr", "0.5", "--override")
    assert command(*words)[0] == 0
    written = yaml.safe_load((copied_run / "config.yaml").read_text())
    kept = torch.load(copied_run / "last.ckpt", weights_only=True)["config"]
    assert written["lr"] == kept["lr"] == 0.5
    assert "override" not in written


def test_fewer_epochs_than_done_are_a_usage_error_and_change_nothing(copied_run):
    command("train", "--out", copied_run, "--resume", "--epochs", "2", "--override")
    before = {path.name: path.read_bytes() for path in copied_run.iterdir()}
    refused(2, "train", "--out", copied_run, "--resume", "--epochs", "1", "--override", says=["--epochs", "2 or more"])
    assert {path.name: path.read_bytes() for path in copied_run.iterdir()} == before


def test_a_configuration_that_was_edited_is_not_what_counts_and_that_is_said(copied_run):
    path = copied_run / "config.yaml"
    path.write_text(path.read_text().replace("lr: 0.001", "lr: 0.5"))
    code, _, message = command("train", "--out", copied_run, "--resume")
    assert code == 0
    assert "lr: 0.001 -> 0.5" in message


def test_a_run_without_the_file_of_its_options_is_resumed_with_those_of_its_checkpoint(copied_run):
    (copied_run / "config.yaml").unlink()
    assert command("train", "--out", copied_run, "--resume")[0] == 0


def test_a_configuration_that_was_broken_by_hand_is_named(copied_run):
    (copied_run / "config.yaml").write_text("epochs: many\n")
    refused(2, "train", "--resume", "--out", copied_run, says=[copied_run / "config.yaml", "cannot be used"])
