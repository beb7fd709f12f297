"""A case (the files of one scan) and a data set (the cases of one folder). Nothing here opens an image."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nerd_fast.segmentation.base.faults import data_error
from nerd_fast.segmentation.data.headers import SUFFIXES, stem, suffix

WMH2017 = ("wmh2017", "wmh2017-orig")
"""The layouts of the WMH challenge of 2017: label 2 is other pathology there, and the challenge has its own metrics."""


@dataclass(frozen=True)
class Case:
    """One scan: a file per channel, the label where there is one, and whom it belongs to where that is known.

    `component` gives the number of the image within a 4-D file for channels that share one. `part` says which folder
    of the source held the case, `training` or `test`, where the source has such folders.
    """

    name: str
    channels: Mapping[str, Path]
    label: Path | None = None
    site: str | None = None
    patient: str | None = None
    part: str | None = None
    component: Mapping[str, int] = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:
        """Every file of the case, once: the channels in their order, then the label."""
        return list(dict.fromkeys([*self.channels.values(), *([self.label] if self.label else [])]))


@dataclass(frozen=True)
class DataSet:
    """The cases under `root`, by name.

    `label_values` are the values of the label files: the first is background, the others are the classes 1, 2, ...;
    `ignore_values`, further values, are background to a network and left out of an evaluation. `split_source` is a
    split file or the split itself, where the layout carries one; `splits.split_of` reads it.
    """

    root: Path
    layout: str
    cases: tuple[Case, ...]
    channels: tuple[str, ...]
    label: str | None
    label_values: tuple[int, ...] = (0, 1)
    ignore_values: tuple[int, ...] = ()
    split_source: Path | Mapping[str, list[str]] | None = None

    @property
    def names(self) -> list[str]:
        return [case.name for case in self.cases]

    def subset(self, names: Iterable[str]) -> list[Case]:
        """The cases of these names, in the order of the names."""
        cases = {case.name: case for case in self.cases}
        return [cases[name] for name in names]

    def describe(self) -> str:
        """One line to print: where, which layout, how many cases and labels, which channels and sites."""
        sites = sorted({case.site for case in self.cases if case.site})
        labels = sum(case.label is not None for case in self.cases)
        return (
            f"{self.root}: layout {self.layout}, {len(self.cases)} cases, channels {', '.join(self.channels)}, "
            f"{labels} labels{f' ({self.label})' if self.label else ''}"
            + (f", sites {', '.join(sites)}" if sites else "")
        )


def images_in(folder: str | os.PathLike) -> dict[str, Path]:
    """The image files of a folder by name without suffix, hidden ones aside.

    Raises:
        DataError: two files of one name, such as `T1.nii` and `T1.nii.gz`.
    """
    images: dict[str, Path] = {}
    for path in sorted(Path(folder).iterdir()):
        if not suffix(path) or path.name.startswith("."):
            continue
        if stem(path) in images:
            raise data_error(
                path,
                found=f"a second file for {stem(path)}, beside {images[stem(path)].name}",
                expected="one",
                remedy="remove or rename one of them",
            )
        images[stem(path)] = path
    return images


def safe_name(*parts: str) -> str:
    """A case name that is a good file name too: the parts joined by `_`, other signs than `A-Za-z0-9.+-` replaced."""
    joined = "_".join(parts)
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in ".+-") else "_" for sign in joined)


def place_of(folder: Path, name: str) -> Path:
    """Where in the folder an image that is missing was expected."""
    return folder / f"{name}{SUFFIXES[0]}"
