"""All that is wrong with the files of one case: channels, label, and how they lie on one another."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.base.faults import fault_of
from nerd_fast.segmentation.data.grids import Grid
from nerd_fast.segmentation.data.prepared import class_numbers, intensity_limits
from nerd_fast.segmentation.data.report import Problem
from nerd_fast.segmentation.data.slices import SliceGeometry, outside_of_crop
from nerd_fast.segmentation.data.volumes import (
    Volume,
    check_finite,
    on_grid,
    read_label,
    read_volume,
    set_nonfinite_to_zero,
)


class CaseCheck:
    """The checks of one case: the grid of its first readable channel, the digests of its voxels, its problems."""

    def __init__(self, dataset, case, problems, *, size, axis, percentiles, nonfinite, allow_geometry_mismatch):
        self.dataset, self.case, self.problems = dataset, case, problems
        self.size, self.axis, self.percentiles = size, axis, percentiles
        self.nonfinite, self.allow_geometry_mismatch = nonfinite, allow_geometry_mismatch
        self.grid: Grid | None = None
        self.geometry: SliceGeometry | None = None
        self.digests: dict[str, str] = {}
        self.units: dict[str, str] = {}
        self.seen: np.ndarray | None = None

    def run(self) -> None:
        for channel in self.dataset.channels:
            volume = self._attempt(self._channel, channel)
            if volume is None:
                continue
            if self.grid is None:
                self._take_grid(volume)
            volume = self._on_grid(volume)
            if volume is not None:
                self.seen |= volume.data != 0
        self._check_crop()
        if self.case.label is not None:
            self._attempt(self._label)
        elif self.dataset.label is not None:
            self._report(
                "warning",
                self.case.name,
                f"no label {self.dataset.label}",
                "one to train or evaluate on",
                "add the file",
            )

    def _channel(self, channel: str) -> Volume:
        path = self.case.channels[channel]
        volume = read_volume(path, component=self.case.component.get(channel), nonfinite="keep")
        zero = self.nonfinite == "zero"
        finite = self._passes(check_finite, volume, volume.data, severity="warning" if zero else "error")
        if not finite and zero:
            set_nonfinite_to_zero(volume.data)
        if finite or zero:
            self._check_contrast(channel, volume)
        self._take_header(volume)
        return volume

    def _check_contrast(self, channel: str, volume: Volume) -> None:
        if self._passes(intensity_limits, volume.data, volume.source, self.percentiles, severity="error"):
            self.digests[channel] = hashlib.sha256(volume.data).hexdigest()

    def _on_grid(self, volume: Volume) -> Volume | None:
        """The volume on the grid of the case; None, and an error in the report, where it is not and may not be."""
        placed = self._attempt(on_grid, volume, self.grid, allow_mismatch=self.allow_geometry_mismatch)
        if placed is not None:
            self._report_allowed(placed, "one place for all images of a case", "correct the headers", of=volume)
        return placed

    def _report_allowed(self, volume, expected, remedy, *, of=None) -> None:
        """Warn of what was let pass, beyond what had been for the volume `of`."""
        for sentence in volume.allowed[len(of.allowed) if of else 0 :]:
            self._report("warning", volume.source, sentence.removeprefix(f"{volume.source}: "), expected, remedy)

    def _take_header(self, volume: Volume) -> None:
        self.units[str(volume.source)] = volume.unit
        for doubt in volume.doubts:
            self._report("warning", *asdict(doubt).values())

    def _check_crop(self) -> None:
        if self.grid is not None and (found := outside_of_crop(self.seen, self.geometry)):
            self._report(
                "warning",
                self.grid.source,
                found,
                "a crop that holds all of it",
                "choose a larger size, or use --window",
            )

    def _take_grid(self, volume: Volume) -> None:
        self.grid = volume.grid
        whole = SliceGeometry(self.axis, volume.shape, (1, 1))
        self.geometry = SliceGeometry(self.axis, volume.shape, tuple(self.size or whole.in_plane))
        self.seen = np.zeros(volume.shape, dtype=bool)

    def _label(self) -> None:
        label = read_label(self.case.label, (*self.dataset.label_values, *self.dataset.ignore_values))
        self._report_allowed(label, "whole numbers", "export the label again as integers")
        self._take_header(label)
        if self.grid is not None:
            label = self._on_grid(label)
        if label is None:
            return
        truth, _ = class_numbers(label, self.dataset.label_values, self.dataset.ignore_values)
        if not truth.any():
            self._report(
                "warning", label.source, "an empty label", "some voxels of a class", "check that nothing is to be found"
            )
        if self.grid is None:
            return
        lost = np.count_nonzero(truth) - np.count_nonzero(self.geometry.crop(truth))
        if lost:
            window = "x".join(map(str, self.geometry.size))
            self._report(
                "warning",
                label.source,
                f"{lost} of {np.count_nonzero(truth)} voxels of the label outside of the crop to {window}",
                "a crop that holds the whole label",
                "choose a larger size",
            )

    def _attempt(self, check: Callable, *arguments: Any, **options: Any) -> Any:
        try:
            return check(*arguments, **options)
        except DataError as error:
            self._report("error", *asdict(fault_of(error)).values())
            return None

    def _passes(self, check: Callable, *arguments: Any, severity: str) -> bool:
        try:
            check(*arguments)
        except DataError as error:
            self._report(severity, *asdict(fault_of(error)).values())
            return False
        return True

    def _report(self, severity, file, found, expected, remedy) -> None:
        self.problems.append(Problem(severity, self.case.name, str(file), found, expected, remedy))
