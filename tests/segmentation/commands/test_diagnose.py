"""`nerd-fast diagnose` on tiny runs."""

import json

import numpy as np
import pytest
import torch

import nerd_fast
from nerd_fast.segmentation.network.controls import BlindNeRDm
from nerd_fast.segmentation.pictures.diagnosis import are_numbers, calibrated, calibration_maps
from tests.segmentation.images import write_case
from tests.segmentation.runs_for_tests import arguments, command


def diagnose(tiny_runs, out, *heads, margin=0, subset="all"):
    runs = [getattr(tiny_runs, head) for head in heads]
    options = ("--data", tiny_runs.data, "--subset", subset, "--margin", margin, "--accelerator", "cpu", "--out", out)
    return command("diagnose", "--run", *runs, *options)


def trained_head():
    """A NeRDm whose calibration differs from position to position."""
    head = nerd_fast.NeRDm(3, 2)
    with torch.no_grad():
        head.calibrator[-1].weight.normal_(std=0.3)
    return head


def test_calibrated_features_are_what_the_classifier_reads():
    head, x = trained_head(), torch.randn(2, 3, 6, 5)
    with torch.no_grad():
        torch.testing.assert_close(torch.einsum("kc,bchw->bkhw", head.classifier, calibrated(head, x)), head(x))


def test_other_heads_leave_the_features_as_they_are():
    x = torch.randn(2, 3, 6, 5)
    assert calibrated(nerd_fast.NeRDc(3, 1), x) is x


def test_the_maps_of_a_head_are_those_of_the_paper():
    head = trained_head()
    maps = calibration_maps(head, (6, 5))
    assert {name: values.shape for name, values in maps.items()} == {
        "1/sigma(v)": (3, 6, 5),
        "-mu/sigma(v)": (3, 6, 5),
        "w(v)": (6, 6, 5),
    }
    expected = head.classifier.detach().numpy()[:, :, None, None] * maps["1/sigma(v)"]
    np.testing.assert_allclose(maps["w(v)"].reshape(2, 3, 6, 5), expected, rtol=1e-5)
    assert list(calibration_maps(nerd_fast.NeRDc(3, 1), (6, 5))) == ["w(v)"]
    assert calibration_maps(torch.nn.Conv2d(3, 1, 1), (6, 5)) == {}
    assert calibration_maps(BlindNeRDm(3, 1), (6, 5)) == {}, "one colour would show nothing"


@pytest.mark.slow
def test_numbers_and_figures_of_two_runs(tiny_runs, tmp_path):
    code, printed, message = diagnose(tiny_runs, tmp_path, "conv", "nerdm")
    assert code == 0, message
    numbers = json.loads((tmp_path / "shift.json").read_text())
    assert numbers["conv"]["shift"].keys() == {"images", "features"}
    assert numbers["nerdm"]["shift"].keys() == {"images", "features", "calibrated features"}
    assert numbers["conv"]["shift"]["images"] == numbers["nerdm"]["shift"]["images"] <= 1
    assert "Shift of the features" in printed
    assert are_numbers(tmp_path / "shift.json")
    assert {path.name for path in tmp_path.iterdir()} == {
        *("shift.json", "shift.md", "profile.png"),
        *("positions_conv.png", "positions_nerdm.png", "calibration_nerdm.png"),
    }


def test_a_nearer_border_is_measured_at_every_distance(tiny_runs, tmp_path):
    code, _, message = command(*arguments(tiny_runs.data, tmp_path / "run", epochs=1, size=[48, 48]))
    assert code == 0, message
    words = ("--data", tiny_runs.data, "--subset", "all", "--margin", "16", "--accelerator", "cpu")
    code, _, message = command("diagnose", "--run", tmp_path / "run", *words)
    assert code == 0, message
    effect = json.loads((tmp_path / "run/diagnosis/shift.json").read_text())["run"]["border_effect"]
    assert len(effect) == 8
    assert min(effect) >= 0
    assert (tmp_path / "run/diagnosis/border.png").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"subset": "test"},
            "--subset test: 1 cases; the shift is cross-validated over 2 or more. Choose --subset all",
        ),
        ({"margin": 16}, "--margin: expected a multiple of 16 that leaves 16 pixels of 32x32, or 0; found 16"),
        ({"margin": 5}, "--margin: expected a multiple of 16"),
    ],
)
def test_what_cannot_be_diagnosed_is_a_usage_error(tiny_runs, tmp_path, options, says):
    code, _, message = diagnose(tiny_runs, tmp_path / "out", "conv", **options)
    assert code == 2
    assert says in message
    assert not (tmp_path / "out").exists()


def test_the_same_run_twice_is_a_usage_error(tiny_runs, tmp_path):
    code, _, message = diagnose(tiny_runs, tmp_path / "out", "conv", "conv")
    assert code == 2
    assert "--run: expected folders of different names; found conv, conv" in message


def test_a_missing_run_is_a_checkpoint_error(tiny_runs, tmp_path):
    code, _, message = command("diagnose", "--run", tmp_path / "nowhere", "--data", tiny_runs.data)
    assert code == 4
    assert "no such checkpoint" in message


def test_other_data_than_those_of_the_run_are_a_data_error(tiny_runs, tmp_path):
    for name in ("a", "b", "c"):
        write_case(tmp_path / "data" / name)
    words = ("--data", tmp_path / "data", "--subset", "all", "--margin", "0")
    code, _, message = command("diagnose", "--run", tiny_runs.conv, *words)
    assert code == 3
    assert "no case case01, case02, case03, case04; expected the data that the run was trained on" in message


def test_a_test_set_of_one_case_is_filled_up_with_the_others(tiny_runs, tmp_path):
    words = ("--run", tiny_runs.conv, "--data", tiny_runs.data, "--out", tmp_path, "--margin", "0")
    code, printed, message = command("diagnose", *words)
    assert code == 0, message
    assert "cross-validated over 4 cases" in printed
