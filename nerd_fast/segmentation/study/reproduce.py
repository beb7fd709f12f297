"""`nerd-fast reproduce`: a study of the paper on your data. `study.execution` says what it writes."""

# ruff: noqa: RUF009  `option` is dataclasses.field with a help text
from dataclasses import dataclass
from typing import Literal

from nerd_fast.segmentation.base.config import Options, Precision, TrainConfig, as_in, option, require
from nerd_fast.segmentation.commands.evaluate import EvaluateOptions


@dataclass
class ReproduceOptions(Options):
    """The paper's study of white matter hyperintensities (wmh, its Table 1) or of the left atrium (la, Table 2).

    What the paper states is the default. What it leaves open (loss, normalisation, augmentation, ...) is an option
    whose default is ours. The same command continues a study that was interrupted; nothing finished is done again.
    """

    study: Literal["wmh", "la"] = option("wmh", "which study: wmh or la", positional=True)
    data: str | None = as_in(TrainConfig, "data")
    out: str | None = option(None, "folder of the study: runs, tables, figures", required=True)
    quick: bool = option(False, "a small study for a CPU: two seeds, narrow networks, few epochs, small batches")
    status: bool = option(False, "only say what is done and what is missing, and write the tables of what is done")

    heads: list[str] = option(
        ["conv", "nerdc", "nerdm"],
        "heads to compare: conv (the U-Net), nerdc, nerdm; coordconv and blind tell position from parametrisation",
    )
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
    axis: int | None = as_in(TrainConfig, "axis")
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
    precision: Precision = as_in(TrainConfig, "precision")
    compile: bool = as_in(TrainConfig, "compile")
    data_on_device: bool = as_in(TrainConfig, "data_on_device")
    num_workers: int = as_in(TrainConfig, "num_workers")


def run(options: ReproduceOptions) -> int:
    """Do what is missing of the study; the exit code is that of a run that could not be finished, if there is one."""
    require(options, ReproduceOptions)
    from nerd_fast.segmentation.study.execution import carry_out

    return carry_out(options)
