import numpy as np
import pytest
import torch
from hypothesis import given
from monai.metrics import DiceMetric, MeanIoU

from nerd_fast.segmentation.scores.metrics.overlap import dice, jaccard
from tests.segmentation.scores.metrics.strategies import mask_pairs


def test_hand_computed():
    prediction, truth = np.array([1, 1, 1, 0, 0]), np.array([0, 1, 1, 1, 1])
    assert dice(prediction, truth) == pytest.approx(4 / 7)
    assert jaccard(prediction, truth) == pytest.approx(2 / 5)


@pytest.mark.parametrize("metric", [dice, jaccard])
def test_two_empty_masks_agree_and_one_empty_mask_does_not(metric):
    empty, full = np.zeros(3), np.ones(3)
    assert metric(empty, empty) == 1
    assert metric(empty, full) == metric(full, empty) == 0


@given(mask_pairs(nonempty=True))
def test_both_equal_monai_where_it_is_defined(pair):
    tensors = [torch.from_numpy(mask)[None, None].float() for mask in pair]
    assert dice(*pair) == pytest.approx(DiceMetric()(*tensors).item())
    assert jaccard(*pair) == pytest.approx(MeanIoU()(*tensors).item())


@given(mask_pairs())
def test_symmetric_bounded_and_tied_to_each_other(pair):
    first, second = pair
    assert dice(first, second) == dice(second, first)
    assert 0 <= jaccard(first, second) <= dice(first, second) <= 1
    assert jaccard(first, second) == pytest.approx(dice(first, second) / (2 - dice(first, second)))
    assert dice(first, first) == jaccard(second, second) == 1
