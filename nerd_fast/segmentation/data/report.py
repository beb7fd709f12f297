"""What was found of a data set, to read and as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from nerd_fast.segmentation.base.faults import Fault

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a data set; an `error` stops training, a `warning` does not. `case` is empty for the set."""

    severity: Literal["error", "warning"]
    case: str
    file: str
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.case}: " if self.case else ""
        return f"{self.severity}: {where}{Fault(self.file, self.found, self.expected, self.remedy)}"


@dataclass(frozen=True)
class Report:
    """What was checked, and what is wrong with it. `grids` holds shape, spacing and slicing axis of readable cases;
    `notes` are what was taken for granted, a sentence each."""

    root: Path
    layout: str
    channels: tuple[str, ...]
    label: str | None
    grids: Mapping[str, Mapping[str, Any]]
    cases: int
    size: tuple[int, int] | None
    bytes_in_memory: int
    problems: tuple[Problem, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What stops training."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What does not stop training, and should be looked at."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")

    @property
    def ok(self) -> bool:
        """True where nothing stops training."""
        return not self.errors

    def text(self) -> str:
        """The report to read: what was checked, one line per problem, the verdict last."""
        window = f", {self.size[0]}x{self.size[1]}" if self.size else ""
        lines = [
            f"{self.root}: layout {self.layout}, {self.cases} cases, channels {', '.join(self.channels)}, "
            f"label {self.label or 'absent'}{window}, {self.bytes_in_memory / 2**20:.0f} MiB in memory",
            *(str(problem) for problem in self.problems),
            *(f"note: {note}" for note in self.notes),
            f"{len(self.errors)} errors, {len(self.warnings)} warnings: "
            + ("ready" if self.ok else "not to be trained on"),
        ]
        return "\n".join(lines)

    def json(self) -> str:
        """The report as JSON, with `format_version`."""
        content = {"format_version": FORMAT_VERSION, "ok": self.ok, **asdict(self), "root": str(self.root)}
        return json.dumps(content, indent=2)
