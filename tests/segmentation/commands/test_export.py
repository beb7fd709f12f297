"""`nerd-fast export`: the files run elsewhere and say what the trained network says."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import nerd_fast
from nerd_fast.segmentation.base.errors import CheckpointError
from nerd_fast.segmentation.network.compared import load_networks
from nerd_fast.segmentation.network.exported import PositionMap, is_exported, load_network
from tests.segmentation.runs_for_tests import command

HEADS = ("conv", "nerdm", "nerdc")
ELSEWHERE = """
import sys
for name in ("nerd_fast", "triton", "monai", "pytorch_lightning", "safetensors"):
    sys.modules[name] = None  # importing it fails
import numpy, torch
images = torch.from_numpy(numpy.load(sys.argv[1]))
for folder in sys.argv[2:]:
    program = torch.export.load(f"{folder}/model.pt2").module()
    with torch.no_grad():
        logits = torch.cat([program(images[:1]), program(images[1:])])  # batches of 1 and 4
    numpy.save(f"{folder}/logits.npy", logits.numpy())
"""


@pytest.fixture(scope="module")
def exported(tiny_runs, tmp_path_factory):
    """The folders of the exported runs, by head."""
    folders = {}
    for head in HEADS:
        folders[head] = tmp_path_factory.mktemp("export") / head
        code, _, message = command("export", "--run", getattr(tiny_runs, head), "--out", folders[head])
        assert code == 0, message
    return folders


def test_exported_files_are_known_as_ours_and_others_of_their_names_are_not(exported, tmp_path):
    files = sorted(exported["conv"].iterdir())
    assert [path.name for path in files] == ["config.json", "model.pt2", "model.safetensors"]
    for path in files:
        assert is_exported(path)
        (tmp_path / path.name).write_text('{"model_type": "theirs"}')
        assert not is_exported(tmp_path / path.name)


@pytest.mark.slow
def test_the_programs_run_without_this_package_and_say_the_same(exported, tiny_runs, tmp_path):
    networks, _ = load_networks(
        {head: getattr(tiny_runs, head) for head in HEADS}, checkpoint="last", accelerator="cpu"
    )
    images = torch.rand(5, 2, 32, 32)
    np.save(tmp_path / "images.npy", images.numpy())
    # -I keeps the working folder off the path, where the package lies.
    words = [sys.executable, "-I", "-c", ELSEWHERE, str(tmp_path / "images.npy"), *map(str, exported.values())]
    finished = subprocess.run(words, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    for head, network in networks.items():
        with torch.no_grad():
            expected = network(images).numpy()
        np.testing.assert_allclose(np.load(exported[head] / "logits.npy"), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [nerd_fast.NeRDm, nerd_fast.NeRDc])
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_folded_head_is_the_head_within_rounding(kind, outputs):
    head = kind(6, outputs, bias=True)
    nn.init.normal_(head.calibrator[-1].weight, std=0.5)
    nn.init.normal_(head.bias)
    x = torch.randn(2, 6, 11, 7)
    with torch.no_grad():
        torch.testing.assert_close(PositionMap(*head.position_map((11, 7)))(x), head(x))


@pytest.mark.parametrize("head", HEADS)
def test_the_weights_make_the_network_again(head, exported, tiny_runs):
    networks, _ = load_networks({head: getattr(tiny_runs, head)}, checkpoint="last", accelerator="cpu")
    network, config, data = load_network(exported[head] / "model.safetensors")
    assert (config.head, config.filters, data.size) == (head, [4, 4, 4, 4, 4], [32, 32])
    assert not network.training
    expected = networks[head].state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


def test_the_configuration_names_no_case_no_file_and_no_folder(exported, tiny_runs):
    text = (exported["nerdm"] / "config.json").read_text()
    content = json.loads(text)
    assert (content["config"]["head"], content["program_size"]) == ("nerdm", [32, 32])
    assert content["data"]["channels"] == ["FLAIR", "T1"]
    assert "case0" not in text
    assert str(tiny_runs.data) not in text


def test_another_size_is_another_program(tiny_runs, tmp_path):
    code, _, message = command("export", "--run", tiny_runs.nerdm, "--out", tmp_path, "--size", "48", "32")
    assert code == 0, message
    program = torch.export.load(tmp_path / "model.pt2").module()
    with torch.no_grad():
        assert program(torch.rand(3, 2, 48, 32)).shape == (3, 1, 48, 32)


def test_a_size_that_poolings_exhaust_is_a_usage_error(tiny_runs, tmp_path):
    code, _, message = command("export", "--run", tiny_runs.conv, "--out", tmp_path / "out", "--size", "8", "8")
    assert code == 2
    assert "--size 8 8: the network cannot take it" in message
    assert not (tmp_path / "out").exists()


def test_a_missing_run_is_a_checkpoint_error(tmp_path):
    code, _, message = command("export", "--run", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert code == 4
    assert "no such checkpoint" in message
    assert not (tmp_path / "out").exists()


def test_an_export_needs_a_run_and_a_folder(tiny_runs):
    assert command("export", "--run", tiny_runs.conv)[0] == 2


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", None])
def test_what_is_no_exported_network_is_a_checkpoint_error(tmp_path, content):
    path = tmp_path / "model.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read as an exported network"):
        load_network(path)


def test_foreign_safetensors_are_a_checkpoint_error(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read as an exported network"):
        load_network(tmp_path / "model.safetensors")


def test_a_folder_whose_name_is_not_text_is_written_to(tiny_runs, tmp_path):
    folder = tmp_path / os.fsdecode(b"exported\xff")
    code, _, message = command("export", "--run", tiny_runs.conv, "--out", folder)
    assert code == 0, message
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json", "model.pt2"}


def test_the_weights_may_be_read_by_whoever_may_read_their_neighbours(exported):
    modes = {path.name: path.stat().st_mode for path in exported["conv"].iterdir()}
    assert len(set(modes.values())) == 1, modes
