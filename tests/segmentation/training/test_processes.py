"""Processes that a cluster starts train as one, and none of them waits for one that has failed."""

import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from nerd_fast.segmentation.base.errors import DataError, UsageError
from nerd_fast.segmentation.training.processes import none_alone, peers_may_end
from tests.segmentation.runs_for_tests import arguments, log_of

SRUN = (
    ["SLURM_NTASKS=2", "SLURM_NTASKS_PER_NODE=2", "SLURM_JOB_NUM_NODES=1", "SLURM_NODEID=0", "SLURM_JOB_NAME=train"],
    ["SLURM_PROCID", "SLURM_LOCALID"],
    {"devices": 2},
)
TORCHRUN_ON_TWO_NODES = (
    ["WORLD_SIZE=2", "LOCAL_WORLD_SIZE=1", "LOCAL_RANK=0", "TORCHELASTIC_RUN_ID=train"],
    ["RANK", "GROUP_RANK"],
    {"devices": 1, "num_nodes": 2},
)


def start(launcher, number, port, data, out, epochs=1):
    """The process of this number, with the variables that the launcher sets."""
    shared, ranks, options = launcher
    variables = dict(word.split("=") for word in shared) | {name: str(number) for name in ranks}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    words = map(str, arguments(data, out, batch_size=2, epochs=epochs, **options))
    return subprocess.Popen(
        [sys.executable, "-m", "nerd_fast", *words],
        env={**os.environ, **meeting, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def ends(launcher, data, out):
    """(exit code, standard output, standard error) of both processes; `data` names a folder for each."""
    port = free_port()
    processes = [start(launcher, number, port, folder, out) for number, folder in enumerate(data)]
    try:
        said = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *words) for process, words in zip(processes, said, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [SRUN, TORCHRUN_ON_TWO_NODES], ids=["srun", "torchrun"])
def test_two_processes_train_one_run_of_which_the_first_tells(launcher, data, tmp_path):
    first, second = ends(launcher, [data, data], tmp_path / "run")
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert "epoch   1/1" in first[1]
    assert second[1] == ""
    assert log_of(tmp_path / "run")[1][:2] == ["1", "3"]  # 12 slices in batches of two from each of two processes


@pytest.mark.slow
def test_a_process_that_cannot_read_its_data_does_not_leave_the_other_waiting(data, tmp_path):
    first, second = ends(TORCHRUN_ON_TWO_NODES, [data, tmp_path / "nowhere"], tmp_path / "run")
    assert (first[0], second[0]) == (2, 3)
    assert "another process of this run failed" in first[2]
    assert "nowhere: no such folder" in second[2]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_killed_in_mid_training_ends_the_other_which_says_so(killed, data, tmp_path):
    port = free_port()
    processes = [start(SRUN, number, port, data, tmp_path / "run", epochs=10_000) for number in (0, 1)]
    try:
        assert any("epoch   " in line for line in processes[0].stdout)  # comes when the first epoch has ended
        processes[killed].kill()
        _, said = processes[1 - killed].communicate(timeout=300)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert processes[1 - killed].returncode == 2, said
    assert "another process of this run has ended" in said
    assert "Traceback" not in said


def alone(**options):
    return SimpleNamespace(strategy=SimpleNamespace(launcher=None, **options), world_size=1)


def test_a_process_alone_raises_what_it_raised():
    with pytest.raises(DataError, match="what"), none_alone(alone()):
        raise DataError("what")


def test_processes_are_not_started_for_a_run_that_cannot_be_trained():
    launcher = SimpleNamespace(launch=lambda *_, **__: pytest.fail("started"))
    strategy = SimpleNamespace(
        launcher=launcher, cluster_environment=SimpleNamespace(creates_processes_externally=False)
    )
    with pytest.raises(DataError, match="what"), none_alone(SimpleNamespace(strategy=strategy)):
        raise DataError("what")


@pytest.mark.parametrize(
    ("error", "processes", "raised"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1"), 2, UsageError),
        (RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1"), 1, RuntimeError),
        (RuntimeError("shapes do not fit"), 2, RuntimeError),
    ],
)
def test_a_peer_that_has_ended_is_told_in_a_line(error, processes, raised):
    with pytest.raises(raised), peers_may_end(SimpleNamespace(world_size=processes)):
        raise error
