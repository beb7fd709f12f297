import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.scores.statistics import compare, paired_difference

SCORES = npst.arrays(float, st.tuples(st.integers(1, 3), st.integers(2, 8)), elements=st.floats(0, 1, width=32))


def rows(**values):
    return [{"case": case, "dice": value} for case, value in values.items()]


def test_hand_computed_mean_of_two_seeds_and_three_cases():
    baseline = np.array([[0.5, 0.6, 0.7], [0.4, 0.6, 0.8]])
    found = paired_difference(baseline + np.array([[0.1, 0.2, 0.3], [0, 0, 0]]), baseline)
    assert found.mean == pytest.approx(0.1)
    assert found.per_seed == pytest.approx((0.2, 0.0))
    assert (found.cases, found.undefined) == (3, 0)


@given(SCORES)
def test_the_interval_holds_the_mean_and_lies_within_the_differences(scores):
    found = paired_difference(scores, np.full_like(scores, 0.5), resamples=200)
    per_case = (scores - 0.5).mean(axis=0)
    assert per_case.min() - 1e-9 <= found.low <= found.high <= per_case.max() + 1e-9


@given(SCORES)
def test_exchanging_the_models_turns_the_interval_round(scores):
    baseline = np.roll(scores, 1, axis=1)
    forth = paired_difference(scores, baseline, resamples=200)
    back = paired_difference(baseline, scores, resamples=200)
    assert (forth.mean, forth.low, forth.high) == pytest.approx((-back.mean, -back.high, -back.low), abs=1e-9)


def test_a_constant_difference_is_certain():
    baseline = np.random.default_rng(0).random((3, 12))
    found = paired_difference(baseline + 0.25, baseline)
    assert (found.mean, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        noise = generator.normal(0.3, 1.0, (1, 40))
        found = paired_difference(noise, np.zeros_like(noise), resamples=400, confidence=0.9)
        covered += found.low <= 0.3 <= found.high
    assert 0.82 < covered / 200 < 0.96


def test_seeds_of_one_case_are_drawn_together():
    one_seed = np.random.default_rng(2).normal(size=(1, 15))
    once, thrice = (paired_difference(np.repeat(one_seed, n, 0), np.zeros((n, 15))) for n in (1, 3))
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))


def test_undefined_pairs_are_left_out_and_counted():
    candidate = np.array([[0.5, np.inf, 0.7], [0.5, 0.9, np.nan]])
    found = paired_difference(candidate, np.full((2, 3), 0.5))
    assert found.mean == pytest.approx((0 + 0.2 + 0 + 0.4) / 4)
    assert found.undefined == 2


def test_undefined_pairs_have_no_weight_in_the_interval():
    candidate = np.full((2, 6), 0.75)
    candidate[:, 2] = candidate[0, 4] = np.nan
    found = paired_difference(candidate, np.full((2, 6), 0.5))
    assert (found.mean, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_nothing_defined_gives_nothing():
    found = paired_difference(np.full((1, 3), np.inf), np.zeros((1, 3)))
    assert np.isnan([found.mean, found.low, found.high, *found.per_seed]).all()
    assert found.undefined == 3


def test_the_same_arguments_give_the_same_interval():
    scores = np.random.default_rng(3).random((3, 12))
    assert paired_difference(scores, scores[::-1]) == paired_difference(scores, scores[::-1])


@pytest.mark.parametrize("shape", [(3,), (2, 4), (0, 3)])
def test_arrays_that_do_not_pair_are_refused(shape):
    with pytest.raises(ValueError, match=r"must both be of shape \(seeds, cases\)"):
        paired_difference(np.zeros(shape), np.zeros((2, 3) if shape == (2, 4) else shape))


def test_an_impossible_confidence_is_refused():
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1; found 95"):
        paired_difference(np.zeros((1, 2)), np.zeros((1, 2)), confidence=95)


def test_models_are_paired_by_seed_and_by_case_whatever_the_order():
    candidate = {1: rows(b=0.9, a=0.6), 0: rows(a=0.5, b=0.7), 7: rows(a=0.0, b=0.0)}
    baseline = {0: rows(a=0.4, b=0.5), 1: rows(a=0.4, b=0.5)}
    found = compare(candidate, baseline, "dice")
    assert found.per_seed == pytest.approx((0.15, 0.3))
    assert found.mean == pytest.approx(0.225)


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ({1: rows(a=0.5, b=0.5)}, "no seed in common"),
        ({0: rows(a=0.5)}, r"its cases differ .* \['b'\]"),
        ({0: [*rows(a=0.5, b=0.5), *rows(a=0.4)]}, "expected one row per case"),
        ({0: [{"case": "a", "dice": 0.5}, {"case": "b"}]}, r"no dice for \['b'\]"),
    ],
)
def test_runs_that_do_not_compare_are_refused(candidate, message):
    with pytest.raises(DataError, match=message):
        compare(candidate, {0: rows(a=0.4, b=0.5)}, "dice")


def test_one_case_has_a_difference_but_no_interval():
    found = paired_difference([[0.8], [0.9]], [[0.7], [0.7]])
    assert found.mean == pytest.approx(0.15)
    assert np.isnan([found.low, found.high]).all()
