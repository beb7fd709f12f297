"""The cases of a run, read and prepared, and what a checkpoint remembers of them."""

import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from nerd_fast.segmentation.base.errors import CheckpointError, DataError, UsageError
from nerd_fast.segmentation.base.typed import make_typed
from nerd_fast.segmentation.data.cases import WMH2017
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.data.prepared import prepare_case
from nerd_fast.segmentation.data.slices import (
    common_axis,
    first_grids,
    largest_size,
    other_spacing,
    slicing_axis,
    typical_spacing,
)
from nerd_fast.segmentation.data.splits import hash_files, load_split, make_split, split_of
from nerd_fast.segmentation.runs.runs import is_first_process


@dataclass
class RunData:
    """What a network was trained on, and all that is needed to prepare further cases in the same way.

    `axis` is that across the slices, of every scan whatever its header; `spacing` the median in-plane spacing in mm of
    the training cases; `padding` as for `prepare_case`. `split` names the cases of train, val and test; `files` maps
    each file read in training, relative to the data folder, to its SHA-256.

    The defaults are what runs did that do not say: no common axis, whose place the header of each scan took, and
    padding with zero; their `layout`, that of the data set, is not known.
    """

    channels: list[str]
    label: str | None
    label_values: list[int]
    ignore_values: list[int]
    size: list[int]
    axis: int | None
    percentiles: list[float]
    split: dict[str, list[str]]
    files: dict[str, str]
    nonfinite: str = "error"
    allow_geometry_mismatch: bool = False
    padding: str = "zero"
    spacing: list[float] | None = None
    layout: str | None = None

    def __post_init__(self):
        make_typed(self)

    @classmethod
    def of_checkpoint(cls, checkpoint: Mapping[str, Any], path: str | os.PathLike[str]) -> Self:
        """Those that a checkpoint holds, as `read_checkpoint` returned it. Raises CheckpointError for what is none."""
        try:
            return cls(**checkpoint["data"])
        except TypeError as error:
            raise CheckpointError(
                f"{path}: its description of the data cannot be used ({error}). Train again"
            ) from error

    @property
    def classes(self) -> int:
        """How many classes there are beside background."""
        return len(self.label_values) - 1

    @property
    def is_wmh2017(self) -> bool:
        """Whether these are data of the WMH challenge, with other pathology in label 2 and metrics of its own."""
        if self.layout is None:  # no other layout has a label of that name and ignores that value
            return self.label == "wmh" and self.ignore_values == [2]
        return self.layout in WMH2017

    def read_as(self, options: Any) -> Self:
        """These data with what `options` say of NaN and of geometry; None leaves it as the run was trained."""
        names = ("nonfinite", "allow_geometry_mismatch")
        asked = {name: getattr(options, name) for name in names}
        return replace(self, **{name: value for name, value in asked.items() if value is not None})

    def differences(self, other: "RunData") -> list[str]:
        """Lines that say how these data differ from those of `other`; no line where they are the same.

        What an older run does not say, its axis and its spacing, is no difference; nor is another layout in which the
        same is found.
        """
        mine, theirs = asdict(self), asdict(other)
        del mine["layout"], theirs["layout"]
        for name in ("axis", "spacing"):
            if theirs[name] is None:
                mine[name] = None
        before, now = theirs.pop("files"), mine.pop("files")
        lines = [f"{name}: {theirs[name]} -> {mine[name]}" for name in mine if mine[name] != theirs[name]]
        lines += [f"{path} has changed" for path in sorted(before.keys() & now.keys()) if before[path] != now[path]]
        lines += [f"{path} is gone" for path in sorted(before.keys() - now.keys())]
        return lines + [f"{path} is new" for path in sorted(now.keys() - before.keys())]


def find_data(options):
    """The data set that the options name, with the label values asked for; says what was found."""
    try:
        dataset = find_cases(options.data, channels=options.channels, label=options.label, layout=options.layout)
    except ValueError as error:
        raise UsageError(f"--layout: {error}") from error
    if options.label_values:
        dataset = replace(dataset, label_values=tuple(options.label_values))
    if is_first_process():
        print(dataset.describe(), file=sys.stderr)
    return dataset


def find_data_of(data, folder, layout):
    """The data set in `folder`, of channels, label and label values as those of the run's `RunData`."""
    return find_data(
        Namespace(data=folder, layout=layout, channels=data.channels, label=data.label, label_values=data.label_values)
    )


def cases_named(dataset, names, expected):
    """The cases of these names. Raises DataError, which says what was `expected`, for a missing case and no name."""
    missing = sorted(set(names) - set(dataset.names))
    if missing or not names:
        found = f"no case {', '.join(missing)}" if missing else "no case in the subset"
        raise DataError(f"{dataset.root}: {found}; expected {expected}")
    return dataset.subset(names)


def find_split(dataset, path, seed):
    """The split in the file at `path`, else the one of the data, else a new one made from the seed."""
    if path:
        return load_split(path, dataset.cases)
    return split_of(dataset) or make_split(dataset.cases, seed=seed)


def load_training(config, *, padding="background"):
    """Read what `config` trains on: (RunData, prepared training cases, prepared validation cases).

    `padding` is that of `prepare_case`.

    Raises DataError for the first file that cannot be trusted, a case without label, a split without training cases.
    """
    dataset = find_data(config)
    split = find_split(dataset, config.split, config.seed)
    if not split["train"]:
        raise DataError(f"{config.split or config.data}: the split has no training case, expected one or more")
    cases = {part: dataset.subset(split[part]) for part in ("train", "val")}
    grids = {part: first_grids(found, dataset.channels[0]) for part, found in cases.items()}
    axis = common_axis({**grids["train"], **grids["val"]}, dataset.root) if config.axis is None else config.axis
    size = config.size or largest_size(first_grids(dataset.cases, dataset.channels[0]), axis)
    data = RunData(
        channels=list(dataset.channels),
        label=dataset.label,
        label_values=list(dataset.label_values),
        ignore_values=list(dataset.ignore_values),
        size=[int(length) for length in size],
        axis=axis,
        percentiles=list(config.percentiles),
        split=split,
        files=hash_files([*cases["train"], *cases["val"]], dataset.root),
        nonfinite=config.nonfinite,
        allow_geometry_mismatch=config.allow_geometry_mismatch,
        padding=padding,
        spacing=list(typical_spacing(grids["train"], axis)),
        layout=dataset.layout,
    )
    prepared = {part: [prepare(case, data) for case in found] for part, found in cases.items()}
    return data, prepared["train"], prepared["val"]


def prepare(case, data, *, labelled=True, whole=False):
    """The case as the network of these data takes it; with `labelled`, a case without label is a DataError.

    With `whole` its slices are not cropped. What is let pass (`nonfinite`, `allow_geometry_mismatch`, a label to be
    rounded, a doubtful header, what the crop cuts off, other pixels than the run's) is said on standard error.
    """
    axis, sentences = _axis_of(case, data)
    prepared = prepare_case(
        case,
        channels=data.channels,
        size=tuple(data.size),
        axis=axis,
        label=(data.label or "label") if labelled else None,
        label_values=data.label_values,
        ignore_values=data.ignore_values,
        percentiles=data.percentiles,
        padding=data.padding,
        whole=whole,
        nonfinite=data.nonfinite,
        allow_geometry_mismatch=data.allow_geometry_mismatch,
    )
    sentences += prepared.warnings
    if data.spacing and (other := other_spacing(prepared.volume, axis, data.spacing)):
        sentences.append(f"{case.name}: {other}")
    if is_first_process():
        for sentence in sentences:
            print(f"warning: {sentence}", file=sys.stderr)
    return prepared


def _axis_of(case, data):
    """The axis across the slices, and what is to be said where the run does not tell it."""
    if data.axis is not None:
        return data.axis, []
    axis = slicing_axis(first_grids([case], data.channels[0])[case.name].spacing)
    return axis, [f"{case.name}: cut across axis {axis} by its spacing, for the run does not say across which"]
