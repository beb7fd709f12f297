"""The first call is measured in a process of its own, with the cache that was asked for."""

import json
from types import SimpleNamespace

import pytest
import torch

from benchmarks import cold_start


def test_empty_and_warm_are_one_folder_in_turn_and_the_median_is_kept(monkeypatch):
    seconds = iter([4.0, 0.2, 6.0, 0.1, 5.0, 0.3])
    folders = []

    def process(command, *, env, **_):
        folders.append(env["TRITON_CACHE_DIR"])
        return SimpleNamespace(returncode=0, stdout=json.dumps({"seconds": next(seconds), "import_seconds": 0.1}))

    monkeypatch.setattr(cold_start.subprocess, "run", process)
    rows = cold_start.measure(torch.device("cuda"))
    assert [(row["cache"], row["seconds"]) for row in rows] == [("empty", 5.0), ("warm", 0.2)]
    assert folders[0::2] == folders[1::2]
    assert len(set(folders)) == 3


def test_a_process_that_fails_says_why(monkeypatch):
    failed = SimpleNamespace(returncode=1, stderr="no kernel")
    monkeypatch.setattr(cold_start.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match="no kernel"):
        cold_start.measure(torch.device("cpu"))


@pytest.mark.slow
def test_the_process_itself_answers():
    (row,) = cold_start.measure(torch.device("cpu"), runs=1)
    assert row["cache"] == "none"
    assert row["seconds"] > 0
