"""The command line answers at once, names what is wrong in one message, and says so by its exit code."""

import os
import re
import subprocess
import sys

import pytest

from nerd_fast import cli
from nerd_fast.segmentation.base import errors
from nerd_fast.segmentation.base.config import TrainConfig
from tests.segmentation.runs_for_tests import command

LIGHT = "heavy = {'torch', 'monai', 'numpy'} & set(sys.modules)\nassert not heavy, heavy"


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["verify"], ["--data"]),
        (["train"], ["--data", "--out"]),
        (["train", "--data", "data"], ["--out"]),
        (["evaluate", "--run", "run"], ["--data"]),
        (["predict"], ["--run", "--input", "--out"]),
        (["reproduce", "la"], ["--data", "--out"]),
        (["diagnose"], ["--run", "--data"]),
        (["report"], ["--run", "--out"]),
        (["export"], ["--run", "--out"]),
    ],
)
def test_missing_options_are_named_before_anything_heavy_is_imported(arguments, missing):
    result = python(f"import sys\nfrom nerd_fast.cli import main\ncode = main({arguments})\n{LIGHT}\nsys.exit(code)")
    assert result.returncode == 2, result.stderr
    assert re.findall(r"(--\w+) is missing", result.stderr) == missing


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in cli.COMMANDS if name != "doctor")])
def test_help_imports_nothing_heavy(arguments):
    run = f"import sys\nfrom nerd_fast.cli import main\ntry: main({arguments})\nexcept SystemExit: pass"
    result = python(f"{run}\n{LIGHT}")
    assert result.returncode == 0, result.stderr
    assert "usage: nerd-fast" in result.stdout


@pytest.mark.parametrize(("asked", "found"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_that_wait_sleep_unless_the_user_says_otherwise(asked, found):
    """As the OpenMP of PyTorch says it when it is loaded."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "TRUE"} | ({"OMP_WAIT_POLICY": asked} if asked else {})
    code = "from nerd_fast.cli import main; main(['nnunet']); import torch"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert f"OMP_WAIT_POLICY = '{found}'" in told.stderr


def test_help_imports_few_modules():
    """About a hundred take the tenth of a second that help may take; on a busy machine a clock would not know."""
    run = "from nerd_fast.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    found = python(f"import sys\nbefore = set(sys.modules)\n{run}\nprint(len(set(sys.modules) - before))")
    assert int(found.stdout.splitlines()[-1]) < 150, found.stderr


def test_help_lists_every_command():
    code, printed, _ = command("--help")
    assert code == 0
    for name, (text, *_) in cli.COMMANDS.items():
        assert f"{name} " in printed
        assert text in printed


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["segment"],
        ["train", "--head", "linear"],
        ["train", "--epochs", "many"],
        ["train", "--size", "240"],
        ["train", "--unknown", "1"],
        ["train", "--config", "no-such.yaml"],
        ["train", "--config", sys.executable],
        ["train", "--data", "somewhere", "--out", "run", "--device", "cuda"],
        ["train", "--data", "somewhere", "--out", "run", "--axis", "3"],
        ["verify", "--data", "somewhere", "--axis", "-1"],
        ["demo", "--cases", "1"],
        ["train", "--data", "somewhere", "--out", "run", "--precision", "bf16-true"],
        ["train"],
        ["train", "--data", "somewhere"],
        ["train", "--data", "somewhere", "--out", "run", "--epochs", "0"],
        ["train", "--resume"],
        ["evaluate", "--run", "run"],
        ["predict", "--run", "run"],
        ["doctor", "head"],
        ["nnunet", "--out", "folder"],
    ],
)
def test_usage_errors_exit_with_2_and_no_traceback(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, message = command(*arguments)
    assert code == 2
    assert "Traceback" not in message
    assert message.strip()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("what"), 2),
        (errors.DataError("what"), 3),
        (errors.CheckpointError("what"), 4),
        (errors.NonFiniteError("what"), 5),
        (errors.Interrupted(2), 130),
        (errors.Interrupted(15), 143),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error, code, monkeypatch):
    def fail():
        raise error

    monkeypatch.setattr("nerd_fast.doctor.run", fail)
    found, _, message = command("doctor")
    assert found == code
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("error", "code"), [(errors.DataError("what"), 3), (errors.NonFiniteError("what"), 5), (RuntimeError("what"), 2)]
)
def test_debug_shows_the_traceback_and_keeps_the_exit_code(error, code, monkeypatch):
    def fail():
        raise error

    monkeypatch.setattr("nerd_fast.doctor.run", fail)
    found, _, message = command("--debug", "doctor")
    assert found == code
    assert "in fail" in message


@pytest.fixture
def faulty(monkeypatch, tmp_path):
    """A command with a fault of its own, which finds its temporary files in `tmp_path`."""

    def fail():
        raise AssertionError("what nobody foresaw")

    monkeypatch.setattr("nerd_fast.doctor.run", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_a_fault_of_the_program_exits_with_2_and_keeps_its_traceback(faulty, tmp_path):
    code, _, message = command("doctor")
    assert code == 2
    assert "Traceback" not in message
    (kept,) = tmp_path.iterdir()
    assert f"AssertionError: what nobody foresaw. Its traceback is in {kept}" in message
    assert "in fail" in kept.read_text()


def test_a_fault_where_no_file_can_be_kept_shows_its_traceback(faulty, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    code, _, message = command("doctor")
    assert code == 2
    assert "in fail" in message


def test_a_missing_package_is_named_with_what_to_install(monkeypatch):
    def fail():
        raise ModuleNotFoundError("No module named 'monai'", name="monai")

    monkeypatch.setattr("nerd_fast.doctor.run", fail)
    code, _, message = command("doctor")
    assert code == 2
    assert "nerd-fast doctor: needs monai: pip install '.[train]' in a checkout of nerd-fast" in message


def parse(*arguments):
    return cli._parse_options("train", TrainConfig, ["--data", "d", "--out", "o", *map(str, arguments)])


def test_options_as_the_readme_gives_them():
    config = parse("--channels", "FLAIR", "T1", "--label", "lesion", "--size", 160, 224, "--filters", 512)
    assert (config.channels, config.size, config.filters) == (["FLAIR", "T1"], [160, 224], [32, 64, 128, 256, 512])


def test_options_after_a_file_win_over_it(tmp_path):
    (tmp_path / "options.yaml").write_text("epochs: 3\nflip: true\nsize: [32, 48]\nchannels: [T1]\n")
    config = parse("--config", tmp_path / "options.yaml", "--no-flip", "--epochs", 4)
    assert (config.epochs, config.flip, config.size, config.channels) == (4, False, [32, 48], ["T1"])


def test_an_unknown_option_in_a_file_is_refused(tmp_path):
    (tmp_path / "options.yaml").write_text("epoch: 3\n")
    code, _, message = command("train", "--config", tmp_path / "options.yaml")
    assert code == 2
    assert "epoch" in message


def test_doctor_says_what_is_here():
    code, printed, _ = command("doctor")
    assert code == 0
    for word in ("torch", "triton", "CPU", "GPU", "head:"):
        assert word in printed
