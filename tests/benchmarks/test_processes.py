"""Every peer is checked in one process and timed in another, both its own; what happens there is told here."""

import os
import signal
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing

import pytest
import torch

from benchmarks import heads, parity, peers
from benchmarks.processes import RemoteRunner
from tests.benchmarks.tiny import CASE, CPU


def telling_its_process(head):
    """Fails with the number of its process in the message."""

    def call(x):
        raise RuntimeError(f"{os.getpid()} {torch.get_num_threads()}")

    return peers.Peer("fused", call, head.parameters)


def killed(head):
    return peers.Peer("fused", lambda x: os.kill(os.getpid(), signal.SIGKILL), head.parameters)


def remote(make_peer):
    return closing(RemoteRunner(make_peer, peers.make_head(CASE, CPU), [peers.make_inputs(CASE, CPU)]))


def process_of(ask, *arguments):
    """(process, threads) in which a runner of `telling_its_process` calls its peer."""
    with pytest.raises(RuntimeError) as caught:
        ask(*arguments)
    return tuple(map(int, str(caught.value).split()))


def test_a_peer_is_timed_where_it_was_not_checked_nor_any_other_timed():
    with remote(telling_its_process) as one, remote(telling_its_process) as other:
        checked = [process_of(r.peak_bytes, "training")[0] for r in (one, one, other)]
        timed = [process_of(r.round, "training", 0)[0] for r in (one, one, other)]
    for processes in (checked, timed):
        assert processes[0] == processes[1]
    assert len({*checked, *timed, os.getpid()}) == 5


def test_a_peer_computes_with_the_threads_of_this_process():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with remote(telling_its_process) as runner:
            assert process_of(runner.peak_bytes, "training")[1] == 1
    finally:
        torch.set_num_threads(threads)


def test_a_remote_peer_computes_on_the_head_and_inputs_that_are_here():
    head, inputs = peers.make_head(CASE, CPU), peers.make_inputs(CASE, CPU)
    with torch.no_grad():
        inputs[0].mul_(3)
        head.module.classifier.mul_(2)
    oracle = parity.oracles(head, inputs, ["fused"])["fused"]
    with closing(RemoteRunner(peers.PEERS["fused"], head, [inputs])) as runner:
        assert runner.verify(oracle)["passed"]


def test_no_process_outlives_its_runner():
    with remote(telling_its_process) as runner:
        process, _ = process_of(runner.peak_bytes, "training")
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_peer_whose_process_is_killed_keeps_its_row_and_the_others_their_figures(monkeypatch):
    monkeypatch.setitem(peers.PEERS, "fused", killed)
    rows, _ = heads.measure(CASE, ("conv1x1", "fused"), CPU, heads.Effort(0.01, 4, 2), copy_gbps=10.0)
    by_peer = {row["peer"]: row for row in rows}
    assert by_peer["fused"]["error"] == "its process ended (out of memory?)"
    assert by_peer["fused"]["modes"] == {}
    assert by_peer["conv1x1"]["modes"]


def test_a_broken_process_is_an_error_of_its_own():
    with remote(killed) as runner, pytest.raises(BrokenProcessPool):
        runner.peak_bytes("training")
