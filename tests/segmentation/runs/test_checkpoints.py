"""Checkpoints appear whole or not at all; what is damaged, foreign or hostile is refused and never run."""

import errno
import io
import os
import pickle
import zipfile

import pytest
import torch
from torch import nn

from nerd_fast.segmentation.base.config import InferenceOptions
from nerd_fast.segmentation.base.errors import CheckpointError, NerdFastError, NonFiniteError, UsageError
from nerd_fast.segmentation.network.trained import load_run
from nerd_fast.segmentation.runs import checkpoints
from nerd_fast.segmentation.runs.checkpoints import (
    FORMAT,
    FORMAT_VERSION,
    load_weights,
    read_checkpoint,
    write_checkpoint,
)


@pytest.fixture
def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def checkpoint_of(network, **changes):
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "config": {},
        "data": {},
        "environment": {},
        "state_dict": weights,
    }
    return {**content, **changes}


@pytest.fixture
def good(tmp_path, network):
    path = tmp_path / "last.ckpt"
    write_checkpoint(checkpoint_of(network), path)
    return path


def test_weights_come_back_bit_for_bit(good, network):
    other = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    load_weights(other, read_checkpoint(good), good)
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), other.state_dict().values(), strict=True)
    )


class Attack:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


def zipped_attack(path, witness):
    torch.save({"format": FORMAT, "state_dict": Attack(witness)}, path)


def bare_attack(path, witness):
    path.write_bytes(pickle.dumps(Attack(witness)))


def legacy_attack(path, witness):
    torch.save(Attack(witness), path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("attack", [zipped_attack, bare_attack, legacy_attack])
def test_hostile_code_is_refused_and_does_not_run(tmp_path, attack):
    path, witness = tmp_path / "best.ckpt", tmp_path / "ran"
    attack(path, witness)
    with pytest.raises(CheckpointError, match="cannot be used"):
        read_checkpoint(path)
    assert not witness.exists()


def empty(content):
    return b""


def text(content):
    return b"a letter, not a checkpoint"


def halved(content):
    return content[: len(content) // 2]


def without_its_end(content):
    return content[:-30]


def whole_module(content):
    stream = io.BytesIO()
    torch.save(nn.Linear(1, 1), stream)
    return stream.getvalue()


def foreign_zip(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("letter.txt", "hello")
    return stream.getvalue()


@pytest.mark.parametrize("damage", [empty, text, halved, without_its_end, whole_module, foreign_zip])
def test_a_damaged_or_foreign_file_is_refused_in_one_line(good, damage):
    good.write_bytes(damage(good.read_bytes()))
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(good)
    assert str(good) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_flipped_bit_in_a_weight_is_noticed(good):
    content = bytearray(good.read_bytes())
    with zipfile.ZipFile(good) as archive:
        weight = max((entry for entry in archive.infolist() if "/data/" in entry.filename), key=lambda e: e.file_size)
        start = weight.header_offset + 30
        name_length, extra_length = content[start - 4 + 0], int.from_bytes(content[start - 2 : start], "little")
    content[start + name_length + extra_length + 1] ^= 4
    good.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        read_checkpoint(good)


def test_an_absent_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "none.ckpt")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "another"}, "not written by nerd-fast"),
        ({"format_version": FORMAT_VERSION + 1}, "format version"),
        ({"config": None}, "has no config"),
        ({"state_dict": [1]}, "has no state_dict"),
    ],
)
def test_another_format_is_refused(tmp_path, network, changes, reason):
    path = tmp_path / "best.ckpt"
    torch.save(checkpoint_of(network, **changes), path)
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(path)


def test_a_tensor_alone_is_refused(tmp_path):
    torch.save(torch.zeros(2), tmp_path / "best.ckpt")
    with pytest.raises(CheckpointError, match="not written by nerd-fast"):
        read_checkpoint(tmp_path / "best.ckpt")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda weights: weights.pop("network.0.bias"), "0.bias is missing"),
        (lambda weights: weights.update({"network.9.bias": torch.zeros(1)}), "9.bias is not of this network"),
        (
            lambda weights: weights.update({"network.0.bias": torch.zeros(1).expand(10**6, 10**6)}),
            r"expected .* \(2,\)",
        ),
        (lambda weights: weights.update({"network.0.bias": torch.zeros(2, dtype=torch.float16)}), "float16"),
        (lambda weights: weights.update({"network.0.bias": "none"}), "is str"),
    ],
)
def test_weights_of_another_network_are_refused_before_they_are_touched(good, network, change, reason):
    checkpoint = read_checkpoint(good)
    change(checkpoint["state_dict"])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=reason):
        load_weights(network, checkpoint, good)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_weights_that_are_not_finite_are_refused(good, network):
    checkpoint = read_checkpoint(good)
    checkpoint["state_dict"]["network.0.weight"][0] = torch.nan
    with pytest.raises(NonFiniteError, match=r"0\.weight"):
        load_weights(network, checkpoint, good)


def test_a_full_disk_leaves_the_old_checkpoint_whole(good, network, monkeypatch):
    before = good.read_bytes()

    def full(path, content):
        with open(path, "wb") as file:
            file.write(bytes(content[:100]))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints.Path, "write_bytes", full)
    with pytest.raises(UsageError, match=r"No space left on device, it takes \d+ bytes"):
        write_checkpoint(checkpoint_of(network), good)
    assert good.read_bytes() == before
    assert [path.name for path in good.parent.iterdir()] == ["last.ckpt"]


def test_what_a_checkpoint_may_hold_is_what_can_be_read_again(tmp_path, network):
    """Optimizers, schedules and scalers as Lightning saves them are plain enough."""
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(parameters)
    network(torch.rand(1, 1, 8, 8)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0)
    state = {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    write_checkpoint(checkpoint_of(network, **state), tmp_path / "last.ckpt")
    assert read_checkpoint(tmp_path / "last.ckpt")["schedule"]["last_epoch"] == 0


@pytest.mark.parametrize(
    ("part", "changes", "says"),
    [
        ("state_dict", {"network.final_conv.bias": 3}, "final_conv.bias is int, expected torch.float32"),
        ("config", {"filters": 3}, "last.ckpt: its configuration cannot be used .--filters: expected a list"),
        ("config", {"head": "linear"}, "last.ckpt: its configuration cannot be used .--head: expected one of"),
        ("data", {"size": 3}, "last.ckpt: its description of the data cannot be used .size: expected a list"),
        ("data", {"split": {"train": "a"}}, "last.ckpt: its description of the data cannot be used .split: expected"),
        ("position", 3, "last.ckpt: cannot be used, it has no position"),
    ],
)
def test_a_checkpoint_whose_entries_are_of_another_type_is_refused_by_name(copied_run, part, changes, says):
    path = copied_run / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint[part] = {**checkpoint[part], **changes} if isinstance(changes, dict) else changes
    torch.save(checkpoint, path)
    with pytest.raises(NerdFastError, match=says):
        load_run(InferenceOptions(run=str(copied_run), accelerator="cpu"))
