"""The runner of `make gpu`, with parts that need no GPU."""

import sys

import pytest
import torch

from tests.gpu import lane


@pytest.mark.parametrize(("code", "expected"), [("print('done')", 0), ("raise SystemExit(3)", 3)])
def test_a_part_ends_with_its_exit_code_and_its_output_in_its_log(tmp_path, code, expected):
    ended = lane.run("part", [sys.executable, "-c", f"print('seen'); {code}"], 30, tmp_path)
    assert ended["exit_code"] == expected
    assert "seen" in (tmp_path / "part.log").read_text()


def test_a_part_past_its_limit_is_stopped_and_said_so(tmp_path):
    ended = lane.run("part", [sys.executable, "-c", "import time; time.sleep(60)"], 0.5, tmp_path)
    assert ended["exit_code"] == 124
    assert ended["seconds"] < 30


def test_without_a_gpu_the_lane_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["lane", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="needs a CUDA GPU"):
        lane.main()
    assert not (tmp_path / "out").exists()
