import numpy as np
import pytest

from nerd_fast.segmentation.pictures.shift import (
    PositionMoments,
    border_distance,
    border_effect,
    ordinary_variance,
    profile,
)

CASES, SLICES, SIZE = 6, 40, (12, 10)


def noise(channels=1, seed=0):
    """Features of the same distribution everywhere, (cases, slices, C, H, W)."""
    return np.random.default_rng(seed).standard_normal((CASES, SLICES, channels, *SIZE)).astype(np.float32)


def positional(channels=1):
    """Features that are a function of the position alone, with unit variance over the image, (C, H, W)."""
    maps = np.random.default_rng(1).standard_normal((channels, *SIZE))
    return (maps - maps.mean(axis=(1, 2), keepdims=True)) / maps.std(axis=(1, 2), keepdims=True)


def moments_of(features, folds=5):
    moments = PositionMoments(folds)
    for case, slices in enumerate(features):
        moments.add(slices[:15], case)
        moments.add(slices[15:], case)
    return moments


def test_features_of_one_distribution_have_no_shift():
    (shift,) = moments_of(noise()).shift()
    assert -0.02 < shift < 0.005


def test_features_of_the_position_alone_are_all_shift():
    (shift,) = moments_of(np.broadcast_to(positional(), (CASES, SLICES, 1, *SIZE))).shift()
    assert shift == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_planted_share_of_the_variance_is_found(share):
    features = np.sqrt(share) * positional() + np.sqrt(1 - share) * noise()
    assert moments_of(features).shift() == pytest.approx([share], abs=0.02)


def test_the_shift_does_not_depend_on_scale_and_offset():
    features = positional() + noise()
    assert moments_of(1e4 * features + 3e5).shift() == pytest.approx(moments_of(features).shift(), rel=1e-4)


def test_what_differs_between_cases_alone_is_no_shift():
    offsets = np.random.default_rng(2).standard_normal((CASES, 1, 1, 1, 1))
    (shift,) = moments_of(np.broadcast_to(offsets, (CASES, SLICES, 1, *SIZE)) + 0.01 * noise()).shift()
    assert abs(shift) < 1e-3


def test_a_pattern_of_one_case_does_not_explain_another():
    """Every case has its own map: learned from the others it explains nothing, learned from itself everything."""
    maps = np.random.default_rng(3).standard_normal((CASES, 1, 1, *SIZE))
    (shift,) = moments_of(np.broadcast_to(maps, (CASES, SLICES, 1, *SIZE))).shift()
    assert shift < 0


def test_the_shift_is_that_of_its_definition():
    features = positional(2) + noise(2)
    unexplained, total = np.zeros(2), np.zeros(2)
    for fold in range(3):
        held_out = [case for case in range(CASES) if case % 3 == fold]
        rest = features[[case for case in range(CASES) if case % 3 != fold]].reshape(-1, 2, *SIZE)
        mean = rest.mean(axis=0, dtype=float)
        unexplained += ((features[held_out] - mean) ** 2).sum(axis=(0, 1, 3, 4))
        total += ((features[held_out] - mean.mean(axis=(1, 2), keepdims=True)) ** 2).sum(axis=(0, 1, 3, 4))
    assert moments_of(features, folds=3).shift() == pytest.approx(1 - unexplained / total, rel=1e-6)


def test_a_channel_that_never_varies_has_no_shift():
    features = np.concatenate([np.full((CASES, SLICES, 1, *SIZE), 0.1, np.float32), noise()], axis=2)
    moments = moments_of(features)
    assert moments.varies().tolist() == [False, True]
    assert np.isnan(moments.shift()).tolist() == [True, False]
    assert profile(moments).mean.shape[0] == 1


def test_one_case_cannot_be_cross_validated():
    moments = PositionMoments()
    moments.add(noise()[0], 0)
    with pytest.raises(ValueError, match="2 cases or more; found 1"):
        moments.shift()


def test_mean_and_spread_are_those_over_the_slices():
    features = noise(2) + positional(2)
    flat, moments = features.reshape(-1, 2, *SIZE), moments_of(features)
    np.testing.assert_allclose(moments.mean(), flat.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(moments.spread(), flat.std(axis=0), atol=1e-5)
    np.testing.assert_allclose(moments.deviation(), flat.std(axis=(0, 2, 3)), atol=1e-5)


def test_the_border_distance_is_the_smallest_of_the_four():
    assert border_distance((3, 5)).tolist() == [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]


def test_a_profile_follows_the_distance_to_the_border():
    distance = border_distance(SIZE)
    features = np.broadcast_to(distance * 1.0, (CASES, SLICES, 1, *SIZE)) + 0.1 * noise()
    found, scale = profile(moments_of(features)), (distance + 0.1 * noise()).std()
    assert found.distance.tolist() == list(range(distance.max() + 1))
    np.testing.assert_allclose(found.mean[0], (found.distance - distance.mean()) / scale, atol=0.01)
    np.testing.assert_allclose(found.spread[0], 0.1 / scale, atol=0.005)


def test_the_border_effect_compares_the_same_pixels():
    whole = np.random.default_rng(4).standard_normal((3, 2, 12, 12))
    cropped = whole[..., 2:-2, 2:-2].copy()
    cropped[..., 0, :] += 2  # the padding of the new upper border
    squares = border_effect(cropped, whole, margin=2)
    np.testing.assert_allclose(squares, [3 * 2 * 8 * 4, 0, 0, 0], atol=1e-12)


def test_the_border_effect_is_measured_by_the_spread_at_the_same_pixels():
    """Features that vary at one position alone, one pixel inside the cropped image's border."""
    features = np.zeros((CASES, SLICES, 1, *SIZE), dtype=np.float32)
    features[..., 3, 4] = 7 * np.sign(noise()[..., 3, 4])
    moments = moments_of(features)
    variance = ordinary_variance(moments, margin=2)
    share = moments.spread()[0, 3, 4] ** 2 / moments.deviation()[0] ** 2
    np.testing.assert_allclose(variance, [0, share * CASES * SLICES, 0], atol=1e-9)
