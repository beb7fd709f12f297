"""End to end: one training step of the paper's U-Net with each head, and the largest batch that fits a smaller card."""

import gc
from functools import partial

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks import memory, timing
from benchmarks.heads import Effort
from benchmarks.peers import Peer, arguments_of
from benchmarks.workloads import WORKLOADS
from nerd_fast import NeRDm, reference

NETWORK = "monai"  # what the U-Net is made with; the heads are measured without it
FILTERS = [16, 32, 64, 128, 256]
IMAGES = 2  # FLAIR and T1
# (head, whether network and loss are compiled as one)
VARIANTS = (
    ("conv1x1", False),
    ("reference", False),
    ("compiled", False),
    ("fused", False),
    ("conv1x1", True),
    ("reference", True),
    ("fused", True),
)
CAPS_GIB = (11, 24)  # RTX 2080 Ti, RTX 4090
CONTEXT_GIB = 0.6  # of a card that no allocation gets: the CUDA context and, on a workstation, the display
CPU_BATCH = 2
LOSS_TOLERANCE = 1e-4
EFFORT = Effort(seconds=0.8, rounds=32, least=4, warmup=1)
GIB = 1 << 30


class ReferenceHead(nn.Module):
    """The parameters of a NeRDm head, computed by `nerd_fast.reference`, eager or compiled."""

    def __init__(self, head, compiled, dynamic=False):
        super().__init__()
        self.head = head
        self.nerdm = torch.compile(reference.nerdm, dynamic=dynamic) if compiled else reference.nerdm

    def forward(self, x):
        return self.nerdm(x, *arguments_of(self.head))


class Step:
    """A U-Net with one of the heads, in channels_last as `nerd-fast train` runs it, its optimizer and a batch.

    A call is a training step and returns the loss.
    """

    def __init__(self, head, whole, batch, device, dynamic=False):
        from monai.networks.nets.basic_unet import UpCat

        from nerd_fast.segmentation.base.config import TrainConfig
        from nerd_fast.segmentation.network.network import build_network

        torch.manual_seed(0)
        self.network = build_network(TrainConfig(filters=FILTERS), IMAGES, 1)
        if head != "conv1x1":
            backend = "triton" if device.type == "cuda" else "torch"
            nerdm = NeRDm.from_conv(self.network.final_conv, backend=backend)
            self.network.final_conv = nerdm if head == "fused" else ReferenceHead(nerdm, head == "compiled", dynamic)
        for module in self.network.modules():
            if isinstance(module, UpCat):
                module.is_pad = False  # nothing to pad in sizes of 16, and torch 2.13 cannot compile that no-op
        self.network.to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        generator = torch.Generator(device).manual_seed(1)
        size = WORKLOADS["wmh"].spatial
        images = torch.randn(batch, IMAGES, *size, generator=generator, device=device)
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.labels = (torch.rand(batch, 1, *size, generator=generator, device=device) > 0.99).float()
        self.loss = torch.compile(self._loss, dynamic=False) if whole else self._loss

    def __call__(self):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.images, self.labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _loss(self, images, labels):
        return binary_cross_entropy_with_logits(self.network(images), labels)


def measure(heads, device, effort=EFFORT, batch=None):
    """A row per variant whose head is in `heads`, and {row number: times in seconds}, measured in turn.

    The gate: a fresh NeRD head is the convolution, so that every first loss equals that of conv1x1.
    """
    batch = batch or (CPU_BATCH if device.type == "cpu" else WORKLOADS["wmh"].batch)
    variants = [variant for variant in VARIANTS if variant[0] in heads]
    expected = Step("conv1x1", False, batch, device)().item()
    clock = timing.SynchronisedClock() if device.type == "cuda" else timing.WallClock()
    rows, steps, alone = [], {}, {}
    torch._dynamo.reset()
    for number, (head, whole) in enumerate(variants):
        step = Step(head, whole, batch, device)
        error = abs(step().item() - expected) / abs(expected)
        row = _row(head, whole, batch, error)
        rows.append(row)
        if error <= LOSS_TOLERANCE:
            step.optimizer.zero_grad(set_to_none=True)  # the last step's gradients are none of this one's memory
            row["memory_mib"] = round(memory.peak_bytes(step, device) / 2**20, 2)
            steps[number] = partial(timing.timed, _marked(step), clock)
            if not whole:
                alone[number] = partial(timing.timed, _head_alone(head, step, batch, device), clock)
    options = {"rounds": effort.rounds, "least": effort.least, "warmup": effort.warmup}
    times = _device_seconds(timing.interleave(steps, seconds=2 * effort.seconds, **options))
    head_times = _device_seconds(timing.interleave(alone, seconds=effort.seconds, **options))
    for number, seconds in times.items():
        _fill(rows[number], seconds, head_times.get(number))
    return rows, times


def limits(heads, device, caps_gib=CAPS_GIB):
    """The largest batch of a training step under each memory cap, a row per head and cap (CUDA alone)."""
    total = torch.cuda.get_device_properties(device).total_memory
    rows = []
    for cap in (cap for cap in caps_gib if cap * GIB <= total):
        torch.cuda.set_per_process_memory_fraction((cap - CONTEXT_GIB) * GIB / total, device)
        try:
            for head in (head for head, whole in VARIANTS if head in heads and not whole):
                batch = largest_batch(lambda size, head=head: _fits(head, size, device))
                rows.append({"cap_gib": cap, "head": head, "largest_batch": batch})
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, device)
    return rows


def largest_batch(fits, most=4096):
    """The largest size up to `most` for which `fits(size)` holds, 0 for none; `fits` holds up to some size."""
    low, high = 0, 1
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _fits(head, batch, device):
    gc.collect()
    torch.cuda.empty_cache()
    try:
        step = Step(head, False, batch, device, dynamic=True)
        step(), step()  # the second holds the optimizer's state from the start
    except torch.OutOfMemoryError:
        return False
    return True


def _marked(step):
    def marked(turn, mark):
        begin = mark()
        step()
        return begin, mark()

    return marked


def _head_alone(name, step, batch, device):
    """Forward and backward of the head on features of the size that it sees in the network."""
    head = step.network.final_conv
    features = torch.randn(batch, FILTERS[0], *WORKLOADS["wmh"].spatial, device=device)
    features = features.contiguous(memory_format=torch.channels_last).requires_grad_()
    peer = Peer(name, head, list(head.parameters()))
    train = timing.training_step(peer, [(features, torch.randn_like(features[:, :1]))])
    return lambda turn, mark: train(turn, mark)[::2]


def _device_seconds(taken):
    return {name: [device[0] for device, _ in intervals] for name, intervals in taken.items()}


def _row(head, whole, batch, error):
    workload = WORKLOADS["wmh"]
    return {
        "workload": workload.name,
        "batch": batch,
        "cut": "" if batch == workload.batch else f"batch {workload.batch} -> {batch}",
        "head": head,
        "whole_compiled": whole,
        "parity": {"first_loss": error, "passed": error <= LOSS_TOLERANCE},
        "memory_mib": None,
        "median_ms": None,
        "head_ms": None,
        "head_share": None,
    }


def _fill(row, seconds, head_seconds):
    row |= timing.summary(seconds)
    row["images_per_s"] = round(row["batch"] / (row["median_ms"] / 1e3), 2)
    if head_seconds:
        row["head_ms"] = timing.quantiles(head_seconds)[0]
        row["head_share"] = round(row["head_ms"] / row["median_ms"], 4)
