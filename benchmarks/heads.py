"""The rows of one case: every peer through the parity gate, then its times, memory and bandwidth."""

import gc
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks import bandwidth, parity, peers, timing
from benchmarks.processes import RemoteRunner
from benchmarks.runner import Runner


@dataclass(frozen=True)
class Effort:
    """How long to measure: seconds and rounds per peer of a training step (a third of the seconds for inference)."""

    seconds: float
    rounds: int
    least: int = 5
    warmup: int = 3
    kinds: tuple[str, ...] = ("training", "inference")


BURST = {"cpu": 4, "cuda": 1}
FULL = Effort(seconds=0.8, rounds=32, least=4, warmup=2)
BRIEF = Effort(seconds=0.4, rounds=16, least=3, warmup=2)
QUICK = Effort(seconds=0.5, rounds=12, least=3)


def measure(case, names, device, effort, copy_gbps, trace_path=None):
    """A row (a dict, as a results file keeps it) per peer of `names`, and {peer: {mode: Times}}, measured together.

    A peer that fails the parity gate or runs out of memory keeps its row, with the error and without any figure. Where
    `trace_path(peer)` is given, every peer that passed and can be trained writes a trace there.
    """
    rows = {name: _row(case, name) for name in names}
    head, inputs = peers.make_head(case, device), peers.make_inputs(case, device)
    with _runners(names, head, inputs) as runners:
        _check(rows, runners, parity.oracles(head, inputs, names), effort.kinds)
        gc.collect()
        passed = {name: runner for name, runner in runners.items() if rows[name]["memory_mib"] is not None}
        for name in (name for name in passed if trace_path is not None and "training" in peers.modes_of(name)):
            passed[name].trace(trace_path(name))
        times = _times(passed, device, effort)
    for name, modes in times.items():
        rows[name]["modes"] = {mode: figures(case, mode, modes[mode], copy_gbps) for mode in modes}
    return list(rows.values()), times


def figures(case, mode, times, copy_gbps):
    """The figures of one mode from its `Times`: milliseconds, GB/s of the necessary bytes, share of the copy's."""
    median, low, high = timing.quantiles(times.device)
    gbps = bandwidth.necessary_bytes(case, mode) / (median * 1e6)
    return {
        "median_ms": median,
        "q20_ms": low,
        "q80_ms": high,
        "rounds": len(times.device),
        "host_ms": timing.quantiles(times.host)[0] if times.host else None,
        "gbps": round(gbps, 2),
        "share": round(gbps / copy_gbps, 4),
    }


def _row(case, name):
    workload = case.workload
    return {
        "workload": workload.name,
        "batch": workload.batch,
        "channels": workload.channels,
        "labels": workload.labels,
        "spatial": list(workload.spatial),
        "cut": workload.cut,
        "dtype": case.dtype,
        "layout": case.layout,
        "hidden": list(case.hidden),
        "peer": name,
        "parity": None,
        "error": None,
        "memory_mib": None,
        "modes": {},
    }


@contextmanager
def _runners(names, head, inputs):
    """{peer: Runner}: on a CPU each in processes of its own, on CUDA in this one, on inputs whose copies rotate."""
    with ExitStack() as stack:
        if head.device.type == "cpu":
            make_runner, turning = lambda *arguments: stack.enter_context(closing(RemoteRunner(*arguments))), [inputs]
        else:
            torch._dynamo.reset()  # what was compiled for another case must not make this one's shapes dynamic
            make_runner, turning = Runner, timing.rotated(inputs, timing.cache_bytes(head.device))
        yield {name: make_runner(peers.PEERS[name], head, turning) for name in names}


def _check(rows, runners, oracles, kinds):
    """Puts every peer through the gate and on the scales, into its row."""

    def check(name):
        _check_one(rows[name], runners[name], oracles[name], [kind for kind in kinds if kind in peers.modes_of(name)])

    _side_by_side(check, runners)


def _check_one(row, runner, oracle, kinds):
    try:
        row["parity"] = runner.verify(oracle)
        if row["parity"]["passed"]:
            row["memory_mib"] = {kind: round(runner.peak_bytes(kind) / 2**20, 3) for kind in kinds}
    except torch.OutOfMemoryError:
        row["error"] = "out of memory"
    except BrokenProcessPool:
        row["error"] = "its process ended (out of memory?)"


def _times(runners, device, effort):
    """{peer: {mode: Times}}: training rounds of all peers in turn, then inference rounds."""
    options = {"rounds": effort.rounds, "least": effort.least, "warmup": effort.warmup, "burst": BURST[device.type]}
    modes = {name: {} for name in runners}
    for kind in effort.kinds:
        seconds = effort.seconds / 3 if kind == "inference" else effort.seconds
        runs = {name: partial(runner.round, kind) for name, runner in runners.items() if kind in peers.modes_of(name)}
        _side_by_side(lambda name, runs=runs: runs[name](0), {name: runners[name] for name in runs})  # compilation
        for name, taken in timing.interleave(runs, seconds=seconds, **options).items():
            modes[name] |= timing.by_mode(taken)
    return modes


def _side_by_side(call, runners):
    """Calls `call(name)` for every runner: two at once where each has a process of its own."""
    if all(isinstance(runner, RemoteRunner) for runner in runners.values()):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(call, runners))
    else:
        for name in runners:
            call(name)
