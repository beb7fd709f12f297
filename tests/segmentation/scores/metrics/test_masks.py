import numpy as np
import pytest
from hypothesis import given

from nerd_fast.segmentation.scores.metrics.masks import check_mask, check_masks, check_steps, foreground_box
from tests.segmentation.scores.metrics.strategies import mask_pairs


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float32, np.float64])
def test_a_mask_of_any_type_is_compared_by_value(dtype):
    mask = check_mask(np.array([0, 1, 1], dtype=dtype), "prediction")
    assert mask.dtype == bool
    assert mask.tolist() == [False, True, True]


@pytest.mark.parametrize("value", [0.5, 2, 255, -1, np.nan])
def test_values_that_are_no_mask_are_named(value):
    with pytest.raises(ValueError, match=f"truth must be a mask of 0 and 1; found .*{value}"):
        check_masks(np.zeros(2), np.array([0, value]))


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"same shape; found \(2, 3\) and \(3, 2\)"):
        check_masks(np.zeros((2, 3)), np.zeros((3, 2)))


@pytest.mark.parametrize(
    "spacing", [(1, 1), (1, 1, 0), (1, 1, -1), (1, 1, np.inf), (1, 1, np.nan), 1.0, np.ones((3, 3))]
)
def test_an_impossible_spacing_is_refused(spacing):
    with pytest.raises(ValueError, match="spacing must be 3 positive numbers in mm"):
        check_steps(spacing, 3)


@given(mask_pairs(nonempty=True))
def test_the_box_holds_every_voxel_and_no_empty_side(pair):
    mask, _ = pair
    box = foreground_box(mask)
    assert mask[box].sum() == mask.sum()
    for axis in range(3):
        sides = np.moveaxis(mask[box], axis, 0)
        assert sides[0].any()
        assert sides[-1].any()


def test_the_margin_is_cut_at_the_border():
    mask = np.zeros((5, 5), dtype=bool)
    mask[0, 2] = True
    assert foreground_box(mask, margin=1) == (slice(0, 2), slice(1, 4))


def test_the_box_of_an_empty_mask_is_empty():
    assert np.zeros((3, 4))[foreground_box(np.zeros((3, 4), dtype=bool))].size == 0
