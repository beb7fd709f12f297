"""`nerd-fast predict`: masks as NIfTI. A rerun makes what is missing."""

# ruff: noqa: RUF009  `option` is dataclasses.field with a help text
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nerd_fast.segmentation.base.config import InferenceOptions, option, require

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class PredictOptions(InferenceOptions):
    """Masks as NIfTI in the geometry of the input. A rerun makes what is missing."""

    input: list[str] = option([], "folders of cases, or single images for a network of one channel", required=True)
    out: str | None = option(None, "folder of the masks", required=True)
    overwrite: bool = option(False, "make every mask again, and replace those that this command made; no other file")


def predict(options: PredictOptions) -> list[Path]:
    """Write a mask for each case, or find it finished; says each one on standard output, and returns their paths.

    Raises UsageError before a mask is made where one would take the place of an input or of a file that is not ours,
    and, where `overwrite` is false, of a mask that was made by another checkpoint, with other options or of other
    images.
    """
    require(options, PredictOptions)
    from nerd_fast.segmentation.network.prediction import write_masks

    return write_masks(options)


def run(options: PredictOptions) -> None:
    """Predict; each mask is said as it is there."""
    predict(options)
