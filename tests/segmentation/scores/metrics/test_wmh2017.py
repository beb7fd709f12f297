import numpy as np
import pytest
from hypothesis import given

from nerd_fast.segmentation.scores.metrics import wmh2017
from tests.segmentation.scores.metrics.strategies import SPACINGS, mask_pairs

SHAPE = (12, 12, 3)


def volume(*boxes):
    mask = np.zeros(SHAPE, dtype=bool)
    for box in boxes:
        mask[box] = True
    return mask


def test_what_is_predicted_under_label_2_is_neither_hit_nor_false_alarm():
    truth = volume(np.s_[1:3, 1:3, 1])
    other = volume(np.s_[6:9, 6:9, 1])
    prediction = truth | other
    assert wmh2017.evaluate(prediction, truth, (1, 1, 3))["precision"] == 0.5
    ignoring = wmh2017.evaluate(*wmh2017.remove_ignored(prediction, truth, other), (1, 1, 3))
    assert ignoring == {"dice": 1, "hd95_mm": 0, "avd_percent": 0, "recall": 1, "precision": 1, "f1": 1}


def test_a_prediction_that_runs_into_label_2_is_cut_there():
    truth, other = volume(np.s_[1:4, 1:4, 1]), volume(np.s_[4:6, 1:4, 1])
    result = wmh2017.evaluate(*wmh2017.remove_ignored(truth | other, truth, other), (1, 1, 3))
    assert (result["dice"], result["avd_percent"]) == (1, 0)


def test_hand_computed_hits_misses_and_volumes():
    truth = volume(np.s_[0:2, 0:2, 0], np.s_[6:8, 6:8, 2])
    prediction = volume(np.s_[1:3, 1:3, 0], np.s_[10, 0, 1], np.s_[10, 4, 1])
    result = wmh2017.evaluate(prediction, truth, (1, 1, 3))
    assert result["dice"] == pytest.approx(2 * 1 / (8 + 6))
    assert result["avd_percent"] == pytest.approx(2 / 8 * 100)
    assert result["recall"] == 1 / 2
    assert result["precision"] == 1 / 3
    assert result["f1"] == pytest.approx(0.4)


def test_hd95_is_the_larger_directed_percentile_in_mm():
    truth = volume(np.s_[2, 2, 0])
    prediction = volume(np.s_[2, 2, 0], np.s_[5, 6, 0])
    assert wmh2017.hausdorff95(prediction, truth, (2.0, 2.0, 3.0)) == pytest.approx(0.95 * 10)


def test_the_surface_is_taken_within_slices_by_a_full_box():
    mask = volume(np.s_[2:7, 2:7, :])
    shown = wmh2017.slice_surface(mask)
    assert shown[:, :, 1].sum() == 25 - 9  # the middle slice has its rim, though its neighbours cover it
    mask[2, 2, 1] = False
    assert wmh2017.slice_surface(mask)[3, 3, 1]  # a corner neighbour outside is enough


def test_the_border_of_the_image_counts_as_inside():
    shown = wmh2017.slice_surface(volume(np.s_[0:4, 0:4, 0]))
    assert not shown[0, 0, 0]
    assert shown[3, 3, 0]


def test_the_slices_may_lie_along_another_axis():
    mask = volume(np.s_[2:7, 2:7, :])
    turned = wmh2017.slice_surface(np.moveaxis(mask, 2, 0), slice_axis=0)
    np.testing.assert_array_equal(np.moveaxis(turned, 0, 2), wmh2017.slice_surface(mask))


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [
        (volume(), volume(), (np.nan, np.nan, np.nan, 1, 1, 1)),
        (volume(), volume(np.s_[2, 2, 1]), (0, np.nan, 100, 0, 1, 0)),
        (volume(np.s_[2, 2, 1]), volume(), (0, np.nan, np.nan, 1, 0, 0)),
    ],
    ids=["both empty", "prediction empty", "truth empty"],
)
def test_the_table_of_empty_masks(prediction, truth, expected):
    names = ("dice", "hd95_mm", "avd_percent", "recall", "precision", "f1")
    np.testing.assert_equal(wmh2017.evaluate(prediction, truth, (1, 1, 1)), dict(zip(names, expected, strict=True)))


def test_f1_of_nothing_right_is_zero():
    assert wmh2017.evaluate(volume(np.s_[0, 0, 0]), volume(np.s_[9, 9, 2]), (1, 1, 1))["f1"] == 0


def test_an_ignored_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="ignore must have the shape of truth"):
        wmh2017.remove_ignored(volume(), volume(), np.zeros((1, 2, 3)))


@given(mask_pairs(nonempty=True), SPACINGS)
def test_scaling_the_spacing_scales_the_distance_alone(pair, spacing):
    once = wmh2017.evaluate(*pair, spacing)
    twice = wmh2017.evaluate(*pair, tuple(2 * step for step in spacing))
    np.testing.assert_allclose(twice.pop("hd95_mm"), 2 * once.pop("hd95_mm"))
    assert once == twice
