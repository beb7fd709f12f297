"""The folder of a run: one writer, no run overwritten, no leftovers, options that come back."""

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from importlib.metadata import version

import pytest
import torch
import yaml

from nerd_fast.segmentation.base.config import TrainConfig
from nerd_fast.segmentation.base.errors import CheckpointError, DataError, UsageError
from nerd_fast.segmentation.runs.runs import LAST, environment, open_run, read_config, write_config
from tests.segmentation.runs_for_tests import in_child


def hold(folder):
    with open_run(folder):
        (folder / "held").touch()
        time.sleep(60)


@contextmanager
def holding(hold, folder):
    """The id of a process that holds the folder within the context and is killed at its end."""
    child = in_child(hold, folder)
    while not (folder / "held").exists():
        time.sleep(0.01)
    yield child
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.fixture
def holder(tmp_path):
    """The process id of another process that writes to `tmp_path`."""
    with holding(hold, tmp_path) as child:
        yield child


def test_a_folder_in_use_is_refused_with_the_process_that_uses_it(tmp_path, holder):
    with pytest.raises(UsageError, match=f"in use by process {holder} on {os.uname().nodename}"), open_run(tmp_path):
        pass


def test_the_lock_of_a_killed_process_does_not_stay(tmp_path):
    with holding(hold, tmp_path):
        pass  # killed as soon as it holds the folder
    with open_run(tmp_path):
        pass


def hold_with_a_worker(folder):
    with open_run(folder):
        worker = os.fork()
        (folder / "worker").write_text(str(worker or os.getpid()))
        (folder / "held").touch()
        time.sleep(60)


def test_a_worker_that_outlives_a_killed_process_does_not_hold_its_lock(tmp_path):
    with holding(hold_with_a_worker, tmp_path):
        pass  # killed as soon as it holds the folder
    try:
        with open_run(tmp_path):
            pass
    finally:
        os.kill(int((tmp_path / "worker").read_text()), signal.SIGKILL)


def test_a_run_is_not_overwritten(tmp_path):
    (tmp_path / LAST).touch()
    with pytest.raises(UsageError, match="holds a run already"), open_run(tmp_path):
        pass
    with open_run(tmp_path, resume=True) as folder:
        assert folder == tmp_path


def test_a_run_without_its_last_checkpoint_is_neither_overwritten_nor_begun_again(tmp_path):
    (tmp_path / "best.ckpt").touch()
    with pytest.raises(UsageError, match=r"holds a run already \(best\.ckpt\)"), open_run(tmp_path):
        pass
    with pytest.raises(CheckpointError, match=r"last\.ckpt: no such checkpoint"), open_run(tmp_path, resume=True):
        pass


def test_a_run_that_fails_at_once_leaves_no_folder_that_was_not_there(tmp_path):
    (tmp_path / "here").mkdir()
    for folder in ("here", "new/and/deep"):
        with pytest.raises(DataError), open_run(tmp_path / folder):
            raise DataError("a damaged file")
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


def test_a_run_that_fails_later_keeps_what_it_wrote(tmp_path):
    (tmp_path / "elsewhere").touch()
    with pytest.raises(FileExistsError), open_run(tmp_path / "run") as folder:
        (tmp_path / "elsewhere").rename(folder / LAST).touch(exist_ok=False)
    assert (tmp_path / "run" / LAST).exists()


def test_what_a_killed_run_left_half_written_is_swept_up(tmp_path):
    (tmp_path / ".123.partial.last.ckpt").touch()
    (tmp_path / LAST).touch()
    with open_run(tmp_path, resume=True):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", LAST]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file/run: cannot be written"), open_run(tmp_path / "file" / "run"):
        pass


def test_options_come_back_as_they_were(tmp_path):
    config = TrainConfig(data="data", out=str(tmp_path), head="nerdc", size=[240, 160], gradient_clip_val=1.0, lr=3e-4)
    write_config(config, tmp_path)
    assert TrainConfig(**read_config(tmp_path)) == config


@pytest.mark.parametrize("content", ["epochs: [", "- a list", "epoch: 3", "7"])
def test_options_that_are_none_are_refused(tmp_path, content):
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(UsageError, match=r"config\.yaml"):
        read_config(tmp_path)


def test_there_is_nothing_to_resume_in_an_empty_folder(tmp_path):
    with pytest.raises(UsageError, match="no run to resume"):
        read_config(tmp_path)


def test_the_configuration_is_yaml_that_train_reads(tmp_path):
    write_config(TrainConfig(resume=True, override=True), tmp_path)
    assert {"resume", "override"}.isdisjoint(yaml.safe_load((tmp_path / "config.yaml").read_text()))


def test_the_environment_says_what_a_run_is_made_with():
    found = environment("cpu")
    assert found["torch"] == torch.__version__
    assert found["monai"] == version("monai")
    assert found["threads"] == torch.get_num_threads()
    assert {"nerd-fast", "commit", "python", "triton", "platform", "device"} <= found.keys()
    assert all(value is None or type(value) in (str, int) for value in found.values())


def test_the_commit_is_that_of_the_checkout_and_marked_where_files_differ_from_it(tmp_path, monkeypatch):
    package = tmp_path / "nerd_fast" / "__init__.py"
    package.parent.mkdir()
    package.touch()
    monkeypatch.setattr("nerd_fast.__file__", str(package))
    assert environment()["commit"] is None, "installed, not a checkout"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "Begin"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True)
    assert environment()["commit"] == head.stdout.strip()
    package.write_text("changed")
    assert environment()["commit"] == head.stdout.strip() + "+"
