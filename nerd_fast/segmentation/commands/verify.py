"""`nerd-fast verify`: what is wrong with a data set, before anything is trained on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nerd_fast.segmentation.base.config import DataOptions, option, require
from nerd_fast.segmentation.base.errors import DataError

if TYPE_CHECKING:
    from nerd_fast.segmentation.data.verify import Report


@dataclass
class VerifyOptions(DataOptions):
    """Check a data set before anything is trained on it."""

    out: str | None = option(None, "JSON file of the report")


def verify(options: VerifyOptions) -> Report:
    """Every problem of every case, as a report that is also written as JSON to `options.out` where it is given."""
    require(options)
    from nerd_fast.segmentation.base.files import check_outputs, is_json_with, whole_file
    from nerd_fast.segmentation.data.verify import verify_dataset
    from nerd_fast.segmentation.runs.loading import find_data

    if options.out:
        check_outputs(
            [options.out],
            lambda path: is_json_with(path, format_version=..., ok=..., grids=..., problems=...),
            "a report of this command",
        )
    report = verify_dataset(
        find_data(options),
        split=options.split,
        size=tuple(options.size) if options.size else None,
        axis=options.axis,
        nonfinite=options.nonfinite,
        allow_geometry_mismatch=options.allow_geometry_mismatch,
    )
    if options.out:
        with whole_file(options.out) as temporary:
            temporary.write_text(report.json() + "\n", encoding="utf-8")
    return report


def run(options: VerifyOptions) -> int:
    """Print the report; 3 where it holds errors."""
    report = verify(options)
    print(report.text())
    return DataError.exit_code if report.errors else 0
