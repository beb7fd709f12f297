"""verify, train, evaluate and predict from Python: the options of the commands in, what the commands print out."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from examples import train_from_python
from nerd_fast import segmentation
from nerd_fast.segmentation import EvaluateOptions, TrainConfig, VerifyOptions
from nerd_fast.segmentation.base.errors import UsageError
from tests.segmentation.runs_for_tests import TINY, command

DOCS = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_documented_session_runs_as_written(data, tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    shutil.copytree(data, tmp_path / "DATA")
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(compile(code, str(DOCS), "exec"), found)
    assert [row["epoch"] for row in found["run"].log] == [1, 2]
    assert {path.name for path in found["masks"]} == {f"case0{number}.nii.gz" for number in (1, 2, 3, 4)}
    assert all(path.exists() for path in found["masks"])
    assert "epoch   2/2" in capsys.readouterr().out


def test_evaluate_returns_what_the_command_prints(run, data, tmp_path):
    evaluation = segmentation.evaluate(EvaluateOptions(run=str(run), data=str(data), out=str(tmp_path / "m.json")))
    _, printed, _ = command("evaluate", "--run", run, "--data", data, "--out", tmp_path / "m.json")
    assert f"{evaluation.summary['dice']['mean']:.4f}" in printed
    assert printed.splitlines()[-1] == str(evaluation.file)
    assert [row["case"] for row in evaluation.cases] == ["case04"]


def test_verify_returns_the_report(data):
    assert segmentation.verify(VerifyOptions(data=str(data))).errors == ()


def test_a_run_is_resumed_with_the_options_it_was_started_with(copied_run):
    options = segmentation.resumed(copied_run)
    assert (options.head, options.resume, options.out) == ("nerdm", True, str(copied_run))
    options.epochs, options.override = 2, True
    assert [row["epoch"] for row in segmentation.train(options).log] == [1, 2]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("verify", VerifyOptions()),
        ("train", TrainConfig(data="somewhere")),
        ("evaluate", EvaluateOptions(run="somewhere")),
    ],
)
def test_a_required_option_that_is_missing_is_named(name, options):
    with pytest.raises(UsageError, match="is missing"):
        getattr(segmentation, name)(options)


def test_the_names_load_on_first_use():
    code = "import sys; from nerd_fast.segmentation import train, TrainConfig; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(segmentation.__all__) <= set(dir(segmentation))
    with pytest.raises(AttributeError, match="trian"):
        segmentation.trian  # noqa: B018 the look is what fails


def test_the_example_compares_heads(data, tmp_path, monkeypatch):
    monkeypatch.setattr(train_from_python, "HEADS", ("conv", "nerdc"))
    dice = train_from_python.compare(str(data), str(tmp_path), **{**TINY, "epochs": 1})
    assert dice.keys() == {"conv", "nerdc"}
    assert all((tmp_path / head / "metrics_test.json").exists() for head in dice)
