"""How long a step takes: peers in turn, round after round, so that all of them see the same machine.

On a CPU wall time; on CUDA events around work that is already queued, so that the device's time is not the host's,
with the host's own time of the call beside it.
"""

import math
import random
import statistics
import time
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch

BACKLOG_CYCLES = 4_000_000  # a GPU spins for about 2 ms while the host queues the step behind it
L2_MULTIPLE = 3  # the rotated inputs exceed the L2 cache this many times
SETTLE_SECONDS = 0.02  # longer than an idle OpenMP thread spins before it sleeps
SETTLED_SECONDS = 0.2  # a round of this length hardly notices what it begins with


@dataclass
class Times:
    """Seconds of each round, on the device and, on CUDA, of the host's call (None on a CPU)."""

    device: list
    host: list | None


class WallClock:
    """A CPU: what the caller waits for."""

    def start(self):
        pass

    def mark(self):
        return time.perf_counter()

    def intervals(self, marks):
        """Seconds between neighbouring marks: on the device, and None for the host that is the device."""
        return _differences(marks), None


class SynchronisedClock(WallClock):
    """A CUDA device as the caller sees it: wall time, the device's work included."""

    def mark(self):
        torch.cuda.synchronize()
        return time.perf_counter()


class EventClock:
    """A CUDA device: events in its stream, behind a backlog that hides the host's launches."""

    def start(self):
        torch.cuda.synchronize()
        torch.cuda._sleep(BACKLOG_CYCLES)

    def mark(self):
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event, time.perf_counter()

    def intervals(self, marks):
        """Seconds between neighbouring marks, on the device and on the host."""
        torch.cuda.synchronize()
        events, host = zip(*marks, strict=True)
        device = [a.elapsed_time(b) / 1e3 for a, b in pairwise(events)]
        return device, _differences(host)


def clock_of(device):
    return EventClock() if device.type == "cuda" else WallClock()


def training_step(peer, inputs):
    """A step that marks its begin, the end of forward and the end of backward; inputs rotate with the turn."""

    def step(turn, mark):
        x, grad = inputs[turn % len(inputs)]
        begin = mark()
        logits = peer.call(x)
        middle = mark()
        gradients = torch.autograd.grad(logits, [x, *peer.parameters], grad)
        end = mark()
        del gradients
        return begin, middle, end

    return step


def inference_step(peer, inputs):
    """A forward pass without gradients, between two marks."""

    def step(turn, mark):
        x, _ = inputs[turn % len(inputs)]
        with torch.no_grad():
            begin = mark()
            logits = peer.call(x)
            end = mark()
        del logits
        return begin, end

    return step


def timed(step, clock, turn):
    """The intervals (device, host) of one round of a step, and the seconds that measuring them took."""
    begin = time.perf_counter()
    clock.start()
    intervals = clock.intervals(step(turn, clock.mark))
    return intervals, time.perf_counter() - begin


def interleave(runs, *, seconds, rounds, least=5, warmup=3, burst=1):
    """Calls every `run(turn)` of {name: run} in turn and returns {name: [intervals of each round]}.

    The order is drawn anew for every turn, from the same seed: what a run finds in the caches and in the system's free
    memory is what the run before it has left there.

    A run returns what `timed` does. At most `rounds` rounds. One that would spend more than `seconds` sits out evenly
    spread rounds, but runs at least `least` times. `warmup` rounds go first, uncounted; a run that has spent `seconds`
    on them is warm.

    With a `burst` above 1 a turn is that many rounds in a row, and uncounted ones for SETTLE_SECONDS come before those
    of a run that is not slow: a peer in a process of its own then finds its data in the CPU's cache, as in a loop of
    training, and no thread of its neighbour still spinning.
    """
    lasted = {name: _warm_up(run, seconds, warmup) for name, run in runs.items()}
    taken = {name: [] for name in runs}
    spent = dict.fromkeys(runs, 0.0)
    draw = random.Random(0)
    for turn in range(0, rounds, burst):
        for name, run in draw.sample(list(runs.items()), len(runs)):
            due = _is_due(taken[name], spent[name], turn, seconds, rounds, least)
            if due and burst > 1 and lasted[name] < SETTLED_SECONDS:
                spent[name] += _settled(run, turn)
            for each in range(turn, min(turn + burst, rounds)):
                if _is_due(taken[name], spent[name], each, seconds, rounds, least):
                    intervals, took = run(each)
                    taken[name].append(intervals)
                    spent[name] += took
    return taken


def _is_due(taken, spent, turn, seconds, rounds, least):
    share = (turn + 1) / rounds
    return len(taken) < least * share or spent <= seconds * share


def _warm_up(run, seconds, rounds):
    """Runs that many rounds, fewer where they take longer than `seconds`; returns the seconds of the last."""
    spent = lasted = 0.0
    for _ in range(rounds):
        if spent > seconds:
            break
        lasted = run(0)[1]
        spent += lasted
    return lasted


def _settled(run, turn):
    spent = 0.0
    while spent < SETTLE_SECONDS:
        spent += run(turn)[1]
    return spent


def by_mode(taken):
    """{mode: Times} of intervals from `training_step` (two of them) or `inference_step` (one)."""
    device = list(zip(*(d for d, _ in taken), strict=True))
    host = list(zip(*(h for _, h in taken), strict=True)) if taken[0][1] is not None else [None] * len(device)
    if len(device) == 1:
        return {"inference": Times(list(device[0]), host[0] and list(host[0]))}
    modes = {"forward": Times(list(device[0]), host[0]), "backward": Times(list(device[1]), host[1])}
    both = [a + b for a, b in zip(*device, strict=True)]
    modes["training"] = Times(both, [a + b for a, b in zip(*host, strict=True)] if host[0] else None)
    return modes


def rotated(inputs, cache_bytes):
    """Copies of (x, grad) that together exceed the cache L2_MULTIPLE times: no call finds its input there."""
    x, grad = inputs
    size = x.numel() * x.element_size() + grad.numel() * grad.element_size()
    copies = [(x.detach().clone().requires_grad_(), grad.clone()) for _ in range(L2_MULTIPLE * cache_bytes // size)]
    return [inputs, *copies]


def cache_bytes(device):
    """The L2 cache of a GPU in bytes; 0 on a CPU, where the peers that run in between do the flushing."""
    return torch.cuda.get_device_properties(device).L2_cache_size if device.type == "cuda" else 0


def quantiles(seconds):
    """Median, 20 % and 80 % quantile of a list of times, in milliseconds."""
    values = torch.tensor(seconds, dtype=torch.float64) * 1e3
    return [round(q, 5) for q in values.quantile(torch.tensor([0.5, 0.2, 0.8], dtype=torch.float64)).tolist()]


def summary(seconds):
    """What a row says of its times: median and 20/80 % quantiles, the uncertainty of the median, how many there are."""
    median, low, high = quantiles(seconds)
    return {
        "median_ms": median,
        "q20_ms": low,
        "q80_ms": high,
        "uncertainty": round(uncertainty(seconds), 4),
        "rounds": len(seconds),
    }


def uncertainty(seconds):
    """How far the median of a list of times may be off: half its 95 % confidence interval, relative to it.

    The interval is that between two of the ordered times, whatever their distribution: how many of n independent times
    lie below the true median is binomial (n, 1/2). Of fewer than six times it is their whole range, with a confidence
    of 94 % for five, 88 % for four and 75 % for three. Two runs on a machine that stays as it is differ by less than
    sqrt(2) times this, 19 times in 20.
    """
    ordered, rounds = sorted(seconds), len(seconds)
    tails = accumulate(math.comb(rounds, below) for below in range(rounds))
    left_out = max(0, sum(tail <= 0.025 * 2**rounds for tail in tails) - 1)
    return (ordered[-1 - left_out] - ordered[left_out]) / 2 / statistics.median(ordered)


def _differences(marks):
    return [b - a for a, b in pairwise(marks)]
