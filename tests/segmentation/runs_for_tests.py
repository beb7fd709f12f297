"""A tiny synthetic data set and the quickest run on it, for tests of the trainer."""

import contextlib
import hashlib
import io
import os
import sys
from pathlib import Path

import torch

from nerd_fast.segmentation.base.config import TrainConfig
from nerd_fast.segmentation.data.phantom import write_phantom

TINY = {"filters": [4, 4, 4, 4, 4], "size": [32, 32], "batch_size": 4, "epochs": 2, "accelerator": "cpu"}


def tiny_data(folder):
    """Four cases of 6 slices of 32x32: two to train, one to validate, one to test."""
    return write_phantom(folder, cases=4, shape=(32, 32, 6))


def tiny_config(data, out, **options):
    return TrainConfig(**{**TINY, "data": str(data), "out": str(out), **options})


def command(*arguments):
    """Run `nerd-fast` in this process: (exit code, what it printed, its error messages)."""
    from nerd_fast.cli import main

    printed, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
    return code, printed.getvalue(), errors.getvalue()


def refused(code, *words, leaves=None, says=()):
    """Run a command, and check its exit code, that it says one thing without traceback, and that nothing is left."""
    found, _, message = command(*words)
    assert found == code, message
    assert "Traceback" not in message
    for word in says:
        assert str(word) in message
    if leaves is not None:
        assert not [path for path in leaves.glob("**/*") if path.is_file() and path.name != ".lock"]


def arguments(data, out, **options):
    """The arguments of `nerd-fast train` for the quickest run."""
    words = ["train"]
    for name, value in {**TINY, "data": data, "out": out, **options}.items():
        name = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [name] if value else []
        else:
            words += [name, *map(str, value if isinstance(value, (list, tuple)) else [value])]
    return words


def weights_of(path):
    """A hash of the network's weights in a checkpoint, bit for bit."""
    weights = torch.load(path, weights_only=True)["state_dict"]
    return hashlib.sha256(b"".join(value.contiguous().numpy().tobytes() for value in weights.values())).hexdigest()


def in_child(function, *arguments):
    """Start `function` in a forked process, which has all modules loaded already; returns its process id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        code = function(*arguments)
    finally:
        os._exit(code)


def log_of(folder):
    """The columns of metrics.csv that do not depend on the clock."""
    rows = (Path(folder) / "metrics.csv").read_text(encoding="utf-8").splitlines()
    return [row.split(",")[:6] for row in rows]


def train_silently(config):
    """Train, in a process of its own, without a word."""
    from nerd_fast.segmentation.commands.train import train

    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    torch.set_num_threads(1)
    train(config)
