"""What the metrics ask of a pair of masks and of their voxels, and the box outside which neither has a voxel."""

import numpy as np


def check_masks(prediction, truth):
    """Return both as bool arrays; raises ValueError for different shapes and as `check_mask` does."""
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction and truth must have the same shape; found {prediction.shape} and {truth.shape}")
    return check_mask(prediction, "prediction"), check_mask(truth, "truth")


def check_mask(mask, name):
    """Return `mask` as a bool array.

    Raises ValueError for values other than 0 and 1: a probability or a label map that was never turned into a mask
    would give a number that means nothing.
    """
    mask = np.asarray(mask)
    if mask.dtype == bool:
        return mask
    result = mask != 0
    others = np.unique(mask[result & (mask != 1)])
    if others.size:
        raise ValueError(
            f"{name} must be a mask of 0 and 1; found {others[:5].tolist()}. "
            "Threshold probabilities, and pick one label of a label map, first"
        )
    return result


def check_steps(spacing, dimensions):
    """Return the steps from voxel to voxel in mm as the columns of a matrix (dimensions, dimensions).

    `spacing` is one positive number per axis, or that matrix: the linear part of an affine, whose axes need not stand
    at right angles. Raises ValueError for anything else, and for axes that lie in one plane.
    """
    steps = np.asarray(spacing, dtype=float)
    if steps.shape == (dimensions,) and (steps > 0).all():
        steps = np.diag(steps)
    square = steps.shape == (dimensions, dimensions) and np.isfinite(steps).all()
    if not square or abs(np.linalg.det(steps)) <= 1e-6 * np.linalg.norm(steps, axis=0).prod():
        raise ValueError(
            f"spacing must be {dimensions} positive numbers in mm, one per axis, or the matrix of an affine; "
            f"found {spacing!r}"
        )
    return steps


def foreground_box(mask, margin=0):
    """Slices of the bounding box of `mask`'s voxels, `margin` voxels wider, cut at the border of the array."""
    box = []
    for axis, size in enumerate(mask.shape):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        occupied = np.flatnonzero(mask.any(axis=others))
        if occupied.size == 0:
            return (slice(0, 0),) * mask.ndim
        box.append(slice(max(occupied[0] - margin, 0), min(occupied[-1] + 1 + margin, size)))
    return tuple(box)
