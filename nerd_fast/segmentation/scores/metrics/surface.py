"""Distances between the surfaces of two masks: Hausdorff, its 95th percentile, and average surface distance.

The surface of a mask is its voxels that have a face neighbour outside it, the array's border counting as outside: the
definition of MONAI and of MedPy, in which the left atrium's literature reports. Along an axis of length 1 there is no
neighbour, and the border is none: the surface of a single slice is its outline. Distances run between voxel centres.
With spacing in mm they are in mm; with spacing 1 they are in voxels.

Empty masks: one empty, every distance is infinite; both empty, there is no distance, and the value is NaN.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, generate_binary_structure
from scipy.spatial import KDTree


@dataclass(frozen=True)
class SurfaceDistances:
    """From every surface voxel of one mask to the nearest surface voxel of the other, both ways."""

    prediction_to_truth: np.ndarray
    truth_to_prediction: np.ndarray

    def hausdorff(self):
        """The largest distance, HD."""
        return self.hausdorff_percentile(100)

    def hausdorff_percentile(self, percentile=95):
        """The larger of the two directed percentiles, HD95 as MONAI and the WMH challenge define it."""
        return self._undefined() or max(
            float(np.percentile(distances, percentile))
            for distances in (self.prediction_to_truth, self.truth_to_prediction)
        )

    def average(self):
        """Mean distance from the prediction's surface to the truth's, ASD; not symmetric."""
        return self._undefined() or float(self.prediction_to_truth.mean())

    def average_symmetric(self):
        """Mean over the surface voxels of both masks together, ASSD."""
        both = np.concatenate((self.prediction_to_truth, self.truth_to_prediction))
        return self._undefined() or float(both.mean())

    def _undefined(self):
        empty = (self.prediction_to_truth.size == 0) + (self.truth_to_prediction.size == 0)
        return (None, np.inf, np.nan)[empty]


def surface(mask):
    """The voxels of a bool mask that have a face neighbour outside it, as a bool mask."""
    cross = generate_binary_structure(mask.ndim, 1)
    if max(mask.shape, default=0) > 1:
        cross = cross[tuple(slice(1, 2) if length == 1 else slice(None) for length in mask.shape)]
    return mask & ~binary_erosion(mask, structure=cross)


def distances_between(prediction, truth, steps):
    """Return the `SurfaceDistances` of two sets of voxel indices (n, dimensions), in units of `steps`.

    `steps` is a matrix whose columns are the steps along the axes, as `check_steps` returns it. A k-d tree over the
    voxels gives the exact Euclidean distance wherever the masks lie, at a cost that grows with the surface and not with
    the volume, unlike a distance transform.
    """
    prediction, truth = prediction @ steps.T, truth @ steps.T
    return SurfaceDistances(_nearest(prediction, truth), _nearest(truth, prediction))


def _nearest(points, targets):
    if len(targets) == 0:
        return np.full(len(points), np.inf)
    return KDTree(targets, leafsize=32).query(points)[0]
