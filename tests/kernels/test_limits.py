"""`supports` tells what the kernels can run without Triton, in one sentence."""

import subprocess
import sys

import pytest
import torch

from nerd_fast.kernels import supports

HEAD = {
    "variant": "nerdm",
    "spatial_dims": 2,
    "in_channels": 16,
    "out_channels": 1,
    "hidden_channels": (32, 32),
    "activation": "relu",
    "dtype": torch.float32,
    "precision": "ieee",
    "capability": (9, 0),
}


@pytest.mark.parametrize("variant", ["nerdm", "nerdc"])
@pytest.mark.parametrize(
    "head",
    [
        {},
        {"in_channels": 32, "hidden_channels": (64, 64)},
        {"in_channels": 32, "out_channels": 14},
        {"in_channels": 256, "out_channels": 64, "hidden_channels": (128,) * 4},
        {"in_channels": 1, "hidden_channels": (8,), "spatial_dims": 3},
        {"dtype": torch.bfloat16, "precision": "tf32", "capability": (7, 5)},
        {"dtype": torch.float16, "precision": "tf32x3", "capability": None},
    ],
)
def test_heads_in_reach(variant, head):
    assert supports(**{**HEAD, **head, "variant": variant}) is None


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ({"in_channels": 257}, "257"),
        ({"out_channels": 65}, "65"),
        ({"hidden_channels": (32, 129)}, "129"),
        ({"hidden_channels": (4,)}, "8 to 128"),
        ({"hidden_channels": ()}, "1 to 4 layers"),
        ({"hidden_channels": (16,) * 5}, "1 to 4 layers"),
        ({"activation": "gelu"}, "gelu"),
        ({"dtype": torch.float64}, "float64"),
        ({"precision": "bf16x3"}, "bf16x3"),
        ({"spatial_dims": 1}, "2 or 3"),
        ({"capability": (7, 0)}, "7.5"),
    ],
)
def test_heads_out_of_reach_are_told_why(head, told):
    reason = supports(**{**HEAD, **head})
    assert told in reason
    assert "\n" not in reason


def test_asking_needs_no_triton():
    code = "import sys; sys.modules['triton'] = None; from nerd_fast.kernels import supports; print(supports.__name__)"
    assert (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "supports\n"
    )
