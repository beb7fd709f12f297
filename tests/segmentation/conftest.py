"""A tiny data set and a run of each head on it, made once for all tests that only read them."""

from types import SimpleNamespace

import pytest

from tests.segmentation.runs_for_tests import arguments, command, tiny_data


@pytest.fixture(scope="session")
def tiny_runs(tmp_path_factory):
    """`data` and the runs `conv`, `nerdm`, `nerdc`, trained for an epoch and evaluated on the test case; read only."""
    folder = tmp_path_factory.mktemp("tiny")
    data = tiny_data(folder / "data")
    runs = {head: folder / head for head in ("conv", "nerdm", "nerdc")}
    for head, run in runs.items():
        for words in (arguments(data, run, epochs=1, head=head), ("evaluate", "--run", run, "--data", data)):
            code, _, message = command(*words)
            assert code == 0, message
    return SimpleNamespace(data=data, **runs)
