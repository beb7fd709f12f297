"""Checkpoints: written whole or not at all, read without running what is in them, and checked before they are used.

A checkpoint is what Lightning saves (`state_dict`, optimizer, schedule, loops) with entries of ours: `format`,
`format_version`, `config` (a TrainConfig as a dict), `data` (what the network was trained on, see `loading.RunData`),
`environment` (what it is made with, see `runs.environment`) and `position` (how far training has come). It holds
tensors and plain Python values alone, which is all that `torch.load(weights_only=True)` accepts.
"""

import io
import zipfile
from pathlib import Path

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from nerd_fast.segmentation.base.errors import CheckpointError, NonFiniteError
from nerd_fast.segmentation.base.files import what_is_missing, whole_file

FORMAT = "nerd-fast run"
FORMAT_VERSION = 1
NETWORK = "network."  # prefix of the network's weights in `state_dict`


class WholeCheckpoints(CheckpointIO):
    """Lightning's reading and writing of checkpoints, through `read_checkpoint` and `write_checkpoint`."""

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        write_checkpoint(checkpoint, path)

    def load_checkpoint(self, path, map_location=None, weights_only=None):
        return read_checkpoint(path)

    def remove_checkpoint(self, path):
        Path(path).unlink(missing_ok=True)


def write_checkpoint(checkpoint, path):
    """Write a checkpoint whole or not at all; a full disk leaves the old one. Raises UsageError where it cannot."""
    # torch.save to a full disk raises an unhelpful RuntimeError; bytes raise the OSError that says what happened.
    content = io.BytesIO()
    torch.save(checkpoint, content)
    with whole_file(path, size=content.getbuffer().nbytes) as temporary:
        temporary.write_bytes(content.getbuffer())


def read_checkpoint(path):
    """Return the checkpoint at `path`, its tensors on the CPU.

    Raises CheckpointError where the file is absent, truncated, damaged, holds anything but tensors and plain values, or
    is not a checkpoint of this format and version.
    """
    path = Path(path)
    _check_archive(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the unpickler meets in a foreign file, the answer is the same
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise _refusal(path, f"it holds something else than tensors and plain values ({reason})") from error
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != FORMAT:
        raise _refusal(path, "it was not written by nerd-fast train")
    if checkpoint.get("format_version") != FORMAT_VERSION:
        raise _refusal(path, f"it has format version {checkpoint.get('format_version')}, expected {FORMAT_VERSION}")
    missing = [name for name in ("config", "data", "state_dict") if not isinstance(checkpoint.get(name), dict)]
    missing += [name for name in ("position", "environment") if not isinstance(checkpoint.get(name, {}), dict)]
    if missing:
        raise _refusal(path, f"it has no {', '.join(missing)}")
    return checkpoint


def load_weights(network, checkpoint, path):
    """Load the network's weights from a checkpoint, after checking names, shapes and that every number is finite.

    Raises CheckpointError for weights of another network, NonFiniteError for NaN or infinity.
    """
    weights = {
        name.removeprefix(NETWORK): value
        for name, value in checkpoint["state_dict"].items()
        if isinstance(name, str) and name.startswith(NETWORK)
    }
    expected = network.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in weights]
    problems += [f"{name} is not of this network" for name in weights if name not in expected]
    problems += [
        f"{name} is {_describe(weights[name])}, expected {_describe(value)}"
        for name, value in expected.items()
        if name in weights and not _same_kind(weights[name], value)
    ]
    if problems:
        raise _refusal(path, f"its weights do not fit the network of its configuration: {'; '.join(problems[:3])}")
    bad = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if bad:
        raise NonFiniteError(f"{path}: NaN or infinity in {', '.join(bad[:3])}. Use an earlier checkpoint")
    network.load_state_dict(weights)


def _check_archive(path):
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such checkpoint{what_is_missing(path)}. Name the folder of a run that `nerd-fast train` wrote"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load itself does not look at the check sums
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise _refusal(path, f"it is truncated or not a checkpoint ({error})") from error
    if damaged:
        raise _refusal(path, f"its part {damaged} is damaged")


def _same_kind(value, expected):
    return isinstance(value, torch.Tensor) and value.shape == expected.shape and value.dtype == expected.dtype


def _describe(value):
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__


def _refusal(path, reason):
    return CheckpointError(f"{path}: cannot be used, {reason}. Use another checkpoint, or train again")
