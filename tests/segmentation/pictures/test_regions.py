import numpy as np
import pytest
from hypothesis import given

from nerd_fast.segmentation.pictures.regions import boxes, choose_slice, missed, over_segmented
from tests.segmentation.scores.metrics.strategies import mask_pairs


def plane(*areas, shape=(40, 40)):
    mask = np.zeros(shape, dtype=bool)
    for area in areas:
        mask[area] = True
    return mask


def test_a_lesion_that_was_missed_is_a_region_and_the_rim_of_a_found_one_is_not():
    truth = plane(np.s_[5:11, 5:11], np.s_[30, 30])
    prediction = plane(np.s_[7:11, 5:11])
    np.testing.assert_array_equal(missed(prediction, truth), plane(np.s_[30, 30]))
    assert not over_segmented(prediction, truth).any()


def test_the_end_of_an_organ_that_was_cut_off_is_a_region():
    truth, prediction = plane(np.s_[5:30, 5:15]), plane(np.s_[5:20, 5:15])
    np.testing.assert_array_equal(missed(prediction, truth), plane(np.s_[22:30, 5:15]))


def test_over_segmented_is_missed_with_the_masks_exchanged():
    truth, prediction = plane(np.s_[2, 2]), plane(np.s_[2, 2], np.s_[20:25, 20:25])
    np.testing.assert_array_equal(over_segmented(prediction, truth), plane(np.s_[20:25, 20:25]))


def test_everything_is_missed_by_an_empty_prediction():
    truth = plane(np.s_[1:4, 1:4])
    np.testing.assert_array_equal(missed(plane(), truth), truth)


@given(mask_pairs())
def test_a_region_of_error_is_an_error(pair):
    prediction, truth = (mask[0] for mask in pair)
    assert not (missed(prediction, truth) & (prediction | ~truth)).any()
    assert not (over_segmented(prediction, truth) & (truth | ~prediction)).any()


def test_boxes_hold_the_regions_largest_first_and_corners_join():
    regions = plane(np.s_[1, 1], np.s_[2, 2], np.s_[10:15, 20:24])
    assert boxes(regions) == [np.s_[10:15, 20:24], np.s_[1:3, 1:3]]


def volume(**slices):
    return np.stack([plane(slices[name]) if name in slices else plane() for name in ("a", "b", "c", "d")], axis=2)


def test_the_slice_is_where_the_baseline_errs_most():
    truth = volume(a=np.s_[5:9, 5:9], b=np.s_[5:20, 5:20], d=np.s_[30:32, 30:32])
    baseline = volume(b=np.s_[5:20, 5:20], c=np.s_[0:5, 30:36], d=np.s_[30:32, 30:32])
    masks = {"U-Net": baseline, "NeRDm": volume()}
    assert choose_slice(truth, masks, kind="missed") == 0
    assert choose_slice(truth, masks, kind="over") == 2
    assert choose_slice(truth, masks, kind="truth") == np.argmax(truth.sum((0, 1)))
    assert choose_slice(truth, masks) == 2
    assert choose_slice(np.moveaxis(truth, 2, 0), {"U-Net": np.moveaxis(baseline, 2, 0)}, axis=0) == 2


def test_without_errors_the_slice_is_where_most_truth_is():
    truth = volume(b=np.s_[5:7, 5:7], c=np.s_[5:20, 5:20])
    assert choose_slice(truth, {"U-Net": truth}) == 2


def test_an_unknown_kind_and_no_masks_are_refused():
    with pytest.raises(ValueError, match="kind must be"):
        choose_slice(volume(), {"U-Net": volume()}, kind="fn")
    with pytest.raises(ValueError, match="masks must name one mask or more"):
        choose_slice(volume(), {})
