"""Real runs killed with SIGKILL at random end with the weights of a run that was not, bit for bit."""

import multiprocessing
import random
from contextlib import suppress

import pytest
import torch

from nerd_fast.segmentation.commands.train import train
from nerd_fast.segmentation.runs.checkpoints import read_checkpoint, write_checkpoint
from tests.segmentation.runs_for_tests import command, log_of, tiny_config, tiny_data, train_silently, weights_of

KILLS = 12
MOST_CHANGES = 20  # of the files of a run, after which it is killed; six epochs make about a hundred


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_data(tmp_path_factory.mktemp("resume") / "data")


@pytest.fixture(scope="module")
def processes():
    """Starts processes that have torch and Lightning loaded already, but no thread running."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nerd_fast.segmentation.training.session"])
    return context


def config_of(data, folder):
    return tiny_config(data, folder, head="nerdc", epochs=6, flip=True, rotate=10.0, dropout=0.1, resume=True)


def start(processes, config):
    process = processes.Process(target=train_silently, args=(config,))
    process.start()
    return process


def wait_for_changes(process, folder, number):
    """Wait until files of a run have come, changed or gone so many times, as far as looks can tell, or it has ended."""
    before = contents(folder)
    while number > 0 and process.is_alive():
        process.join(0.001)
        now = contents(folder)
        number -= now != before
        before = now


def contents(folder):
    """What tells the states of a folder apart, half-written files included."""
    found = []
    with suppress(FileNotFoundError):  # of the folder, or of a file that has just been renamed
        for path in folder.iterdir():
            about = path.stat()
            found.append((path.name, about.st_ino, about.st_size))
    return sorted(found)


@pytest.mark.slow
def test_killed_a_dozen_times_at_random_a_run_ends_bit_for_bit_the_same(data, processes, tmp_path):
    whole = tmp_path / "whole"
    for folder in (whole, tmp_path / "again"):
        uninterrupted = start(processes, config_of(data, folder))
        uninterrupted.join()
        assert uninterrupted.exitcode == 0
    assert weights_of(tmp_path / "again" / "last.ckpt") == weights_of(whole / "last.ckpt")

    chance, kills, folders, finished = random.Random(0), 0, [], True
    while kills < KILLS or not finished:
        if finished:
            folders.append(tmp_path / f"killed {len(folders)}")
        process = start(processes, config_of(data, folders[-1]))
        if kills < KILLS:
            wait_for_changes(process, folders[-1], chance.randint(1, MOST_CHANGES))
        else:
            process.join()
        finished = process.exitcode == 0
        if not finished:
            process.kill()
            process.join()
            kills += 1
            if (folders[-1] / "last.ckpt").exists():
                read_checkpoint(folders[-1] / "last.ckpt")
    for folder in folders:
        assert weights_of(folder / "last.ckpt") == weights_of(whole / "last.ckpt")
        assert weights_of(folder / "best.ckpt") == weights_of(whole / "best.ckpt")
        assert log_of(folder) == log_of(whole)
        assert not list(folder.glob(".*.partial.*"))


def test_a_run_of_a_version_that_knew_fewer_options_is_continued_and_evaluated(data, tmp_path):
    train(tiny_config(data, tmp_path, epochs=1))
    path, newer = tmp_path / "last.ckpt", ("nonfinite", "allow_geometry_mismatch")
    checkpoint = read_checkpoint(path)
    for name in newer:
        del checkpoint["config"][name], checkpoint["data"][name]
    checkpoint["environment"] = {"torch": str(torch.__version__)}
    write_checkpoint(checkpoint, path)
    lines = (tmp_path / "config.yaml").read_text().splitlines()
    (tmp_path / "config.yaml").write_text("\n".join(line for line in lines if not line.startswith(newer)))
    code, _, message = command("train", "--out", tmp_path, "--resume", "--epochs", 2, "--override")
    assert (code, "not bit for bit" in message) == (0, False)
    assert command("evaluate", "--run", tmp_path, "--data", data)[0] == 0


def test_a_run_that_does_not_say_its_axis_and_padding_goes_on_as_it_began(data, tmp_path):
    train(tiny_config(data, tmp_path, epochs=1))
    path = tmp_path / "last.ckpt"
    checkpoint = read_checkpoint(path)
    checkpoint["config"]["epochs"] = 2
    checkpoint["data"]["axis"] = None
    for name in ("padding", "spacing"):
        del checkpoint["data"][name]
    write_checkpoint(checkpoint, path)
    code, _, message = command("train", "--out", tmp_path, "--resume")
    assert code == 0, message
    assert len(log_of(tmp_path)) == 1 + 2
    found = read_checkpoint(path)["data"]
    assert (found["axis"], found["padding"], found["spacing"]) == (2, "zero", [2, 2])


def test_a_new_rate_counts_when_a_run_is_resumed_with_it(data, tmp_path):
    train(tiny_config(data, tmp_path, epochs=1))
    train(tiny_config(data, tmp_path, epochs=2, lr=0.125, weight_decay=0.5, resume=True, override=True))
    assert [row[2] for row in log_of(tmp_path)] == ["lr", "0.001", "0.03125"]
    group = read_checkpoint(tmp_path / "last.ckpt")["optimizer_states"][0]["param_groups"][0]
    assert (group["initial_lr"], group["weight_decay"]) == (0.125, 0.5)
