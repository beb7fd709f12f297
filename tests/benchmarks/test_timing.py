"""Peers take turns, slow ones fewer; times come from the right clock."""

import math
import random
import statistics
from functools import partial
from itertools import pairwise, product

import pytest
import torch

from benchmarks import timing


class FakeClock:
    """A clock that advances only when a step tells it to."""

    def __init__(self):
        self.now = 0.0

    def start(self):
        pass

    def mark(self):
        return self.now

    def intervals(self, marks):
        return timing._differences(marks), None


def run_of(clock, name, seconds, log):
    def step(turn, mark):
        log.append((turn, name))
        begin = mark()
        clock.now += seconds
        return begin, mark()

    return partial(timing.timed, step, clock)


def either(a, b):
    return a + b, b + a


@pytest.fixture
def clock(monkeypatch):
    clock = FakeClock()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock.now)
    return clock


def test_peers_take_turns_within_each_round(clock):
    log = []
    runs = {name: run_of(clock, name, 0.1, log) for name in "abc"}
    taken = timing.interleave(runs, seconds=10, rounds=4, warmup=0)
    assert [turn for turn, _ in log] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [intervals[0] for intervals, _ in taken["b"]] == pytest.approx([0.1] * 4)


def test_every_peer_follows_every_other(clock):
    log = []
    timing.interleave({name: run_of(clock, name, 0.1, log) for name in "abc"}, seconds=10, rounds=32, warmup=0)
    names = "".join(name for _, name in log)
    assert all(sorted(names[turn : turn + 3]) == ["a", "b", "c"] for turn in range(0, len(names), 3))
    assert {a + b for a, b in pairwise(names) if a != b} == {"ab", "ac", "ba", "bc", "ca", "cb"}


def test_a_burst_begins_with_uncounted_rounds_until_it_has_settled(clock):
    log = []
    runs = {
        "a": run_of(clock, "a", 1.1 * timing.SETTLE_SECONDS, log),
        "b": run_of(clock, "b", 0.6 * timing.SETTLE_SECONDS, log),
    }
    taken = timing.interleave(runs, seconds=10, rounds=6, warmup=0, burst=4)
    names = "".join(name for _, name in log)
    assert names in ("".join(turns) for turns in product(either("aaaaa", "bbbbbb"), either("aaa", "bbbb")))
    assert [len(rounds) for rounds in taken.values()] == [6, 6]


def test_a_slow_run_has_no_uncounted_rounds_but_its_warm_up(clock):
    log = []
    runs = {"a": run_of(clock, "a", timing.SETTLED_SECONDS, log)}
    taken = timing.interleave(runs, seconds=10, rounds=6, warmup=1, burst=4)
    assert len(log) - len(taken["a"]) == 1


def test_a_slow_peer_sits_out_spread_rounds_but_runs_the_least(clock):
    log = []
    runs = {"fast": run_of(clock, "fast", 0.01, log), "slow": run_of(clock, "slow", 3.0, log)}
    taken = timing.interleave(runs, seconds=1, rounds=40, least=5, warmup=0)
    assert len(taken["fast"]) == 40
    turns = [turn for turn, name in log if name == "slow"]
    assert len(turns) == 5
    assert max(b - a for a, b in pairwise(turns)) <= 10


def test_warm_up_rounds_are_not_counted(clock):
    log = []
    taken = timing.interleave({"a": run_of(clock, "a", 0.1, log)}, seconds=10, rounds=6, warmup=3)
    assert len(log) == 9
    assert len(taken["a"]) == 6


def test_a_slow_step_is_warm_once_it_has_spent_its_seconds(clock):
    log = []
    taken = timing.interleave({"a": run_of(clock, "a", 3.0, log)}, seconds=1, rounds=6, least=2, warmup=3)
    assert len(log) - len(taken["a"]) == 1


def test_training_is_forward_plus_backward():
    modes = timing.by_mode([([1.0, 2.0], [0.1, 0.2]), ([3.0, 4.0], [0.3, 0.4])])
    assert modes["forward"].device == [1.0, 3.0]
    assert modes["backward"].device == [2.0, 4.0]
    assert modes["training"].device == [3.0, 7.0]
    assert modes["training"].host == pytest.approx([0.3, 0.7])


def test_quantiles_are_in_milliseconds():
    assert timing.quantiles([0.001 * n for n in range(1, 12)]) == pytest.approx([6, 3, 9])


def test_the_uncertainty_of_a_median_lies_between_two_of_the_ordered_times():
    times = [0.01 * n for n in range(92, 109)]  # 17 times, median 1; P(Bin(17, 1/2) <= 4) = 0.0245
    assert timing.uncertainty(times) == pytest.approx(0.04)
    assert timing.uncertainty(times[::-1]) == pytest.approx(0.04)


def test_the_uncertainty_of_four_times_is_their_range():
    assert timing.uncertainty([1.1, 1.0, 0.9, 1.0]) == pytest.approx(0.1)


@pytest.mark.parametrize("rounds", [6, 20, 64])
def test_two_runs_differ_by_less_than_their_uncertainties_19_times_in_20(rounds):
    draw = random.Random(0).lognormvariate
    runs = [[draw(0, 0.1) for _ in range(rounds)] for _ in range(1000)]
    medians, uncertain = map(statistics.median, runs), map(timing.uncertainty, runs)
    told = list(zip(medians, uncertain, strict=True))
    within = [abs(a / b - 1) < math.hypot(u, v) for (a, u), (b, v) in zip(told[::2], told[1::2], strict=True)]
    assert sum(within) >= 0.95 * len(within)


def test_rotated_inputs_exceed_the_cache_three_times_and_equal_the_first():
    x, grad = torch.randn(1, 2, 16, 16, requires_grad=True), torch.randn(1, 1, 16, 16)
    turning = timing.rotated((x, grad), cache_bytes=10_000)
    others = turning[1:]
    assert sum(4 * (a.numel() + b.numel()) for a, b in turning) > 3 * 10_000
    assert all(torch.equal(a, x) and a.requires_grad and a.data_ptr() != x.data_ptr() for a, _ in others)


def test_the_event_clock_tells_device_time_and_host_time_apart(monkeypatch):
    stream = {"queued": 0.0}

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = stream["queued"]

        def elapsed_time(self, other):
            return other.at - self.at

    slept = []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "_sleep", slept.append)
    clock = timing.EventClock()

    def step(turn, mark):
        begin = mark()
        stream["queued"] += 8.0  # milliseconds of device work that the host does not wait for
        return begin, mark()

    (device, host), *_ = timing.interleave({"a": partial(timing.timed, step, clock)}, seconds=1, rounds=3, warmup=0)[
        "a"
    ]
    assert device == pytest.approx([0.008])
    assert host[0] < 0.008
    assert slept == [timing.BACKLOG_CYCLES] * 3
