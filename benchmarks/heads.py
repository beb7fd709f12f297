"""The rows of one case: every peer through the parity gate, then its times, memory and bandwidth."""

import gc
from dataclasses import dataclass

import torch

from benchmarks import bandwidth, memory, parity, peers, timing


@dataclass(frozen=True)
class Effort:
    """How long to measure: seconds and rounds per peer of a training step (a third of that for inference)."""

    seconds: float
    rounds: int
    least: int = 5
    warmup: int = 3


BURST = {"cpu": 4, "cuda": 1}
FULL = Effort(seconds=1.0, rounds=32)
BRIEF = Effort(seconds=0.5, rounds=20)
QUICK = Effort(seconds=0.5, rounds=12, least=3)


def measure(case, names, device, effort, copy_gbps, on_peer=None):
    """A row (a dict, as a results file keeps it) per peer of `names`, and {peer: {mode: Times}}, measured together.

    A peer that fails the parity gate or runs out of memory keeps its row, with the error and without any figure.
    `on_peer(peer, inputs)` is called for every peer that passed and can be trained, before the clock starts.
    """
    head = peers.make_head(case, device)
    inputs = peers.make_inputs(case, device)
    torch._dynamo.reset()  # what was compiled for another case must not make this one's shapes dynamic
    oracle = parity.nerd_oracle(head, *inputs)
    rows, passed = {}, {}
    for name in names:
        peer = peers.PEERS[name](head)
        truth = oracle if peer.is_nerd else parity.conv_oracle(peer, *inputs)
        rows[name] = _row(case, name)
        try:
            rows[name]["parity"] = parity.compare(peer, truth, *inputs, case.dtype)
            if rows[name]["parity"]["passed"]:
                rows[name]["memory_mib"] = _memory(peer, inputs, device)
                passed[name] = peer
        except torch.OutOfMemoryError:
            rows[name]["error"] = "out of memory"
    del oracle, truth
    gc.collect()
    if on_peer is not None:
        for peer in (peer for peer in passed.values() if "training" in peer.modes):
            on_peer(peer, inputs)
    times = _times(passed, inputs, device, effort)
    for name, modes in times.items():
        rows[name]["modes"] = {mode: figures(case, mode, modes[mode], copy_gbps) for mode in passed[name].modes}
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


def _memory(peer, inputs, device):
    """MiB above the inputs of a training step and of inference, after the first calls have set up what stays."""
    x, grad = inputs

    def training():
        return torch.autograd.grad(peer.call(x), [x, *peer.parameters], grad)

    @torch.no_grad()
    def inference():
        return peer.call(x)

    calls = {"inference": inference, "training": training}
    peaks = {}
    for mode in calls.keys() & set(peer.modes):
        calls[mode]()
        peaks[mode] = round(memory.peak_bytes(calls[mode], device) / 2**20, 3)
    return peaks


def _times(passed, inputs, device, effort):
    """{peer: {mode: Times}}: training rounds of all peers in turn, then inference rounds."""
    clock = timing.clock_of(device)
    turning = timing.rotated(inputs, timing.cache_bytes(device))
    trained = {name: timing.training_step(p, turning) for name, p in passed.items() if "training" in p.modes}
    inferred = {name: timing.inference_step(p, turning) for name, p in passed.items()}
    options = {"rounds": effort.rounds, "least": effort.least, "warmup": effort.warmup, "burst": BURST[device.type]}
    modes = {name: {} for name in passed}
    for steps, seconds in ((trained, effort.seconds), (inferred, effort.seconds / 3)):
        for name, taken in timing.interleave(steps, clock, seconds=seconds, **options).items():
            modes[name] |= timing.by_mode(taken)
    return modes
