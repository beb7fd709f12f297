"""Slices to show, chosen by rule: where the first of several networks misses most, and where it invents most."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nerd_fast.segmentation.network.inference import predict_mask
from nerd_fast.segmentation.pictures.figures import overlay_figure
from nerd_fast.segmentation.pictures.regions import choose_slice, missed, over_segmented
from nerd_fast.segmentation.runs.loading import prepare

KINDS = {"missed": ("missed", missed), "over_segmented": ("over", over_segmented)}
"""File name: the kind of `choose_slice`, and the regions that are counted."""


@dataclass(frozen=True)
class Example:
    """One slice: where it is, what it shows, and the pixels of error of the first network."""

    case: str
    number: int
    image: np.ndarray
    truth: np.ndarray
    masks: dict[str, np.ndarray]
    spacing: tuple[float, float]
    area: int


def worst_slices(networks, cases, data, *, threshold=0.5, flips=False):
    """{kind: `Example`} over the cases: the slice where the first network's regions of that kind cover most pixels.

    Every class counts as foreground. Where a network makes no such error at all, the slice of most truth is shown.
    """
    found = {}
    for case in cases:
        prepared = prepare(case, data)
        masks = {
            name: predict_mask(network, prepared.images, threshold=threshold, flips=flips, name=case.name) > 0
            for name, network in networks.items()
        }
        for kind, example in _of_case(prepared, masks):
            if kind not in found or example.area > found[kind].area:
                found[kind] = example
    return found


def _of_case(prepared, masks):
    truth, axis = prepared.label > 0, prepared.geometry.axis
    spacing = tuple(length for number, length in enumerate(prepared.volume.spacing) if number != axis)
    for kind, (rule, regions) in KINDS.items():
        number = choose_slice(truth, masks, kind=rule, axis=0)
        shown = {name: mask[number] for name, mask in masks.items()}
        area = int(np.count_nonzero(regions(next(iter(shown.values())), truth[number])))
        yield kind, Example(prepared.name, number, prepared.images[number, 0], truth[number], shown, spacing, area)


def draw_example(path, example, channel, kind):
    """Draw an `Example` as the paper's Fig. 4 and 5; returns the path."""
    words = {"missed": "missed most", "over_segmented": "over-segmented most"}[kind]
    title = f"{example.case}, slice {example.number}, {channel}: where {next(iter(example.masks))} {words}"
    return overlay_figure(Path(path), example.image, example.truth, example.masks, title=title, spacing=example.spacing)
