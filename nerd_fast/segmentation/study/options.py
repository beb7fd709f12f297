"""What can be chosen for reproduce, diagnose, export and report. Nothing heavy is imported, as in `config`."""

# ruff: noqa: RUF009  `option` is dataclasses.field with a help text
from dataclasses import dataclass, field, fields
from typing import Literal

from nerd_fast.segmentation.base.config import EvaluateOptions, TrainConfig, check, option


def as_in(options_class, name):
    """A field with the default and the help text that the option has in another command."""
    entry = next(entry for entry in fields(options_class) if entry.name == name)
    return field(default=entry.default, default_factory=entry.default_factory, metadata=entry.metadata)


@dataclass
class ReproduceOptions:
    """The paper's study of white matter hyperintensities (wmh, its Table 1) or of the left atrium (la, Table 2).

    What the paper states is the default. What it leaves open (loss, normalisation, augmentation, ...) is an option
    whose default is ours. The same command continues a study that was interrupted; nothing finished is done again.
    """

    study: Literal["wmh", "la"] = option("wmh", "which study: wmh or la", positional=True)
    data: str | None = as_in(TrainConfig, "data")
    out: str | None = option(None, "folder of the study: runs, tables, figures", required=True)
    quick: bool = option(False, "a small study for a CPU: two seeds, narrow networks, few epochs, small batches")
    status: bool = option(False, "only say what is done and what is missing, and write the tables of what is done")

    heads: list[str] = option(["conv", "nerdc", "nerdm"], "heads to compare: conv (the U-Net), nerdc, nerdm")
    filters: list[int] | None = option(
        None, "filters of the deepest level, one network each (paper: 256 512; quick: 64)"
    )
    seeds: list[int] | None = option(None, "seeds, one run each (paper: three, here 0 1 2; quick: 0 1)")
    epochs: int | None = option(None, "passes over the training slices (paper: 90; quick: about 3000 slices in all)")
    every: int | None = option(
        None, "train on every n-th slice of a volume (default: 1; quick: about 300 slices an epoch)"
    )
    batch_size: int | None = option(None, "slices of a step, on each device (paper: 14; quick: 4)")

    channels: list[str] | None = as_in(TrainConfig, "channels")
    label: str | None = as_in(TrainConfig, "label")
    label_values: list[int] | None = as_in(TrainConfig, "label_values")
    layout: str = as_in(TrainConfig, "layout")
    split: str | None = option(
        None, "JSON file of train, val and test cases (default: that of the data, or a new one of the paper's sizes)"
    )
    split_seed: int = option(0, "seed of a new split; the paper does not say which cases it tested on")
    crop_axes: Literal["xy", "yx"] = option(
        "xy", "what the paper's crop (wmh 160x224, la 290x240) counts first: x, across the patient, or y, along"
    )
    size: list[int] | None = option(
        None,
        "rows (x) and columns (y) of a slice (default: the paper's crop; quick: no larger than the data need)",
        nargs=2,
    )
    percentiles: list[float] = as_in(TrainConfig, "percentiles")
    nonfinite: Literal["error", "zero"] = as_in(TrainConfig, "nonfinite")
    allow_geometry_mismatch: bool = as_in(TrainConfig, "allow_geometry_mismatch")

    loss: Literal["entropy+dice", "entropy", "dice"] = as_in(TrainConfig, "loss")
    normalisation: Literal["batch", "instance", "group"] = as_in(TrainConfig, "normalisation")
    dropout: float = as_in(TrainConfig, "dropout")
    flip: bool = as_in(TrainConfig, "flip")
    rotate: float = as_in(TrainConfig, "rotate")
    hidden_channels: list[int] = as_in(TrainConfig, "hidden_channels")
    distance_scale: float | Literal["extent"] = as_in(TrainConfig, "distance_scale")

    checkpoint: Literal["best", "last"] = as_in(EvaluateOptions, "checkpoint")
    threshold: float = as_in(EvaluateOptions, "threshold")
    flips: bool = as_in(EvaluateOptions, "flips")
    connectivity: Literal[6, 18, 26] = as_in(EvaluateOptions, "connectivity")
    label_2: Literal["exclude", "background"] = as_in(EvaluateOptions, "label_2")
    score_in_crop: bool = as_in(EvaluateOptions, "score_in_crop")

    accelerator: str = as_in(TrainConfig, "accelerator")
    precision: str = as_in(TrainConfig, "precision")
    compile: bool = as_in(TrainConfig, "compile")
    data_on_device: bool = as_in(TrainConfig, "data_on_device")
    num_workers: int = as_in(TrainConfig, "num_workers")


@dataclass
class DiagnoseOptions:
    """How the last features of runs depend on position: the paper's Fig. 2 as maps, profiles and one number."""

    run: list[str] = option([], "folders of trained runs, such as a U-Net's and a NeRDm's", required=True)
    data: str | None = as_in(TrainConfig, "data")
    out: str | None = option(None, "folder of numbers and figures (default: diagnosis in the folder of the first run)")
    layout: str = as_in(TrainConfig, "layout")
    subset: Literal["train", "val", "test", "all"] = option("test", "which cases of the split of the first run")
    margin: int = option(32, "pixels cut off each side to see what a nearer border does: a multiple of 16, 0 for no")
    checkpoint: Literal["best", "last"] = as_in(EvaluateOptions, "checkpoint")
    batch_size: int = option(8, "slices at once")
    accelerator: str = as_in(EvaluateOptions, "accelerator")

    def __post_init__(self):
        check(self.batch_size > 0, "batch_size", self.batch_size, "a number above 0")


@dataclass
class ExportOptions:
    """Weights as safetensors, and a torch.export program that needs neither Triton nor this package."""

    run: str | None = as_in(EvaluateOptions, "run")
    out: str | None = option(None, "folder of model.safetensors, config.json and model.pt2", required=True)
    checkpoint: Literal["best", "last"] = as_in(EvaluateOptions, "checkpoint")
    size: list[int] | None = option(
        None, "rows and columns of the program's slices (default: those of the run)", nargs=2
    )

    def __post_init__(self):
        check(self.size is None or min(self.size) > 0, "size", self.size, "two numbers above 0")


@dataclass
class ReportOptions:
    """One HTML file about one or several evaluated runs, with everything in it: tables, curves, overlays, maps."""

    run: list[str] = option(
        [], "folders of trained and evaluated runs; the first is what the others are compared with", required=True
    )
    out: str | None = option(None, "the HTML file", required=True)
    data: str | None = option(None, "folder of the data set (default: the one that the first run was trained on)")
    layout: str = as_in(TrainConfig, "layout")
    subset: Literal["train", "val", "test"] = option("test", "which evaluation of the runs")
    accelerator: str = as_in(EvaluateOptions, "accelerator")
