"""Where two masks really disagree: the regions that figures box, and the slice they are looked at on.

Masks of one lesion or organ differ by a rim of pixels nearly everywhere. A region of error is what remains beyond that
rim: the pixels of one mask that lie more than `tolerance` pixels from the other, joined where they touch (8-connected).
A lesion that was missed altogether is such a region, and so is the end of a large organ that was cut off.
"""

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects

from nerd_fast.segmentation.scores.metrics.lesions import label_lesions
from nerd_fast.segmentation.scores.metrics.masks import check_masks

TOLERANCE = 2.0


def beyond(mask, other, tolerance=TOLERANCE):
    """The pixels of `mask` more than `tolerance` pixels from the nearest pixel of `other`; two bool masks (H, W)."""
    if not other.any():
        return mask.copy()
    return mask & (distance_transform_edt(~other) > tolerance)


def missed(prediction, truth, tolerance=TOLERANCE):
    """Pixels of missed regions, a bool mask (H, W)."""
    prediction, truth = check_masks(prediction, truth)
    return beyond(truth, prediction, tolerance)


def over_segmented(prediction, truth, tolerance=TOLERANCE):
    """Pixels of over-segmented regions, a bool mask (H, W)."""
    return missed(truth, prediction, tolerance)


def boxes(regions):
    """Bounding boxes of the regions of a bool mask (H, W), largest region first, as pairs of slices."""
    labels, count = label_lesions(regions)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    found = find_objects(labels)
    return [found[index] for index in np.argsort(-sizes, kind="stable")]


def choose_slice(truth, masks, *, kind="both", axis=2, tolerance=TOLERANCE):
    """Return the index, along `axis`, of the slice to show, by rule.

    It is the slice where the regions of error of the first of `masks`, the baseline, cover most pixels: the missed ones
    for `kind` "missed", the over-segmented ones for "over", the sum for "both". Where there is none, and for "truth",
    it is the slice with most pixels of truth; of equals, the first.

    Args:
        truth: (X, Y, Z) bool or 0 and 1.
        masks: {name: mask of the same shape}, the baseline first.

    Raises ValueError for another `kind`, for no masks and for masks of another shape.
    """
    if kind not in ("missed", "over", "both", "truth"):
        raise ValueError(f"kind must be 'missed', 'over', 'both' or 'truth'; found {kind!r}")
    if not masks:
        raise ValueError("masks must name one mask or more; found none")
    prediction, truth = check_masks(next(iter(masks.values())), truth)
    pairs = list(zip(np.moveaxis(prediction, axis, 0), np.moveaxis(truth, axis, 0), strict=True))
    areas = np.zeros(len(pairs), dtype=int)
    for index, (predicted, true) in enumerate(pairs):
        if kind in ("missed", "both"):
            areas[index] += np.count_nonzero(missed(predicted, true, tolerance))
        if kind in ("over", "both"):
            areas[index] += np.count_nonzero(over_segmented(predicted, true, tolerance))
    if not areas.any():
        areas = np.array([np.count_nonzero(true) for _, true in pairs])
    return int(areas.argmax())
