"""A tiny data set and a run of each head on it, made once for all tests that only read them."""

import shutil
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


@pytest.fixture(scope="session")
def data(tiny_runs):
    """The tiny data set; read only."""
    return tiny_runs.data


@pytest.fixture(scope="session")
def run(tiny_runs):
    """The run with NeRDm; read only."""
    return tiny_runs.nerdm


@pytest.fixture
def copy(data, tmp_path):
    """A copy of the data, to be damaged."""
    return shutil.copytree(data, tmp_path / "copy")


@pytest.fixture
def copied_run(run, tmp_path):
    return shutil.copytree(run, tmp_path / "copied run")
