"""Checks a data set before anything is trained on it: every problem of every case, in one report."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Literal

import numpy as np

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.base.faults import fault_of
from nerd_fast.segmentation.data.case_check import CaseCheck
from nerd_fast.segmentation.data.cases import DataSet
from nerd_fast.segmentation.data.grids import Grid
from nerd_fast.segmentation.data.report import Problem, Report
from nerd_fast.segmentation.data.slices import (
    common_axis,
    first_grids,
    other_spacing,
    slicing_axis,
    typical_spacing,
)
from nerd_fast.segmentation.data.splits import PARTS, load_split, split_faults, split_of


def verify_dataset(
    dataset: DataSet,
    *,
    split: Mapping[str, Sequence[str]] | str | os.PathLike | None = None,
    size: tuple[int, ...] | None = None,
    axis: int | None = None,
    percentiles: Sequence[float] = (0, 100),
    nonfinite: Literal["error", "zero"] = "error",
    allow_geometry_mismatch: bool = False,
) -> Report:
    """Reads every file of every case to its end and reports what is wrong, all of it.

    Errors: a file that is missing, damaged or not one real-valued volume; NaN or infinity; a channel of the same
    intensity at both `percentiles`, which are to become 0 and 1; images of one case on different grids; label values
    that are not declared; a split that does not fit its cases, with one patient in two parts, or with the same scan in
    two parts under different names; without `axis`, cases that lie across different axes by their spacing. Warnings: an
    empty label; a case without a label; voxels of the label and of the scan that a crop to `size` cuts off; a header
    that says two things (pixdim or qform at odds with the sform); axes that are not at right angles; pixels of another
    size than those of the other cases; the same scan twice outside of the parts of a split; cases in no part. With
    `nonfinite` "zero" NaN and infinity in channels are warnings, and with `allow_geometry_mismatch` images on different
    grids are, whose axes are equally long. Notes: units of length that are not stated or not mm.

    `split`, names per part or a split file, is the data set's own where None; `size` None means no crop.
    """
    problems: list[Problem] = []
    split = _sound_split(dataset, split, problems)
    grids, found_grids, seen, pixels = {}, {}, defaultdict(list), 0
    units: dict[str, list[str]] = defaultdict(list)
    axis = _common_axis(dataset, problems) if axis is None else axis
    for case in dataset.cases:
        found = CaseCheck(
            dataset,
            case,
            problems,
            size=size,
            axis=axis,
            percentiles=percentiles,
            nonfinite=nonfinite,
            allow_geometry_mismatch=allow_geometry_mismatch,
        )
        found.run()
        for file, unit in found.units.items():
            units[unit].append(file)
        if found.grid is not None:
            geometry = found.geometry
            found_grids[case.name] = found.grid
            grids[case.name] = {
                "shape": geometry.shape,
                "spacing_mm": found.grid.spacing,
                "slicing_axis": geometry.axis,
            }
            pixels += geometry.shape[geometry.axis] * int(np.prod(size or geometry.in_plane))
        for channel, digest in found.digests.items():
            seen[channel, digest].append(case)
    _report_duplicates(seen, split, problems)
    _report_spacings(found_grids, axis, problems)
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
        notes=tuple(_unit_notes(units)),
    )


def _common_axis(dataset: DataSet, problems: list[Problem]) -> int:
    """The slicing axis of the cases; where they have several, an error in the report and the one that most have."""
    grids = {}
    for case in dataset.cases:
        with suppress(DataError):  # what cannot be read is reported with its case
            grids.update(first_grids([case], dataset.channels[0]))
    if not grids:
        return 2
    try:
        return common_axis(grids, dataset.root)
    except DataError as error:
        problems.append(Problem("error", "", *asdict(fault_of(error)).values()))
        return Counter(slicing_axis(grid.spacing) for grid in grids.values()).most_common(1)[0][0]


def _report_spacings(grids: Mapping[str, Grid], axis: int, problems: list[Problem]) -> None:
    if not grids:
        return
    spacing = typical_spacing(grids, axis)
    for name, grid in grids.items():
        if found := other_spacing(grid, axis, spacing):
            remedy = "resample the scans to one spacing, or see that the network copes"
            problems.append(Problem("warning", name, str(grid.source), found, "pixels of one size", remedy))


def _unit_notes(units: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for unit, files in sorted(units.items()):
        if unit != "mm":
            what = "no unit of length in the header, taken for mm" if unit == "unknown" else f"{unit} converted to mm"
            yield f"{what}: {len(files)} files, such as {files[0]}"


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
