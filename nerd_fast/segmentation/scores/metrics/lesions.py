"""Lesion-wise metrics in the definitions of the paper, section 3.2.

A lesion is a connected component in three dimensions, 26-connected unless asked otherwise, of any size; it is found
when it shares one voxel or more with the other mask. With GL and PL the numbers of lesions in the truth and in the
prediction, and TPR the number of truth lesions that are found:

- LTPR = TPR / GL. Undefined where GL = 0.
- LPPV = TPR / PL as printed, though TPR counts truth lesions: it exceeds 1 where one predicted lesion covers several
  of the truth's. Undefined where PL = 0.
- LFPR, which the paper's Table 1 reports and its text does not define, is the share of predicted lesions that touch no
  truth lesion (the usage of the ISBI 2015 challenge). It is 1 - precision, not 1 - LPPV. Undefined where PL = 0.
- LDice is printed as TPR / (GL + PL), which cannot exceed 0.5 where lesions match one to one, while Table 1 reports
  67 to 72 %. `ldice` has the factor 2 that these numbers need, `ldice_printed` has not. Both undefined where
  GL + PL = 0; like LPPV they can exceed their nominal maximum.

Undefined values are NaN.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import generate_binary_structure, label

from nerd_fast.segmentation.scores.metrics.masks import check_masks


@dataclass(frozen=True)
class LesionCounts:
    """Lesions of the truth and of the prediction, and how many of each touch the other mask."""

    truth: int
    truth_found: int
    predicted: int
    predicted_true: int

    def ltpr(self):
        """Share of the truth's lesions that are found; also the challenge's recall."""
        return _ratio(self.truth_found, self.truth)

    def lppv(self):
        """Found lesions per predicted lesion, as printed."""
        return _ratio(self.truth_found, self.predicted)

    def precision(self):
        """Share of the predicted lesions that touch the truth."""
        return _ratio(self.predicted_true, self.predicted)

    def lfpr(self):
        """Share of the predicted lesions that touch no truth."""
        return _ratio(self.predicted - self.predicted_true, self.predicted)

    def ldice(self):
        """Lesion-wise Dice with the factor 2."""
        return _ratio(2 * self.truth_found, self.truth + self.predicted)

    def ldice_printed(self):
        """Lesion-wise Dice as printed, without the factor 2."""
        return _ratio(self.truth_found, self.truth + self.predicted)


NEIGHBOURS = {6: 1, 18: 2, 26: 3}
"""How many neighbours are connected in three dimensions, and along how many axes they may lie off."""


def count_lesions(prediction, truth, connectivity=26):
    """Return the `LesionCounts` of two masks of one shape; raises ValueError as `check_masks` does.

    `connectivity` is the number of neighbours that a voxel is connected to: 6, 18 or 26.
    """
    prediction, truth = check_masks(prediction, truth)
    predicted_labels, predicted = label_lesions(prediction, connectivity)
    truth_labels, count = label_lesions(truth, connectivity)
    return LesionCounts(
        truth=count,
        truth_found=np.unique(truth_labels[prediction & truth]).size,
        predicted=predicted,
        predicted_true=np.unique(predicted_labels[prediction & truth]).size,
    )


def label_lesions(mask, connectivity=26):
    """Number the lesions of a bool mask 1, 2, ...: (labels of the mask's shape, number of lesions).

    In a mask of two dimensions 26 means all 8 neighbours, 6 means 4. Raises ValueError for another `connectivity`.
    """
    if connectivity not in NEIGHBOURS:
        raise ValueError(f"connectivity must be 6, 18 or 26; found {connectivity}")
    return label(mask, structure=generate_binary_structure(mask.ndim, NEIGHBOURS[connectivity]))


def _ratio(part, whole):
    return part / whole if whole else np.nan
