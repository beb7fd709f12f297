"""How far the distribution of features depends on where they are: the shift that the paper corrects, as one number.

The shift of a feature is the share of its variance that its position explains, cross-validated over cases. With
`x(i, v)` the feature in slice i at position v, and the cases dealt into folds,

    shift = 1 - sum_i sum_v (x(i, v) - m(v))^2 / sum_i sum_v (x(i, v) - m)^2,

where `m(v)` is the mean at position v and `m` the mean over all positions, both over the slices of the other folds. The
shift of several channels is the mean over the channels, so that none counts more for its scale; channels that never
vary are left out. Features of one distribution everywhere have a shift of about 0 (a little below it, by the reciprocal
of the number of slices: `m(v)` is an estimate); features that are a function of the position have 1.

Position explains anatomy too: a brain lies in the middle of its image, whatever a network pads. So the shift of the
images themselves stands beside that of the features, and `border_effect` measures what becomes of the same features
when the border comes nearer: by what is padded, and by what can no longer be seen.
"""

from dataclasses import dataclass

import numpy as np

FOLDS = 5


class PositionMoments:
    """Sums over slices of features and of their squares at every position, kept apart by fold of cases.

    `add` takes slices of the case of that number, (S, C, H, W), as often as needed; all have the same C, H and W. Sums
    are float64 and take 16 `folds` C H W bytes.
    """

    def __init__(self, folds=FOLDS):
        self.folds = folds
        self.cases = set()
        self.counts = np.zeros(folds)
        self.sums = self.squares = None

    def add(self, features, case):
        if self.sums is None:
            self.sums = np.zeros((self.folds, *np.shape(features)[1:]))
            self.squares = np.zeros_like(self.sums)
        self.cases.add(case)
        fold = case % self.folds
        self.counts[fold] += len(features)
        self.sums[fold] += features.sum(axis=0, dtype=np.float64)
        self.squares[fold] += np.square(features, dtype=np.float64).sum(axis=0)

    def mean(self):
        """The mean of every channel at every position, (C, H, W)."""
        return self.sums.sum(axis=0) / self.counts.sum()

    def spread(self):
        """The standard deviation over the slices of every channel at every position, (C, H, W)."""
        variance = self.squares.sum(axis=0) / self.counts.sum() - self.mean() ** 2
        return np.sqrt(np.maximum(variance, 0))

    def deviation(self):
        """The standard deviation of every channel over slices and positions, (C,)."""
        total = self.squares.sum(axis=0).mean(axis=(1, 2)) / self.counts.sum()
        return np.sqrt(np.maximum(total - self.mean().mean(axis=(1, 2)) ** 2, 0))

    def shift(self):
        """The share of each channel's variance that position explains, (C,); NaN for a channel that never varies.

        Raises ValueError for fewer than two cases, which nothing can be cross-validated over.
        """
        if len(self.cases) < 2:
            raise ValueError(f"the shift needs the features of 2 cases or more; found {len(self.cases)}")
        unexplained = total = 0
        for fold in np.flatnonzero(self.counts):
            count = self.counts[fold]
            mean = (self.sums.sum(axis=0) - self.sums[fold]) / (self.counts.sum() - count)
            unexplained += self._error(fold, mean)
            total += self._error(fold, np.broadcast_to(mean.mean(axis=(1, 2), keepdims=True), mean.shape))
        return np.divide(total - unexplained, total, where=self.varies(), out=np.full(len(total), np.nan))

    def _error(self, fold, mean):
        """The sum over slices and positions of (x - mean)^2, (C,)."""
        error = self.squares[fold] - 2 * mean * self.sums[fold] + self.counts[fold] * mean**2
        return error.sum(axis=(1, 2))

    def varies(self):
        """Which channels vary at all beyond rounding, bool (C,)."""
        size = np.sqrt(self.squares.sum(axis=0).mean(axis=(1, 2)) / self.counts.sum())
        return self.deviation() > 1e-6 * size


@dataclass(frozen=True)
class Profile:
    """Features against the distance to the nearest border: `distance` (n,) pixels, `mean` and `spread` (C, n).

    Features are in units of their channel's deviation over the whole image, and relative to its mean.
    """

    distance: np.ndarray
    mean: np.ndarray
    spread: np.ndarray


def border_distance(size):
    """The distance in pixels to the nearest border of an image, (H, W): the smallest of the paper's v."""
    rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) for n in size)
    return np.minimum(rows[:, None], columns[None])


def profile(moments):
    """The `Profile` of `PositionMoments`; channels that never vary are left out."""
    distance = border_distance(moments.sums.shape[-2:])
    keep = moments.varies()
    mean, deviation = moments.mean()[keep], moments.deviation()[keep, None]
    variance = moments.spread()[keep] ** 2
    levels = np.arange(distance.max() + 1)
    counts = np.bincount(distance.ravel())
    means = _by_distance(mean, distance) / counts
    # The spread at a distance has two parts: over the slices at each position, and over the positions.
    second = _by_distance(variance + mean**2, distance) / counts
    spread = np.sqrt(np.maximum(second - means**2, 0))
    return Profile(levels, (means - mean.mean(axis=(1, 2))[:, None]) / deviation, spread / deviation)


def border_effect(cropped, whole, margin):
    """The squared difference of the same features with the border nearer, summed over slices and channels: (n,).

    `cropped` (S, C, h, w) are features of images that lack `margin` pixels on every side, `whole` (S, C, H, W) those of
    the images as they are, both in units of their channel's deviation. Index d stands for the positions d pixels
    from the border of the cropped image. Where a feature sees neither border nor padding the difference is 0.
    """
    squares = np.square(cropped - _inner(whole, margin), dtype=np.float64).sum(axis=(0, 1))
    return _by_distance(squares[None], border_distance(squares.shape))[0]


def ordinary_variance(moments, margin):
    """The variance over slices of the features that `border_effect` compares, summed over channels and slices: (n,).

    In the same units and at the same positions: features near the border of a scan, where there is nothing to see,
    hardly vary, and a change of theirs is small beside one where they do.
    """
    keep = moments.varies()
    variance = (moments.spread()[keep] / moments.deviation()[keep, None, None]) ** 2
    inner = _inner(variance, margin).sum(axis=0) * moments.counts.sum()
    return _by_distance(inner[None], border_distance(inner.shape))[0]


def _inner(array, margin):
    return array[..., margin : array.shape[-2] - margin, margin : array.shape[-1] - margin]


def _by_distance(values, distance):
    return np.stack([np.bincount(distance.ravel(), weights=channel.ravel()) for channel in values])
