"""What is measured: the workloads, and the cases (workload, dtype, layout, hidden widths) that a device runs."""

from dataclasses import dataclass, replace
from math import prod

import torch

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
LAYOUTS = ("contiguous", "channels_last")
HIDDEN = (32, 32)
WIDE_HIDDEN = (64, 64)


@dataclass(frozen=True)
class Workload:
    """Features (batch, channels, *spatial) that a head turns into logits (batch, labels, *spatial).

    `cut` says what was made smaller to fit a CPU, as the tables print it; empty where nothing was.
    """

    name: str
    batch: int
    channels: int
    labels: int
    spatial: tuple[int, ...]
    meaning: str
    cut: str = ""

    @property
    def positions(self):
        return prod(self.spatial)

    @property
    def elements(self):
        """Numbers in the features."""
        return self.batch * self.channels * self.positions

    def __str__(self):
        size = "x".join(map(str, self.spatial))
        cut = f", cut to fit a CPU: {self.cut}" if self.cut else ""
        return f"{self.name}: B {self.batch}, C {self.channels}, K {self.labels}, {size}{cut}"


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("wmh", 14, 16, 1, (160, 224), "the paper's WMH run, filters 16 to 256"),
        Workload("wmh-wide", 14, 32, 1, (160, 224), "the same, filters 32 to 512"),
        Workload("la", 14, 16, 1, (290, 240), "the paper's left-atrium run"),
        Workload("large-batch", 128, 16, 1, (160, 224), "large-batch training"),
        Workload("large-batch-wide", 64, 32, 1, (290, 240), "the same, wide"),
        Workload("multi-class", 32, 32, 8, (256, 256), "organ segmentation"),
        Workload("volume", 2, 32, 4, (96, 96, 96), "3-D"),
        Workload("single", 1, 16, 1, (160, 224), "one slice, latency"),
    )
}

# On a CPU the suite has ten minutes: features are cut to about ten million numbers, those of large-batch to twice that.
CPU_CUTS = {
    "large-batch": {"batch": 32},
    "large-batch-wide": {"batch": 4},
    "multi-class": {"batch": 4},
    "volume": {"spatial": (48, 48, 48)},
}
PLAIN_ON_A_CPU = ("large-batch", "large-batch-wide")  # their other cases would say what those of wmh and la say


@dataclass(frozen=True)
class Case:
    """One table section: a workload in one dtype and layout, with one width of the calibrator."""

    workload: Workload
    dtype: str
    layout: str
    hidden: tuple[int, ...] = HIDDEN

    @property
    def is_plain(self):
        """The case that stands for its workload: float32, contiguous, hidden (32, 32)."""
        return (self.dtype, self.layout, self.hidden) == ("float32", "contiguous", HIDDEN)

    def __str__(self):
        return "-".join([self.workload.name, self.dtype, self.layout, "x".join(map(str, self.hidden))])


def workload_on(name, device_type):
    """The workload as that kind of device runs it. Raises ValueError for an unknown name."""
    if name not in WORKLOADS:
        raise ValueError(f"--benchmark-workload: unknown workload {name!r}; expected one of {', '.join(WORKLOADS)}")
    workload = WORKLOADS[name]
    cut = CPU_CUTS.get(name) if device_type == "cpu" else None
    if not cut:
        return workload
    was = ", ".join(f"{_short(getattr(workload, k))} -> {_short(v)}" for k, v in cut.items())
    alone = ", float32 and contiguous alone" if name in PLAIN_ON_A_CPU else ""
    return replace(workload, **cut, cut=f"{', '.join(cut)} {was}{alone}")


def half_dtype(device_type):
    """bfloat16, or float16 on a GPU that has no bfloat16 of its own."""
    if device_type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "float16"
    return "bfloat16"


def cases(names, device_type, quick=False):
    """The cases of these workloads on that kind of device; in a quick run the plain ones alone."""
    plain_alone = names if quick else PLAIN_ON_A_CPU if device_type == "cpu" else ()
    selected = []
    for name in names:
        workload = workload_on(name, device_type)
        for dtype in ("float32", half_dtype(device_type)):
            selected += [Case(workload, dtype, layout) for layout in LAYOUTS]
        if name in ("wmh", "large-batch"):
            selected.append(Case(workload, "float32", "contiguous", WIDE_HIDDEN))
    return [case for case in selected if case.is_plain or case.workload.name not in plain_alone]


def _short(value):
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
