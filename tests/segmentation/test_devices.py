"""Two processes that share a batch end with the weights of one process that has it whole."""

import subprocess
import sys

import pytest
import torch

from nerd_fast.segmentation.commands import train
from tests.segmentation.runs_for_tests import arguments, log_of, tiny_config, tiny_data

# Each process normalises over, and takes the Dice of, what it has; these two do not depend on the rest of the batch.
APART = {"loss": "entropy", "normalisation": "instance", "head": "nerdm"}


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    data = tiny_data(tmp_path / "data")
    words = arguments(data, tmp_path / "two", batch_size=2, devices=2, **APART)
    two = subprocess.run(
        [sys.executable, "-m", "nerd_fast", *map(str, words)], capture_output=True, text=True, check=False, timeout=300
    )
    assert two.returncode == 0, two.stderr
    train(tiny_config(data, tmp_path / "one", batch_size=4, **APART))
    one, two = (torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"] for name in ("one", "two"))
    for name, weight in one.items():
        # Adam's first steps are as large for a gradient of rounding errors as for any other: 6 steps of up to 1e-3.
        assert torch.allclose(two[name], weight, rtol=0, atol=2e-4), name
    for alone, shared in zip(log_of(tmp_path / "one")[1:], log_of(tmp_path / "two")[1:], strict=True):
        assert alone[:3] == shared[:3]
        assert float(alone[3]) == pytest.approx(float(shared[3]), rel=1e-4)
