"""`nerd-fast verify`: what is wrong with a data set, before anything is trained on it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from nerd_fast.segmentation.base.config import DataOptions, option, require
from nerd_fast.segmentation.base.errors import DataError

if TYPE_CHECKING:
    from nerd_fast.segmentation.data.report import Report


@dataclass
class VerifyOptions(DataOptions):
    """Check a data set before anything is trained on it."""

    out: str | None = option(None, "JSON file of the report")


def verify(options: VerifyOptions) -> Report:
    """Every problem of every case, as a report that is also written as JSON to `options.out` where it is given."""
    require(options, VerifyOptions)
    from nerd_fast.segmentation.base.files import check_outputs, is_json_with, whole_file
    from nerd_fast.segmentation.data.verify import verify_dataset
    from nerd_fast.segmentation.runs.loading import find_data

    if options.out:
        check_outputs(
            [options.out],
            lambda path: is_json_with(path, format_version=..., ok=..., grids=..., problems=...),
            "a report of this command",
        )
    dataset = find_data(options)
    report = verify_dataset(
        dataset,
        split=options.split,
        size=tuple(options.size) if options.size else None,
        axis=options.axis,
        percentiles=options.percentiles,
        nonfinite=options.nonfinite,
        allow_geometry_mismatch=options.allow_geometry_mismatch,
    )
    report = replace(report, problems=(*report.problems, *_untrainable(dataset, options, report.problems)))
    if options.out:
        with whole_file(options.out) as temporary:
            temporary.write_text(report.json() + "\n", encoding="utf-8")
    return report


def _untrainable(dataset, options, found):
    """What `nerd-fast train` would refuse although every file is sound."""
    from nerd_fast.segmentation.base.faults import fault_of
    from nerd_fast.segmentation.data.report import Problem
    from nerd_fast.segmentation.runs.loading import find_split

    try:
        split = find_split(dataset, options.split, seed=0)
    except DataError as error:
        fault = asdict(fault_of(error))
        if not any(problem.found == fault["found"] for problem in found):
            yield Problem("error", "", *fault.values())
        return
    if not split["train"]:
        yield Problem("error", "", "split", "no training case", "one or more", "name another --split")
    unlabelled = [case.name for part in ("train", "val") for case in dataset.subset(split[part]) if case.label is None]
    if unlabelled:
        yield Problem(
            "error",
            "",
            "split",
            f"no label of {', '.join(unlabelled)}",
            "one of each case to train or validate on",
            "add it, name it with --label, or leave the cases out with --split",
        )


def run(options: VerifyOptions) -> int:
    """Print the report; 3 where it holds errors."""
    report = verify(options)
    print(report.text())
    return DataError.exit_code if report.errors else 0
