"""`nerd-fast report`: one HTML file about evaluated runs that opens anywhere and needs nothing beside it."""

# ruff: noqa: RUF009  `option` is dataclasses.field with a help text
from dataclasses import dataclass
from typing import Literal

from nerd_fast.segmentation.base.config import InferenceOptions, Options, TrainConfig, as_in, option, require


@dataclass
class ReportOptions(Options):
    """One HTML file about one or several evaluated runs, with everything in it: tables, curves, overlays, maps."""

    run: list[str] = option(
        [], "folders of trained and evaluated runs; the first is what the others are compared with", required=True
    )
    out: str | None = option(None, "the HTML file", required=True)
    data: str | None = option(None, "folder of the data set (default: the one that the first run was trained on)")
    layout: str = as_in(TrainConfig, "layout")
    subset: Literal["train", "val", "test"] = option("test", "which evaluation of the runs")
    accelerator: str = as_in(InferenceOptions, "accelerator")


def run(options: ReportOptions) -> None:
    """Write the report and print where it is."""
    require(options, ReportOptions)
    from nerd_fast.segmentation.pictures.report import write_report

    print(write_report(options))
