"""Every example runs as it stands. Those whose packages are absent are skipped by name."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NEEDS = {"own_loop_with_amp.py": (), "lightning_module.py": ("pytorch_lightning", "monai")}
OF_NETWORKS = {"smp_unet.py": "segmentation_models_pytorch", "hf_segformer.py": "transformers"}


def run(*command):
    """What a command prints, run in the checkout without the network or a GPU."""
    offline = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env={**os.environ, **offline}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def skip_without(*packages):
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS)
def test_an_example_runs_and_trains(name):
    skip_without(*NEEDS[name])
    assert re.search(r"loss \d+\.\d+", run(EXAMPLES / name))


@pytest.mark.networks
@pytest.mark.slow
@pytest.mark.parametrize("name", OF_NETWORKS)
def test_an_example_with_a_network_of_another_library_runs_and_trains(name):
    skip_without(OF_NETWORKS[name])
    assert re.search(r"loss \d+\.\d+", run("-m", "tests.torchvision_operators", EXAMPLES / name))


@pytest.mark.slow
def test_the_bundle_trains_a_network_with_a_head():
    skip_without("monai", "ignite", "fire")
    out = run("-m", "monai.bundle", "run", "--config_file", EXAMPLES / "monai_bundle" / "configs" / "train.json")
    assert "iterations 4 NeRDm" in out


@pytest.mark.slow
def test_windows_that_know_their_place_differ_from_a_plain_sliding_window():
    skip_without("monai")
    (difference,) = re.findall(r"differ by up to (\d\.\d+)", run(EXAMPLES / "windows_of_a_volume.py"))
    assert float(difference) > 0.01


@pytest.mark.slow
def test_the_trainer_for_nnunet_is_found_by_it():
    skip_without("nnunetv2")
    code = "import nnunet_trainer as mine; print(mine.nnUNetTrainerNeRDmDA5NoMirroring.head_class.__name__)"
    assert "NeRDm" in run("-c", f"import sys; sys.path.insert(0, {str(EXAMPLES)!r}); {code}")


def test_the_table_lists_every_example():
    listed = set(re.findall(r"\]\(([\w/]+(?:\.py)?)\)", (EXAMPLES / "README.md").read_text()))
    assert listed == {path.name for path in EXAMPLES.iterdir()} - {"README.md"}
