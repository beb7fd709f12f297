"""The ruler: how fast this device copies memory, and how many bytes a head cannot avoid moving."""

from functools import partial

import torch

from benchmarks import timing
from benchmarks.workloads import DTYPES

COPY_BYTES = {"cuda": 1 << 30, "cpu": 1 << 28}


def copy_gbps(device, rounds=25):
    """GB/s (10^9 bytes, read and written) of one large copy on the device, the median of `rounds`."""
    size = COPY_BYTES[device.type]
    if device.type == "cuda":
        size = min(size, torch.cuda.mem_get_info(device)[0] // 8)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source).zero_()

    def step(turn, mark):
        begin = mark()
        target.copy_(source)
        return begin, mark()

    run = partial(timing.timed, step, timing.clock_of(device))
    taken = timing.interleave({"copy": run}, seconds=2.0, rounds=rounds)["copy"]
    median = timing.quantiles([intervals[0] for intervals, _ in taken])[0]
    return round(2 * size / (median * 1e6), 1)


def necessary_bytes(case, mode):
    """Bytes that a head must move: forward reads x and writes the logits; backward reads the logits' gradient and x
    and writes the gradient of x. Parameters and their gradients are too small to count."""
    size = torch.empty((), dtype=DTYPES[case.dtype]).element_size()
    x = case.workload.elements * size
    logits = case.workload.batch * case.workload.labels * case.workload.positions * size
    forward, backward = x + logits, 2 * x + logits
    return {"inference": forward, "forward": forward, "backward": backward, "training": forward + backward}[mode]
