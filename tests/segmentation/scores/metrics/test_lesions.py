import numpy as np
import pytest
from hypothesis import given

from nerd_fast.segmentation.scores.metrics.lesions import LesionCounts, count_lesions, label_lesions
from tests.segmentation.scores.metrics.strategies import mask_pairs


def line(*voxels, size=20):
    """A volume of one row, with these voxels set."""
    mask = np.zeros((size, 1, 1), dtype=bool)
    mask[list(voxels)] = True
    return mask


def test_voxels_that_share_a_corner_are_one_lesion():
    mask = np.zeros((3, 3, 3), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    assert label_lesions(mask)[1] == 1
    mask[1, 1, 1] = False
    mask[2, 0, 0] = True
    assert label_lesions(mask)[1] == 2


@pytest.mark.parametrize(("connectivity", "lesions"), [(6, 3), (18, 2), (26, 1)])
def test_connectivity_says_which_neighbours_belong_together(connectivity, lesions):
    mask = np.zeros((3, 3, 3), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 0] = mask[2, 2, 1] = True  # an edge in common, then a corner
    assert label_lesions(mask, connectivity)[1] == lesions
    assert count_lesions(mask, mask, connectivity).truth == lesions


def test_another_connectivity_is_refused():
    with pytest.raises(ValueError, match="connectivity must be 6, 18 or 26; found 8"):
        label_lesions(line(1), 8)


def test_hand_computed_one_found_one_missed_two_false():
    counts = count_lesions(line(1, 2, 10, 15), line(2, 3, 6))
    assert counts == LesionCounts(truth=2, truth_found=1, predicted=3, predicted_true=1)
    assert counts.ltpr() == 1 / 2
    assert counts.lppv() == 1 / 3
    assert counts.precision() == 1 / 3
    assert counts.lfpr() == 2 / 3
    assert counts.ldice() == 2 / 5
    assert counts.ldice_printed() == 1 / 5


def test_four_lesions_under_one_blob_exceed_one_as_printed():
    counts = count_lesions(line(*range(10)), line(0, 3, 6, 9))
    assert counts.lppv() == 4
    assert counts.ldice() == 8 / 5
    assert counts.lfpr() == 0


def test_one_lesion_in_two_pieces_is_found_once_and_both_pieces_are_true():
    assert count_lesions(line(0, 4), line(*range(5))) == LesionCounts(1, 1, 2, 2)


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [
        (line(), line(), {"ltpr": np.nan, "lppv": np.nan, "lfpr": np.nan, "ldice": np.nan, "ldice_printed": np.nan}),
        (line(), line(3), {"ltpr": 0, "lppv": np.nan, "lfpr": np.nan, "ldice": 0, "ldice_printed": 0}),
        (line(3), line(), {"ltpr": np.nan, "lppv": 0, "lfpr": 1, "ldice": 0, "ldice_printed": 0}),
    ],
    ids=["both empty", "prediction empty", "truth empty"],
)
def test_the_table_of_empty_masks(prediction, truth, expected):
    counts = count_lesions(prediction, truth)
    np.testing.assert_equal({name: getattr(counts, name)() for name in expected}, expected)


@given(mask_pairs(nonempty=True))
def test_every_lesion_of_a_perfect_prediction_is_found(pair):
    counts = count_lesions(pair[0], pair[0])
    assert counts.ltpr() == counts.lppv() == counts.ldice() == 1
    assert counts.ldice_printed() == 0.5
    assert counts.lfpr() == 0


@given(mask_pairs(nonempty=True))
def test_swapping_the_masks_swaps_the_counts(pair):
    forth, back = count_lesions(*pair), count_lesions(*pair[::-1])
    assert (forth.truth, forth.truth_found) == (back.predicted, back.predicted_true)
    assert 0 <= forth.truth_found <= forth.truth
    assert 0 <= forth.predicted_true <= forth.predicted
