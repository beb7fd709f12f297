"""Voxel overlap of two masks of any number of dimensions. Two empty masks agree: 1; one empty mask: 0."""

import numpy as np

from nerd_fast.segmentation.scores.metrics.masks import check_masks


def dice(prediction, truth):
    """2 |P and T| / (|P| + |T|) in [0, 1] (Dice 1945)."""
    return _ratio(prediction, truth, lambda both, total: 2 * both / total)


def jaccard(prediction, truth):
    """|P and T| / |P or T| in [0, 1]."""
    return _ratio(prediction, truth, lambda both, total: both / (total - both))


def _ratio(prediction, truth, formula):
    prediction, truth = check_masks(prediction, truth)
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth))
    both = int(np.count_nonzero(prediction & truth))
    return formula(both, total) if total else 1.0
