"""Checks a data set before anything is trained on it: every problem of every case, in one report."""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.base.faults import Fault, fault_of
from nerd_fast.segmentation.data.cases import Case, DataSet
from nerd_fast.segmentation.data.slices import SliceGeometry, class_numbers, slicing_axis
from nerd_fast.segmentation.data.splits import PARTS, load_split, split_faults, split_of
from nerd_fast.segmentation.data.volumes import (
    Grid,
    Volume,
    check_finite,
    check_same_grid,
    read_label,
    read_volume,
    set_nonfinite_to_zero,
)

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
    """What was checked, and what is wrong with it. `grids` holds shape, spacing and slicing axis of readable cases."""

    root: Path
    layout: str
    channels: tuple[str, ...]
    label: str | None
    grids: Mapping[str, Mapping[str, Any]]
    cases: int
    size: tuple[int, int] | None
    bytes_in_memory: int
    problems: tuple[Problem, ...] = field(default=())

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
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
            f"{len(self.errors)} errors, {len(self.warnings)} warnings: "
            + ("ready" if self.ok else "not to be trained on"),
        ]
        return "\n".join(lines)

    def json(self) -> str:
        """The report as JSON, with `format_version`."""
        content = {"format_version": FORMAT_VERSION, "ok": self.ok, **asdict(self), "root": str(self.root)}
        return json.dumps(content, indent=2)


def verify_dataset(
    dataset: DataSet,
    *,
    split: Mapping[str, Sequence[str]] | str | os.PathLike | None = None,
    size: tuple[int, int] | None = None,
    axis: int | None = None,
    label_values: Sequence[int] | None = None,
    nonfinite: Literal["error", "zero"] = "error",
    allow_geometry_mismatch: bool = False,
    progress: Callable[[Sequence[Case]], Sequence[Case]] = lambda cases: cases,
) -> Report:
    """Reads every file of every case to its end and reports what is wrong, all of it.

    Errors: a file that is missing, damaged or not one real-valued volume; NaN or infinity; a constant channel; images
    of one case on different grids; label values that are not declared; a split that does not fit its cases, with one
    patient in two parts, or with the same scan in two parts under different names. Warnings: an empty label; a case
    without a label; voxels of the label that a crop to `size` cuts off; spacing in the header at odds with the affine;
    the same scan twice outside of the parts of a split; cases in no part. With `nonfinite` "zero" NaN and infinity in
    channels are warnings, and with `allow_geometry_mismatch` images of one shape on different grids are.

    `split`, names per part or a split file, is the data set's own where None; `size` None means no crop. `progress`
    wraps the cases as they are read.
    """
    problems: list[Problem] = []
    split = _sound_split(dataset, split, problems)
    values = tuple(label_values or dataset.label_values)
    grids, seen, pixels = {}, defaultdict(list), 0
    for case in progress(dataset.cases):
        found = _CaseCheck(dataset, case, problems, values, size, axis, nonfinite, allow_geometry_mismatch)
        found.run()
        if found.grid is not None:
            geometry = found.geometry
            grids[case.name] = {
                "shape": geometry.shape,
                "spacing_mm": found.grid.spacing,
                "slicing_axis": geometry.axis,
            }
            pixels += geometry.shape[geometry.axis] * int(np.prod(size or geometry.in_plane))
        for channel, digest in found.digests.items():
            seen[channel, digest].append(case)
    _report_duplicates(seen, split, problems)
    return Report(
        root=dataset.root,
        layout=dataset.layout,
        channels=dataset.channels,
        label=dataset.label,
        grids=grids,
        cases=len(dataset.cases),
        size=None if size is None else tuple(size),
        bytes_in_memory=pixels * (4 * len(dataset.channels) + 1),
        problems=tuple(sorted(problems, key=lambda problem: (problem.severity, problem.case))),
    )


class _CaseCheck:
    """The checks of one case: the grid of its first readable channel, the digests of its voxels, its problems."""

    def __init__(self, dataset, case, problems, values, size, axis, nonfinite, allow_geometry_mismatch):
        self.dataset, self.case, self.problems = dataset, case, problems
        self.values, self.size, self.axis = values, size, axis
        self.nonfinite, self.allow_geometry_mismatch = nonfinite, allow_geometry_mismatch
        self.grid: Grid | None = None
        self.geometry: SliceGeometry | None = None
        self.digests: dict[str, str] = {}

    def run(self) -> None:
        for channel in self.dataset.channels:
            volume = self._attempt(self._channel, channel)
            if volume is None:
                continue
            if self.grid is None:
                self._take_grid(volume)
            self._compare_grid(volume)
        if self.case.label is not None:
            self._attempt(self._label)
        elif self.dataset.label is not None:
            self._report(
                "warning",
                self.case.name,
                f"no label {self.dataset.label}",
                "one to train or evaluate on",
                "add the file",
            )

    def _channel(self, channel: str) -> Volume:
        path = self.case.channels[channel]
        volume = read_volume(path, component=self.case.component.get(channel), nonfinite="keep")
        zero = self.nonfinite == "zero"
        finite = self._passes(check_finite, path, volume.data, severity="warning" if zero else "error")
        if not finite and zero:
            set_nonfinite_to_zero(volume.data)
        if finite or zero:
            self._check_contrast(channel, volume)
        self._compare_spacing(volume)
        return volume

    def _check_contrast(self, channel: str, volume: Volume) -> None:
        if volume.data.min() < volume.data.max():
            self.digests[channel] = hashlib.sha256(volume.data).hexdigest()
            return
        self._report(
            "error",
            volume.source,
            f"the same intensity {volume.data.flat[0]:g} in every voxel",
            "an image with contrast",
            "export the channel again or leave the case out",
        )

    def _compare_grid(self, volume: Volume) -> None:
        allowed = self.allow_geometry_mismatch and volume.shape == self.grid.shape
        self._passes(check_same_grid, self.grid, volume, severity="warning" if allowed else "error")

    def _compare_spacing(self, volume: Volume) -> None:
        claimed = sorted(float(zoom) for zoom in volume.header.get_zooms()[:3])
        spacing = sorted(volume.spacing)
        if not np.allclose(claimed, spacing, rtol=1e-2):
            self._report(
                "warning",
                volume.source,
                f"pixdim says {np.round(claimed, 3).tolist()} mm and the affine {np.round(spacing, 3).tolist()} mm",
                "one spacing from both",
                "correct the header; the affine is what counts here",
            )

    def _take_grid(self, volume: Volume) -> None:
        self.grid = volume.grid
        axis = slicing_axis(volume.spacing) if self.axis is None else self.axis
        whole = SliceGeometry(axis, volume.shape, (1, 1))
        self.geometry = SliceGeometry(axis, volume.shape, tuple(self.size or whole.in_plane))

    def _label(self) -> None:
        label = read_label(self.case.label, (*self.values, *self.dataset.ignore_values))
        for sentence in label.allowed:
            found = sentence.removeprefix(f"{label.source}: ")
            self._report("warning", label.source, found, "whole numbers", "export the label again as integers")
        truth, _ = class_numbers(label, self.values, self.dataset.ignore_values)
        if not truth.any():
            self._report(
                "warning", label.source, "an empty label", "some voxels of a class", "check that nothing is to be found"
            )
        if self.grid is None:
            return
        self._compare_grid(label)
        if label.shape != self.grid.shape:
            return
        lost = np.count_nonzero(truth) - np.count_nonzero(self.geometry.crop(truth))
        if lost:
            window = "x".join(map(str, self.geometry.size))
            self._report(
                "warning",
                label.source,
                f"{lost} of {np.count_nonzero(truth)} voxels of the label outside of the crop to {window}",
                "a crop that holds the whole label",
                "choose a larger size",
            )

    def _attempt(self, check: Callable, *arguments: Any) -> Any:
        try:
            return check(*arguments)
        except DataError as error:
            self._report("error", *asdict(fault_of(error)).values())
            return None

    def _passes(self, check: Callable, *arguments: Any, severity: str) -> bool:
        try:
            check(*arguments)
        except DataError as error:
            self._report(severity, *asdict(fault_of(error)).values())
            return False
        return True

    def _report(self, severity, file, found, expected, remedy) -> None:
        self.problems.append(Problem(severity, self.case.name, str(file), found, expected, remedy))


def _sound_split(dataset: DataSet, split, problems: list[Problem]) -> Mapping[str, Sequence[str]]:
    def report(severity, file, found, expected, remedy):
        problems.append(Problem(severity, "", str(file), found, expected, remedy))

    if not isinstance(split, Mapping):
        try:
            split = split_of(dataset) if split is None else load_split(split, dataset.cases)
        except DataError as error:
            report("error", *asdict(fault_of(error)).values())
            return {}
    if split is None:
        return {}
    for sentence in split_faults(split, dataset.cases):
        report("error", "split", sentence, "each case and each patient in one part", "correct the split")
    unused = sorted(set(dataset.names) - {name for names in split.values() for name in names})
    if unused:
        report("warning", "split", f"cases in no part: {', '.join(unused)}", "every case used", "add them to the split")
    return {part: names for part, names in split.items() if part in PARTS}


def _report_duplicates(seen, split, problems: list[Problem]) -> None:
    home = {name: part for part, names in split.items() for name in names}
    for (channel, _), cases in seen.items():
        parts = {home.get(case.name) for case in cases}
        if len(cases) < 2:
            continue
        leak = len(parts - {None}) > 1
        others = ", ".join(f"{case.name} ({home.get(case.name, 'no part')})" for case in cases[1:])
        problems.append(
            Problem(
                severity="error" if leak else "warning",
                case=cases[0].name,
                file=str(cases[0].channels[channel]),
                found=f"the same voxels as {others}",
                expected=f"a scan in one part of the split; {cases[0].name} is in {home.get(cases[0].name, 'no part')}",
                remedy="put all copies into one part or leave the copies out",
            )
        )
