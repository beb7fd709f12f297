"""`nerd-fast diagnose`: how the features before the classifier depend on where they are (paper, Fig. 2)."""

# ruff: noqa: RUF009  `option` is dataclasses.field with a help text
from dataclasses import dataclass
from typing import Literal

from nerd_fast.segmentation.base.config import InferenceOptions, Options, TrainConfig, as_in, check, option, require


@dataclass
class DiagnoseOptions(Options):
    """How the last features of runs depend on position: the paper's Fig. 2 as maps, profiles and one number."""

    run: list[str] = option([], "folders of trained runs, such as a U-Net's and a NeRDm's", required=True)
    data: str | None = as_in(TrainConfig, "data")
    out: str | None = option(None, "folder of numbers and figures (default: diagnosis in the folder of the first run)")
    layout: str = as_in(TrainConfig, "layout")
    subset: Literal["train", "val", "test", "all"] | None = option(
        None, "which cases of the split of the first run (default: test, or all where test has fewer than two)"
    )
    margin: int = option(32, "pixels cut off each side to see what a nearer border does: a multiple of 16, 0 for no")
    checkpoint: Literal["best", "last"] = as_in(InferenceOptions, "checkpoint")
    batch_size: int = option(8, "slices at once")
    accelerator: str = as_in(InferenceOptions, "accelerator")

    def __post_init__(self):
        super().__post_init__()
        check(self.batch_size > 0, "batch_size", self.batch_size, "a number above 0")


def run(options: DiagnoseOptions) -> None:
    """Print the table of the shifts and where numbers and figures are."""
    require(options, DiagnoseOptions)
    from nerd_fast.segmentation.pictures.diagnosis import diagnose_runs

    _, table, folder = diagnose_runs(options)
    print(f"\n{table.to_text()}\n{folder}")
