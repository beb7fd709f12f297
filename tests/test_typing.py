"""What a user's type checker makes of the public API."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = """
import torch
from torch import nn

import nerd_fast

class Net(nn.Module):
    head: nn.Module

net: Net = nerd_fast.replace_head(Net(), nerd_fast.NeRDm, path="head", hidden_channels=(64, 64))
head = nerd_fast.NeRDc.from_conv(nn.Conv2d(16, 2, 1), activation="silu", backend="reference")
with nerd_fast.placed(net, [(0, 0), (8, 8)], (64, 64)) as same:
    reveal_type(same)
reveal_type(head)
reveal_type(head.position_map((4, 4)))
reveal_type(nerd_fast.boundary_distances((4, 4)))
nerd_fast.NeRDm(16, hidden_chanels=(8,))
nerd_fast.NeRDNorm(16, activation="gelu")
nerd_fast.replace_head(net, nerd_fast.NeRDm, backend="cuda")
"""
EXPECTED = [
    'note: Revealed type is "Net"',
    'note: Revealed type is "nerd_fast.heads.NeRDc"',
    'note: Revealed type is "tuple[torch._tensor.Tensor, torch._tensor.Tensor]"',
    'note: Revealed type is "torch._tensor.Tensor"',
    'error: Unexpected keyword argument "hidden_chanels" for "NeRDm"; did you mean "hidden_channels"?',
    'error: Argument "activation" to "NeRDNorm" has incompatible type',
    'error: Argument "backend" to "replace_head" has incompatible type',
]


@pytest.mark.slow
def test_a_users_checker_sees_types_and_misspelt_keywords(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "program.py").write_text(PROGRAM)
    checker = [sys.executable, "-m", "mypy", str(tmp_path / "program.py")]  # strict, and on the cache that `mypy` left
    found = subprocess.run(checker, check=False, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    lines = [line for line in found if "note: Revealed" in line or "error:" in line]
    assert len(lines) == len(EXPECTED), "\n".join(found)
    for line, expected in zip(lines, EXPECTED, strict=True):
        assert expected in line.replace("program.", "").replace("builtins.", "")
