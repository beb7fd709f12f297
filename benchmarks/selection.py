"""What the options of `pytest --benchmark` select, checked before anything is measured."""

from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import device, peers, workloads
from benchmarks.heads import BRIEF, FULL, QUICK, Effort

QUICK_WORKLOADS = ("wmh",)
DEFAULT_RESULTS = Path(".benchmarks")


@dataclass(frozen=True)
class Selection:
    """The device, the cases with their peers, the effort, and where files go."""

    device: torch.device
    workloads: tuple[str, ...]
    peers: tuple[str, ...]
    quick: bool = False
    trace: Path | None = None
    results: Path = DEFAULT_RESULTS

    @classmethod
    def from_options(cls, option):
        """From pytest's options. Raises ValueError, in one line, for what is unknown or cannot be had here."""
        quick = option.suite_quick
        names = _split(option.suite_workloads) or (QUICK_WORKLOADS if quick else tuple(workloads.WORKLOADS))
        selected = _split(option.suite_peers) or tuple(peers.PEERS)
        target = device.choose(option.suite_device)
        for name in names:
            workloads.workload_on(name, target.type)
        peers.check_names(selected)
        results = Path(option.suite_results or DEFAULT_RESULTS)
        if results.suffix == ".json" and not results.parent.is_dir():
            raise ValueError(f"--benchmark-results: there is no folder {results.parent}")
        return cls(target, names, selected, quick, option.suite_trace and Path(option.suite_trace), results)

    def effort_of(self, case) -> Effort:
        if self.quick:
            return QUICK
        return FULL if case.is_plain else BRIEF

    def cases(self):
        return workloads.cases(self.workloads, self.device.type, self.quick)

    def peers_of(self, case):
        return [name for name in peers.peers_of(case, self.device.type) if name in self.peers]


def _split(names):
    return tuple(name.strip() for name in names.split(",") if name.strip()) if names else ()
