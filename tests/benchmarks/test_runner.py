"""A peer on the inputs of its case, as a GPU's peers are run: in this process, on inputs that rotate."""

import json

import pytest

from benchmarks import parity, peers, timing
from benchmarks.runner import Runner
from tests.benchmarks.tiny import CASE, CPU


def seeing(seen):
    """A maker of a peer that notes the features it is called with."""

    def make_peer(head):
        def call(x):
            seen.append(x)
            return head.module(x)

        return peers.Peer("fused", call, head.parameters)

    return make_peer


def runner(make_peer, copies=0):
    head = peers.make_head(CASE, CPU)
    x, grad = peers.make_inputs(CASE, CPU)
    bytes_of_inputs = 4 * (x.numel() + grad.numel())
    return Runner(make_peer, head, timing.rotated((x, grad), copies * bytes_of_inputs // timing.L2_MULTIPLE))


@pytest.mark.parametrize("name", ["conv1x1", "fused", "frozen"])
def test_it_is_held_against_the_oracle_of_its_case(name):
    oracle = parity.oracles(peers.make_head(CASE, CPU), peers.make_inputs(CASE, CPU), [name])[name]
    assert runner(peers.PEERS[name]).verify(oracle)["passed"]


def test_a_step_of_training_holds_the_logits_and_the_gradients():
    x, logits = 3 * 4 * 30, 3 * 2 * 30
    assert runner(peers.PEERS["conv1x1"]).peak_bytes("inference") >= 4 * logits
    assert runner(peers.PEERS["conv1x1"]).peak_bytes("training") >= 4 * (logits + x)


@pytest.mark.parametrize(("kind", "intervals"), [("training", 2), ("inference", 1)])
def test_a_round_is_timed_on_the_inputs_whose_turn_it_is(kind, intervals):
    seen = []
    rounds = runner(seeing(seen), copies=3)
    for turn in range(6):
        (device, host), took = rounds.round(kind, turn)
        assert len(device) == intervals
        assert host is None
        assert took >= sum(device) > 0
    inputs = [x.data_ptr() for x in seen]
    assert len(set(inputs)) > 1
    assert inputs[: len(set(inputs))] == list(dict.fromkeys(inputs))


def test_the_trace_of_a_training_step_is_written(tmp_path):
    runner(peers.PEERS["fused"]).trace(tmp_path / "new" / "fused.json")
    names = {event.get("name") for event in json.loads((tmp_path / "new" / "fused.json").read_text())["traceEvents"]}
    assert {"NeRDmFunction", "NeRDmFunctionBackward"} <= names  # eager steps leave the operators out
