"""A model of the time of a training step, fed by the counts. What it says is modelled, not measured.

A kernel runs in waves of as many programs as fit on the GPU. Each wave takes the calibrator's prologue and then the
slowest of: its bytes at the bandwidth of a copy, its instructions at INSTRUCTIONS_A_CLOCK of the four that a
multiprocessor could issue, and the rounds of one program, each waiting LATENCY for its loads. In the waves after the
first, half of the prologue hides behind the streams of others. Two warps a scheduler issue 0.32, as read for the
calibrator's backward, whose steps wait for each other behind barriers.
"""

import math
from dataclasses import dataclass, replace

from nerd_fast.kernels.audit.gpus import bounds

INSTRUCTIONS_A_CLOCK = 0.6  # of each of four schedulers, with enough warps
OF_A_WARP = 0.16  # of a scheduler that serves one warp of a kernel that is all barriers
LATENCY = 0.7e-6  # seconds from a load to its value
DEPENDENT = 2  # clocks that an instruction waits for the one before it, in a loop of one warp
SUM_AND_LAUNCHES = 10e-6  # seconds: the reduction, and the gaps between four launches
IN_LOOP = ("issue_slots", "float_slots", "integer_slots", "wavefronts", "shuffles")
ASSUMPTIONS = (
    "Modelled, not measured: waves of resident programs; each the slowest of its bytes at a copy's bandwidth, "
    f"{INSTRUCTIONS_A_CLOCK} instructions a clock and scheduler, and its rounds at {LATENCY * 1e6:g} us of latency; "
    f"{SUM_AND_LAUNCHES * 1e6:g} us for the sum and the launches."
)


@dataclass(frozen=True)
class Step:
    """Modelled seconds of a training step's kernels {name: seconds}, and their bounds, at some batch.

    `floor` is what moving features, logits and their gradients once would take at a copy's bandwidth.
    """

    kernels: dict
    bounds: dict
    floor: float

    @property
    def total(self):
        return sum(self.kernels.values()) + SUM_AND_LAUNCHES

    @property
    def share(self):
        """Of the copy bandwidth, that the necessary bytes reach."""
        return self.floor / self.total

    @property
    def bounded_share(self):
        """The same with no kernel faster than its bounds: the waves know nothing of bank conflicts and shuffles."""
        slowest = (max(seconds, self.bounds[name]) for name, seconds in self.kernels.items())
        return self.floor / (sum(slowest) + SUM_AND_LAUNCHES)

    @property
    def calibrator_share(self):
        return self.kernels["calibrator_backward"] / self.total


def step(gpu, configuration, counts, batch):
    """The Step of a configuration at this batch, from its Counts {kernel: Count} on that GPU's architecture."""
    positions = math.prod(configuration.spatial)
    features = 4 * batch * positions * configuration.in_channels
    logits = 4 * batch * positions * configuration.out_channels
    backward = counts["apply_backward"]
    written = backward.dram_bytes - _streamed_bytes(configuration, backward.batch)  # the map's gradient, and rows
    moved = {"apply_forward": features + logits, "apply_backward": 2 * features + logits + written}
    seconds = {name: streaming(gpu, counts[name], batch, moved[name]) for name in moved}
    seconds["calibrator_backward"] = calibrator(gpu, counts["calibrator_backward"])
    least = {name: max(bounds(gpu, at_batch(counts[name], batch)).values()) / 1e6 for name in seconds}
    return Step(seconds, least, (3 * features + 2 * logits) / (gpu.copy_bandwidth * 1e9))


def at_batch(count, batch):
    """The Count at another batch: the loop of a kernel that streams runs more or less often, the rest stays."""
    if count.kernel not in ("apply_forward", "apply_backward"):
        return count
    more = math.ceil(batch * count.rounds / count.batch) / count.rounds - 1
    loop = {name: getattr(count, name) + more * getattr(count, f"loop_{name}") for name in IN_LOOP}
    return replace(count, batch=batch, dram_bytes=count.dram_bytes * batch / count.batch, **loop)


def streaming(gpu, count, batch, moved):
    """Seconds of a kernel that runs the calibrator once and then streams `moved` bytes of the batch."""
    clock = gpu.clock * 1e9
    rounds = math.ceil(batch * count.rounds / count.batch)
    loop = count.loop_issue_slots / count.rounds
    prologue = count.issue_slots - count.loop_issue_slots
    total, left = 0.0, count.programs
    while left > 0:
        wave = min(left, gpu.multiprocessors * count.resident)
        warps = math.ceil(wave / gpu.multiprocessors) * count.warps
        start = max(warps * prologue / 4 / INSTRUCTIONS_A_CLOCK, prologue * 4) / clock
        stream = max(
            moved * wave / count.programs / (gpu.copy_bandwidth * 1e9),
            warps * rounds * loop / 4 / INSTRUCTIONS_A_CLOCK / clock,
            rounds * (LATENCY + loop * DEPENDENT / clock),
        )
        total += start * (1 if left == count.programs else 0.5) + stream
        left -= wave
    return total


def calibrator(gpu, count):
    """Seconds of the calibrator's backward: programs that walk tiles, every step behind a barrier."""
    total, left = 0.0, count.programs
    while left > 0:
        wave = min(left, gpu.multiprocessors * count.resident)
        warps = math.ceil(wave / gpu.multiprocessors) * count.warps
        rate = min(INSTRUCTIONS_A_CLOCK, OF_A_WARP * warps / 4)
        total += warps * count.longest_slots / 4 / rate / (gpu.clock * 1e9)
        left -= wave
    return total


def _streamed_bytes(configuration, batch):
    """Bytes of x, grad x and the incoming gradient in float32."""
    return 4 * batch * math.prod(configuration.spatial) * (2 * configuration.in_channels + configuration.out_channels)
