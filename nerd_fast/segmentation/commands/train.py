"""`nerd-fast train`: a U-Net from the cases of a data set. Its options are `base.config.TrainConfig`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nerd_fast.segmentation.base.config import TrainConfig, require

if TYPE_CHECKING:
    from nerd_fast.segmentation.training.session import TrainedRun

__all__ = ["TrainConfig", "run", "train"]


def train(options: TrainConfig) -> TrainedRun:
    """Train until the last epoch or a signal; says each epoch on standard output, and returns the folder and the log.

    Raises UsageError, DataError and CheckpointError before anything is trained, NonFiniteError where training diverges,
    and Interrupted after SIGINT or SIGTERM, with the checkpoints in place.
    """
    require(options, TrainConfig)
    from nerd_fast.segmentation.training.session import train_run

    return train_run(options)


def run(options: TrainConfig) -> None:
    """Train; what there is to say is said meanwhile."""
    train(options)
