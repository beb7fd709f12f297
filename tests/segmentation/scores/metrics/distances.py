"""The distances between two masks, for tests."""

import numpy as np

from nerd_fast.segmentation.scores.metrics.masks import check_masks, check_steps
from nerd_fast.segmentation.scores.metrics.surface import distances_between, surface


def surface_distances(prediction, truth, spacing):
    """The `SurfaceDistances` of two masks of one shape; `spacing` as for `check_steps`."""
    prediction, truth = check_masks(prediction, truth)
    steps = check_steps(spacing, prediction.ndim)
    return distances_between(np.argwhere(surface(prediction)), np.argwhere(surface(truth)), steps)
