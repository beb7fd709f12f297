import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import HausdorffDistanceMetric, SurfaceDistanceMetric
from scipy.ndimage import distance_transform_edt

from nerd_fast.segmentation.scores.metrics.surface import SurfaceDistances, surface
from tests.segmentation.scores.metrics.distances import surface_distances
from tests.segmentation.scores.metrics.strategies import SPACINGS, mask_pairs


def values(distances):
    return (
        distances.hausdorff(),
        distances.hausdorff_percentile(95),
        distances.average(),
        distances.average_symmetric(),
    )


def brute_force(prediction, truth, spacing):
    """Every surface voxel against every other, by the definition and nothing else."""

    def points(mask):
        padded = np.pad(mask, 1)
        found = []
        for index in itertools.product(*map(range, mask.shape)):
            axes = [axis for axis in range(3) if mask.shape[axis] > 1] or range(3)
            steps = [(axis, side) for axis in axes for side in (-1, 1)]
            neighbours = [np.array(index) + 1 + side * np.eye(3, dtype=int)[axis] for axis, side in steps]
            if mask[index] and not all(padded[tuple(neighbour)] for neighbour in neighbours):
                found.append(np.array(index) * spacing)
        return np.array(found)

    distances = np.linalg.norm(points(prediction)[:, None] - points(truth)[None], axis=-1)
    return distances.min(axis=1), distances.min(axis=0)


def cube(shape, start, stop):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*ends) for ends in zip(start, stop, strict=True))] = True
    return mask


def test_the_surface_of_a_cube_is_its_faces():
    assert surface(cube((7, 7, 7), (1, 1, 1), (6, 6, 6))).sum() == 5**3 - 3**3


def test_the_border_of_the_array_is_a_surface():
    assert surface(np.ones((3, 3, 3), dtype=bool)).sum() == 27 - 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_surface_of_a_single_slice_is_its_outline(axis):
    outer, inner = np.zeros((2, 32, 32), dtype=bool)
    outer[2:30, 2:30] = inner[8:24, 8:24] = True
    distances = surface_distances(np.expand_dims(inner, axis), np.expand_dims(outer, axis), (1, 1, 1))
    flat = surface_distances(inner, outer, (1, 1))
    assert values(distances) == values(flat)
    assert distances.prediction_to_truth.min() == 6  # and not 0, as for a slice whose every voxel is a surface
    tensors = [torch.from_numpy(mask)[None, None] for mask in (inner, outer)]
    monai = HausdorffDistanceMetric(include_background=True)(*tensors, spacing=(1, 1)).item()
    assert distances.hausdorff() == pytest.approx(monai, rel=1e-6)


def test_a_single_voxel_is_all_surface():
    assert surface(np.ones((1, 1, 1), dtype=bool)).all()


def test_distances_run_through_a_sheared_affine():
    steps = np.array([[1.0, 1.0, 0], [0, 1.0, 0], [0, 0, 2.0]])
    prediction, truth = np.zeros((2, 9, 9, 3), dtype=bool)
    prediction[0, 0, 0] = truth[3, 3, 1] = True
    assert surface_distances(prediction, truth, steps).hausdorff() == pytest.approx(np.sqrt(6**2 + 3**2 + 2**2))


@given(mask_pairs(nonempty=True), SPACINGS)
def test_turning_the_patient_changes_no_distance(pair, spacing):
    angle = 0.4
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turned = surface_distances(*pair, turn @ np.diag(spacing))
    np.testing.assert_allclose(values(turned), values(surface_distances(*pair, spacing)), atol=1e-12)


def test_hand_computed_two_voxels():
    prediction, truth = np.zeros((9, 5, 3), dtype=bool), np.zeros((9, 5, 3), dtype=bool)
    truth[1, 1, 1] = True
    prediction[1, 1, 1] = prediction[4, 1, 2] = True
    distances = surface_distances(prediction, truth, (1.0, 1.0, 4.0))
    assert sorted(distances.prediction_to_truth) == [0, 5]
    assert distances.truth_to_prediction.tolist() == [0]
    assert distances.hausdorff() == 5
    assert distances.hausdorff_percentile(95) == pytest.approx(4.75)
    assert distances.average() == 2.5
    assert distances.average_symmetric() == pytest.approx(5 / 3)


@settings(max_examples=60)
@given(mask_pairs(nonempty=True), SPACINGS)
def test_brute_force_finds_the_same(pair, spacing):
    distances = surface_distances(*pair, spacing)
    expected = brute_force(*pair, spacing)
    np.testing.assert_allclose(distances.prediction_to_truth, expected[0], atol=1e-12)
    np.testing.assert_allclose(distances.truth_to_prediction, expected[1], atol=1e-12)


@settings(max_examples=60)
@given(mask_pairs(nonempty=True, shortest=2), SPACINGS)
def test_monai_finds_the_same_but_for_the_percentile(pair, spacing):
    tensors = [torch.from_numpy(mask)[None, None] for mask in pair]
    distances = surface_distances(*pair, spacing)
    hausdorff = HausdorffDistanceMetric(include_background=True)(*tensors, spacing=spacing).item()
    directed = SurfaceDistanceMetric(include_background=True)(*tensors, spacing=spacing).item()
    both = SurfaceDistanceMetric(include_background=True, symmetric=True)(*tensors, spacing=spacing).item()
    assert distances.hausdorff() == pytest.approx(hausdorff, rel=1e-5)
    assert distances.average() == pytest.approx(directed, rel=1e-5)
    assert distances.average_symmetric() == pytest.approx(both, rel=1e-5)


def test_the_distance_transform_finds_the_same_on_large_shapes():
    x, y, z = np.ogrid[:60, :50, :30]
    truth = ((x - 25) / 20) ** 2 + ((y - 25) / 18) ** 2 + ((z - 14) / 9) ** 2 < 1
    prediction = np.roll(truth, (4, -3, 2), axis=(0, 1, 2))
    prediction[55, 45, 28] = True
    spacing = (1.2, 1.0, 3.0)
    distances = surface_distances(prediction, truth, spacing)
    transform = distance_transform_edt(~surface(truth), sampling=spacing)
    np.testing.assert_allclose(distances.prediction_to_truth, transform[surface(prediction)], atol=1e-10)


@given(mask_pairs(nonempty=True), SPACINGS)
def test_symmetric_but_for_the_directed_average(pair, spacing):
    forth, back = surface_distances(*pair, spacing), surface_distances(*pair[::-1], spacing)
    assert forth.hausdorff() == pytest.approx(back.hausdorff())
    assert forth.hausdorff_percentile(95) == pytest.approx(back.hausdorff_percentile(95))
    assert forth.average_symmetric() == pytest.approx(back.average_symmetric())


@given(mask_pairs(nonempty=True), SPACINGS)
def test_a_mask_is_at_no_distance_from_itself(pair, spacing):
    assert values(surface_distances(pair[0], pair[0], spacing)) == (0, 0, 0, 0)


@given(mask_pairs(nonempty=True, shortest=2), SPACINGS, st.tuples(*[st.integers(0, 3)] * 3))
def test_where_the_masks_lie_does_not_matter(pair, spacing, before):
    padding = [(size, 2) for size in before]
    moved = surface_distances(*(np.pad(mask, padding) for mask in pair), spacing)
    np.testing.assert_allclose(values(moved), values(surface_distances(*pair, spacing)), atol=1e-12)


@given(mask_pairs(nonempty=True), SPACINGS, st.sampled_from((0.1, 2.0, 7.0)))
def test_distances_scale_with_the_spacing(pair, spacing, factor):
    scaled = surface_distances(*pair, tuple(factor * step for step in spacing))
    np.testing.assert_allclose(
        values(scaled), np.multiply(values(surface_distances(*pair, spacing)), factor), atol=1e-12
    )


def test_one_empty_mask_is_infinitely_far_and_two_are_at_no_defined_distance():
    empty, full = np.zeros((3, 3, 3), dtype=bool), np.ones((3, 3, 3), dtype=bool)
    assert values(surface_distances(empty, full, (1, 1, 1))) == (np.inf,) * 4
    assert values(surface_distances(full, empty, (1, 1, 1))) == (np.inf,) * 4
    assert np.isnan(values(surface_distances(empty, empty, (1, 1, 1)))).all()


def test_the_percentile_is_the_larger_of_the_two_directions():
    distances = SurfaceDistances(np.zeros(100), np.array([0.0, 8.0]))
    assert distances.hausdorff_percentile(95) == pytest.approx(7.6)
