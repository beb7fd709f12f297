"""The rows of one case: every peer through the parity gate, then its times, memory and bandwidth."""

import gc
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
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
FULL = Effort(seconds=1.0, rounds=40, least=4, warmup=1)
BRIEF = Effort(seconds=0.4, rounds=16, least=3, warmup=1)
QUICK = Effort(seconds=0.5, rounds=12, least=3)


def measure(case, names, device, effort, copy_gbps, trace_path=None):
    """A row (a dict, as a results file keeps it) per peer of `names`, and {peer: {mode: Times}}, measured together.

    float32 convolutions are float32, which for a 1x1 convolution, bound by memory, costs nothing; in tf32, which cuDNN
    may take by default, conv1x1 is off by 4e-4 and would fail the gate.

    A peer that fails the parity gate or runs out of memory keeps its row, with the error and without any figure. Where
    `trace_path(peer)` is given, every peer that passed and can be trained writes a trace there.
    """
    rows = {name: _row(case, name) for name in names}
    head, inputs = peers.make_head(case, device), peers.make_inputs(case, device)
    with float32_convolutions(), _runners(names, head, inputs) as runners:
        _check(rows, runners, parity.oracles(head, inputs, names), effort.kinds, device)
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
    summary = timing.summary(times.device)
    gbps = bandwidth.necessary_bytes(case, mode) / (summary["median_ms"] * 1e6)
    return {
        **summary,
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
def float32_convolutions():
    """Keeps cuDNN from tf32. By the older of PyTorch's two settings: the newer makes readers of the older raise."""
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = allowed


@contextmanager
def _runners(names, head, inputs):
    """{peer: Runner}: on a CPU each in processes of its own, on CUDA in this one, on inputs whose copies rotate."""
    if head.device.type == "cuda":
        torch._dynamo.reset()  # what was compiled for another case must not make this one's shapes dynamic
        turning = timing.rotated(inputs, timing.cache_bytes(head.device))
        yield {name: Runner(peers.PEERS[name], head, turning) for name in names}
        return
    runners = {name: RemoteRunner(peers.PEERS[name], head, [inputs]) for name in names}
    try:
        yield runners
    finally:
        for runner in runners.values():
            runner.close()


def _check(rows, runners, oracles, kinds, device):
    """Puts every peer through the gate and on the scales, into its row."""

    def check(name):
        row, runner = rows[name], runners[name]
        try:
            row["parity"] = runner.verify(oracles[name])
            if row["parity"]["passed"]:
                peaks = {kind: runner.peak_bytes(kind) for kind in kinds if kind in peers.modes_of(name)}
                row["memory_mib"] = {kind: round(peak / 2**20, 3) for kind, peak in peaks.items()}
        except torch.OutOfMemoryError:
            row["error"] = "out of memory"
        except BrokenProcessPool:
            row["error"] = "its process ended (out of memory?)"

    _call_all([partial(check, name) for name in runners], device)


def _times(runners, device, effort):
    """{peer: {mode: Times}}: training rounds of all peers in turn, then inference rounds."""
    options = {"rounds": effort.rounds, "least": effort.least, "warmup": effort.warmup, "burst": BURST[device.type]}
    modes = {name: {} for name in runners}
    for kind in effort.kinds:
        seconds = effort.seconds / 3 if kind == "inference" else effort.seconds
        runs = {name: partial(runner.round, kind) for name, runner in runners.items() if kind in peers.modes_of(name)}
        _call_all([partial(run, 0) for run in runs.values()], device)  # processes start, compiled peers compile
        for name, taken in timing.interleave(runs, seconds=seconds, **options).items():
            modes[name] |= timing.by_mode(taken)
    return modes


def _call_all(calls, device):
    """Makes every call: on a CPU, where each peer has processes of its own, two at once."""
    if device.type == "cuda":
        for call in calls:
            call()
        return
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(call) for call in calls]:
            done.result()
