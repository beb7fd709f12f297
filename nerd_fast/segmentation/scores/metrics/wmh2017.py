"""The metrics of the WMH segmentation challenge of 2017 (Kuijf et al. 2019) as its evaluation script computes them.

Reference values: 1 is white matter hyperintensity, 2 is another pathology. What a prediction says under label 2 is
removed before anything is computed, so that it is neither a hit nor a false alarm nor a miss.

- Dice over the voxels of the scan; NaN where both masks are empty.
- HD95 in mm: the surface is the mask minus its erosion by a full 3 x 3 box within each slice, the image border counting
  as foreground; the larger of the two directed 95th percentiles. NaN where a surface is empty.
- AVD, the absolute volume difference in percent of the reference's volume. NaN where the reference is empty.
- Recall and precision over lesions in 3-D, 26-connected, of any size, one common voxel being enough: 1 where there is
  no lesion to count. F1 is their harmonic mean, 0 where both are 0.

The script thresholds predictions at 0.5 and reads integer files wrongly under some SimpleITK versions; here masks are
compared by value, so the type of the file does not matter.
"""

import numpy as np
from scipy.ndimage import binary_erosion

from nerd_fast.segmentation.scores.metrics import overlap
from nerd_fast.segmentation.scores.metrics.lesions import count_lesions
from nerd_fast.segmentation.scores.metrics.masks import check_mask, check_masks, check_steps
from nerd_fast.segmentation.scores.metrics.surface import distances_between


def remove_ignored(prediction, truth, ignore):
    """Return both masks with the voxels of the mask `ignore` made background.

    Raises ValueError for different shapes and as `check_mask` does.
    """
    prediction, truth = check_masks(prediction, truth)
    ignore = check_mask(ignore, "ignore")
    if ignore.shape != truth.shape:
        raise ValueError(f"ignore must have the shape of truth, {truth.shape}; found {ignore.shape}")
    return prediction & ~ignore, truth & ~ignore


def evaluate(prediction, truth, spacing, *, slice_axis=2, counts=None):
    """Return dice, hd95_mm, avd_percent, recall, precision and f1 of two 3-D masks.

    `spacing` is in mm, as for `check_steps`; `slice_axis` is the axis across the slices, which the surface is taken
    within; `counts` are the `LesionCounts` of the masks where they are known already. What is ignored has been taken
    out of the masks before (`remove_ignored`). Raises ValueError as `check_masks` does.
    """
    prediction, truth = check_masks(prediction, truth)
    steps = check_steps(spacing, prediction.ndim)
    volume, predicted_volume = int(np.count_nonzero(truth)), int(np.count_nonzero(prediction))
    return {
        "dice": overlap.dice(prediction, truth) if volume or predicted_volume else np.nan,
        "hd95_mm": hausdorff95(prediction, truth, steps, slice_axis),
        "avd_percent": abs(predicted_volume - volume) / volume * 100 if volume else np.nan,
        **detection(counts or count_lesions(prediction, truth)),
    }


def hausdorff95(prediction, truth, spacing, slice_axis=2):
    """HD95 of two bool masks over the surfaces within slices, in units of `spacing`; NaN where a surface is empty."""
    steps = check_steps(spacing, prediction.ndim)
    points = [np.argwhere(slice_surface(mask, slice_axis)) for mask in (prediction, truth)]
    if min(map(len, points)) == 0:
        return np.nan
    return distances_between(*points, steps).hausdorff_percentile(95)


def slice_surface(mask, slice_axis=2):
    """A bool mask minus its erosion within each slice by a 3 x 3 box, the border counting as foreground."""
    box = np.ones([1 if axis == slice_axis else 3 for axis in range(mask.ndim)])
    return mask & ~binary_erosion(mask, structure=box, border_value=1)


def detection(counts):
    """Recall, precision and F1 of `LesionCounts`, with the challenge's values where there is nothing to count."""
    recall = counts.ltpr() if counts.truth else 1.0
    precision = counts.precision() if counts.predicted else 1.0
    f1 = 2 * recall * precision / (recall + precision) if recall + precision else 0.0
    return {"recall": recall, "precision": precision, "f1": f1}
