"""Options as dataclasses, which the command line, Python, the YAML files and the checkpoints share.

Here are those of a run and what several commands have in common; a command's own are beside what it does. The defaults
of `TrainConfig` are the paper's (section 3.2) where the paper states a value. This module imports nothing heavy,
so that `nerd-fast train --help` answers at once.
"""

# ruff: noqa: RUF009  `option` is dataclasses.field with a help text
from dataclasses import asdict, dataclass, field, fields
from math import inf
from typing import Any, Literal

from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.base.typed import make_typed

# Where a run is written and how fast, not what it computes: these may change when a run is resumed.
NOT_PART_OF_A_RUN = ("data", "out", "split", "num_workers", "resume", "override")


Head = Literal["conv", "nerdm", "nerdc", "coordconv", "blind"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
OLD_PRECISIONS: dict[str, Precision] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}  # in checkpoints of earlier versions
MODELS = {"conv": "U-Net", "nerdc": "NeRDc", "nerdm": "NeRDm", "coordconv": "CoordConv", "blind": "NeRDm-blind"}
"""What tables and pictures call the network with each head."""


def option(default, text, **keywords):
    """A field with its help text; lists are copied for each instance.

    `required` marks an option that the command cannot do without (`require`), `nargs` fixes the length of a list,
    `positional` takes it without its name.
    """
    metadata = {"help": text, **keywords}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def as_in(options_class: type, name: str) -> Any:
    """A field with the default and the help text that the option has in another command."""
    entry = next(entry for entry in fields(options_class) if entry.name == name)
    return field(default=entry.default, default_factory=entry.default_factory, metadata=entry.metadata)


@dataclass
class Options:
    """What the options of every command have in common: each of them is what its annotation says."""

    def __post_init__(self):
        try:
            make_typed(self)
        except TypeError as error:
            name, _, rest = str(error).partition(":")
            raise UsageError(f"--{name.replace('_', '-')}:{rest}") from None


@dataclass
class DataOptions(Options):
    """Which files to read, and which part of each volume."""

    data: str | None = option(None, "folder of the data set", required=True)
    channels: list[str] | None = option(None, "image channels, by file name, in order (default: found in the folder)")
    label: str | None = option(None, "label, by file name (default: found in the folder)")
    label_values: list[int] | None = option(None, "values of the label, background first (default: 0 1)")
    layout: str = option("auto", "how the folder is laid out")
    split: str | None = option(None, "JSON file of train, val and test cases (default: that of the data, or a new one)")
    size: list[int] | None = option(
        None, "rows and columns of a slice (default: the largest over the cases, up to a multiple of 16)", nargs=2
    )
    axis: int | None = option(
        None,
        "axis the slices are stacked along, for all cases (default: that of largest spacing, if all agree); "
        "nothing is resampled",
    )
    percentiles: list[float] = option(
        [0, 100], "percentiles of a channel's intensities that become 0 and 1, over the whole volume", nargs=2
    )
    nonfinite: Literal["error", "zero"] = option("error", "NaN and infinity in a channel: an error, or zero")
    allow_geometry_mismatch: bool = option(
        False,
        "where affines place the images of a case apart, take voxel [i, j, k] of one file for voxel [i, j, k] of the "
        "others; the axes of the files must be equally long",
    )

    def __post_init__(self):
        super().__post_init__()
        if self.channels is not None:
            found = ", ".join(self.channels) or "none"
            twice = [name for name in dict.fromkeys(self.channels) if self.channels.count(name) > 1]
            check(self.channels and not twice, "channels", found, "one or more names, each of them once")
            check(self.label not in self.channels, "label", self.label, f"another image than the channels, {found}")
        if self.size is not None:
            check(min(self.size) >= 16, "size", self.size, "two numbers from 16 on")
        check(self.axis in (None, 0, 1, 2), "axis", self.axis, "0, 1 or 2, the axis across, along or up the patient")
        low, high = self.percentiles
        check(0 <= low < high <= 100, "percentiles", self.percentiles, "two numbers from 0 to 100, the lower first")
        if self.label_values is not None:
            values = self.label_values
            sound = len(values) == len(set(values)) > 1 and min(values) >= 0 and max(values) <= 255
            check(sound, "label_values", values, "two or more different numbers from 0 to 255, background first")


@dataclass
class TrainConfig(DataOptions):
    """Train a U-Net."""

    out: str | None = option(None, "folder of the run: checkpoints, configuration and log", required=True)
    head: Head = option(
        "conv",
        "last layer: the 1x1 convolution or a NeRD head; to compare with, also the convolution with coordinates at the "
        "input (coordconv) and NeRDm without position (blind)",
    )
    filters: list[int] = option([256], "filters of the five levels, or the deepest alone (256 or 512 in the paper)")
    normalisation: Literal["batch", "instance", "group"] = option("batch", "normalisation of the U-Net")
    dropout: float = option(0.0, "dropout of the U-Net")
    hidden_channels: list[int] = option([32, 32], "hidden layers of the calibrator")
    distance_scale: float | Literal["extent"] = option("extent", "boundary distances: 'extent', or a factor for pixels")

    loss: Literal["entropy+dice", "entropy", "dice"] = option(
        "entropy+dice", "(binary) cross-entropy, Dice over the batch, or their sum"
    )
    epochs: int = option(90, "passes over the training slices")
    every: int = option(1, "train on every n-th slice of a volume; neighbours are nearly alike")
    batch_size: int = option(14, "slices of a step, on each device")
    lr: float = option(1e-3, "learning rate of Adam")
    weight_decay: float = option(1e-6, "weight decay of Adam")
    milestones: list[float] = option([0.5, 0.7, 0.9], "parts of the epochs after which the rate falls")
    gamma: float = option(0.5, "what the rate falls by")
    accumulate_grad_batches: int = option(1, "batches whose gradients make a step")
    gradient_clip_val: float | None = option(None, "largest norm of the gradient")
    flip: bool = option(False, "flip slices at random along both axes")
    rotate: float = option(0.0, "turn slices at random by up to so many degrees")
    seed: int = option(0, "seed of weights, order, augmentation and a new split")

    precision: Precision = option(
        "32-true", "of products: 32-true, bf16-mixed or 16-mixed; weights are kept in float32 always"
    )
    accelerator: str = option("auto", "cpu, gpu or auto")
    devices: int | str = option("auto", "number of devices")
    num_nodes: int = option(1, "number of machines")
    deterministic: bool = option(False, "refuse operations whose result varies from call to call on a GPU")
    compile: bool = option(False, "compile the network with torch.compile")
    data_on_device: bool = option(False, "keep all slices in the memory of the device")
    num_workers: int = option(0, "processes that make batches; the slices are in memory, 0 is usually fastest")

    resume: bool = option(False, "continue the run in OUT after its last checkpoint, with its options")
    override: bool = option(False, "resume although data or options have changed")

    def __post_init__(self):
        if isinstance(self.precision, str):
            self.precision = OLD_PRECISIONS.get(self.precision, self.precision)
        super().__post_init__()
        self.filters = five_widths(self.filters)
        positive = ("epochs", "every", "batch_size", "lr", "accumulate_grad_batches", "num_nodes")
        for name in positive:
            check(0 < getattr(self, name) < inf, name, getattr(self, name), "a number above 0")
        for name in ("weight_decay", "rotate", "num_workers"):
            check(0 <= getattr(self, name) < inf, name, getattr(self, name), "a number from 0 on")
        check(0 <= self.seed < 2**63, "seed", self.seed, "a number from 0 to below 2^63")
        sound = len(self.hidden_channels) > 0 and min(self.hidden_channels) > 0
        check(sound, "hidden_channels", self.hidden_channels, "one or more numbers above 0")
        scale = self.distance_scale
        check(scale == "extent" or 0 < scale < inf, "distance_scale", scale, "extent, or a number above 0")
        clip = self.gradient_clip_val
        check(clip is None or clip > 0, "gradient_clip_val", clip, "a number above 0")
        on_device = self.data_on_device and self.num_workers > 0
        check(not on_device, "num_workers", self.num_workers, "0 with --data-on-device, for the slices are there")
        check(0 <= self.dropout < 1, "dropout", self.dropout, "a number from 0 to below 1")
        check(all(0 < part < 1 for part in self.milestones), "milestones", self.milestones, "numbers in (0, 1)")
        check(0 < self.gamma <= 1, "gamma", self.gamma, "a number in (0, 1]")

    def differences(self, other: "TrainConfig") -> list[str]:
        """Lines 'option: other -> self' for each option that changes what the run computes."""
        mine, theirs = asdict(self), asdict(other)
        names = [entry.name for entry in fields(self) if entry.name not in NOT_PART_OF_A_RUN]
        return [f"{name}: {theirs[name]} -> {mine[name]}" for name in names if mine[name] != theirs[name]]


@dataclass
class InferenceOptions(Options):
    """How masks are made from a run."""

    run: str | None = option(None, "folder of a trained run", required=True)
    # The last one by default: the rate has fallen by then, and the best of a few noisy validation volumes comes early.
    checkpoint: Literal["best", "last"] = option(
        "last",
        "which checkpoint of the run; best is that of the highest validation Dice, or of the lowest training loss "
        "where nothing is validated",
    )
    batch_size: int = option(32, "slices at once; halved where memory runs out")
    flips: bool = option(False, "average over the flipped slices too")
    window: list[int] | None = option(
        None,
        "windows of so many rows and columns that move over the whole slice, overlapping by half: sees what lies "
        "outside of the run's slice size, and takes less memory (default: the slice at once, cut to the run's size)",
        nargs=2,
    )
    threshold: float = option(0.5, "probability from which a voxel is foreground")
    nonfinite: Literal["error", "zero"] | None = option(
        None, "NaN and infinity in a channel: error, or zero (default: as the run was trained)"
    )
    allow_geometry_mismatch: bool | None = option(
        None,
        "where affines place the images of a case apart, take voxel [i, j, k] of one file for voxel [i, j, k] of the "
        "others (default: as the run was trained)",
    )
    accelerator: str = option("auto", "cpu, gpu or auto")

    def __post_init__(self):
        super().__post_init__()
        check(self.batch_size > 0, "batch_size", self.batch_size, "a number above 0")
        check(0 < self.threshold < 1, "threshold", self.threshold, "a probability between 0 and 1")
        if self.window is not None:
            check(min(self.window) >= 16, "window", self.window, "two numbers from 16 on")


def five_widths(filters: list[int]) -> list[int]:
    """The filters of the five levels: five numbers as they are, or the deepest halved upward (256 -> 16, ..., 256)."""
    if len(filters) == 1 and filters[0] >= 16 and filters[0] % 16 == 0:
        return [filters[0] // 2**level for level in (4, 3, 2, 1, 0)]
    if len(filters) == 5 and min(filters) >= 1:
        return filters
    raise UsageError(f"--filters: expected five numbers, or one multiple of 16; found {filters}")


def require(options: Options, kind: type[Options]) -> None:
    """Raise TypeError for what are no options of that kind, UsageError for required ones that were not given.

    They are checked again, since they may have been changed after they were made.
    """
    if not isinstance(options, kind):
        raise TypeError(f"options: expected {kind.__name__}, got {type(options).__name__}")
    options.__post_init__()
    needed = [entry for entry in fields(options) if entry.metadata.get("required")]
    missing = [
        f"--{each.name} is missing: {each.metadata['help']}" for each in needed if not getattr(options, each.name)
    ]
    if missing:
        raise UsageError("; ".join(missing))


def check(holds: Any, name: str, found: Any, expected: str) -> None:
    """Raise UsageError for the option `name` unless it `holds`."""
    if not holds:
        raise UsageError(f"--{name.replace('_', '-')}: expected {expected}; found {found}")
