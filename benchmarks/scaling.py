"""How time and memory grow with the batch and with the positions, for ours, the reference and the convolution."""

from dataclasses import replace

from benchmarks import heads
from benchmarks.workloads import WORKLOADS, Case

PEERS = ("conv1x1", "reference", "fused")
BATCHES = tuple(1 << power for power in range(9))
IMAGE = {"cpu": (80, 112), "cuda": WORKLOADS["wmh"].spatial}  # a CPU's is a quarter: 256 of the whole are 590 MB
SIDES = {"cpu": (16, 32, 64, 128, 256), "cuda": (32, 64, 128, 256, 512, 1024)}
EFFORT = heads.Effort(seconds=0.3, rounds=10, least=2, warmup=1, kinds=("training",))


def points(device_type):
    """(axis, case) of every measured point: "batch" at the positions of IMAGE, "positions" at the batch of wmh."""
    wmh = WORKLOADS["wmh"]
    batches = [("batch", replace(wmh, batch=batch, spatial=IMAGE[device_type])) for batch in BATCHES]
    sizes = [("positions", replace(wmh, spatial=(side, side))) for side in SIDES[device_type]]
    return [(axis, Case(workload, "float32", "contiguous")) for axis, workload in batches + sizes]


def measure(axis, case, names, device, copy_gbps):
    """The rows of one point, as `benchmarks.heads` makes them, with their axis."""
    rows, _ = heads.measure(case, [name for name in PEERS if name in names], device, EFFORT, copy_gbps)
    return [{"axis": axis, **row} for row in rows]
