"""Two processes that share a batch end where one process that has it whole ends."""

import subprocess
import sys

import pytest
import torch

from nerd_fast.segmentation.commands.train import train
from nerd_fast.segmentation.network.network import build_network
from tests.segmentation.runs_for_tests import arguments, log_of, tiny_config, tiny_data

# Each process normalises over, and takes the Dice of, what it has; these two do not depend on the rest of the batch.
APART = {"loss": "entropy", "normalisation": "instance", "head": "nerdm"}


def flat(weights):
    """All weights in one vector, but for those before a normalisation whose gradient is nothing but rounding errors."""
    return torch.cat([weights[name].flatten() for name in sorted(weights) if not name.endswith(".conv.bias")])


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    data = tiny_data(tmp_path / "data")
    words = arguments(data, tmp_path / "two", batch_size=2, devices=2, **APART)
    two = subprocess.run(
        [sys.executable, "-m", "nerd_fast", *map(str, words)], capture_output=True, text=True, check=False, timeout=300
    )
    assert two.returncode == 0, two.stderr
    config = tiny_config(data, tmp_path / "one", batch_size=4, **APART)
    train(config)

    for alone, shared in zip(log_of(tmp_path / "one")[1:], log_of(tmp_path / "two")[1:], strict=True):
        assert alone[:3] == shared[:3]
        assert float(shared[3]) == pytest.approx(float(alone[3]), rel=1e-5)
    one, two = (torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"] for name in ("one", "two"))
    torch.manual_seed(config.seed)
    start = {f"network.{name}": value for name, value in build_network(config, 2, 1).state_dict().items()}
    # Adam takes whole steps for gradients of any size, so that weights may part where hardly anything pulls at them.
    assert (flat(two) - flat(one)).norm() < 0.02 * (flat(one) - flat(start)).norm()
