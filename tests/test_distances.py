import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nerd_fast import boundary_distances


def test_pixel_distances_are_top_right_bottom_left():
    v = boundary_distances((3, 4), scale=1, dtype=torch.float64)
    i, j = torch.meshgrid(torch.arange(3.0), torch.arange(4.0), indexing="ij")
    assert torch.equal(v, torch.stack([i, 3 - j, 2 - i, j]).double())


def test_volumes_add_front_and_back_after_the_four():
    v = boundary_distances((5, 3, 4), scale=1)
    assert v.shape == (6, 5, 3, 4)
    assert torch.equal(v[:4, 2], boundary_distances((3, 4), scale=1))
    assert torch.equal(v[4, :, 0, 0], torch.arange(5.0))
    assert torch.equal(v[5, :, 0, 0], 4 - torch.arange(5.0))


@given(st.lists(st.integers(1, 9), min_size=2, max_size=3))
def test_extent_scale_puts_opposite_borders_at_0_and_1(spatial):
    v = boundary_distances(spatial, dtype=torch.float64)
    assert v.min() >= 0
    assert v.max() <= 1
    for axis, (low, high) in zip((-2, -1, 0), ((0, 2), (3, 1), (4, 5)), strict=False):
        if len(spatial) == 2 and low == 4:
            continue
        expected = 1.0 if spatial[axis] > 1 else 0.0
        assert torch.allclose(v[low] + v[high], torch.full(tuple(spatial), expected, dtype=torch.float64))


@given(st.data())
def test_a_window_sees_the_distances_of_the_whole_image(data):
    extent = data.draw(st.lists(st.integers(1, 8), min_size=2, max_size=3))
    origin = [data.draw(st.integers(0, size - 1)) for size in extent]
    spatial = [data.draw(st.integers(1, size - start)) for size, start in zip(extent, origin, strict=True)]
    scale = data.draw(st.sampled_from(["extent", 0.25]))
    window = tuple(slice(o, o + s) for o, s in zip(origin, spatial, strict=True))
    whole = boundary_distances(extent, scale)
    assert torch.equal(boundary_distances(spatial, scale, origin, extent), whole[(slice(None), *window)])


@pytest.mark.parametrize("scale", [0.5, np.float32(0.5)])
def test_a_number_multiplies_the_distance_in_pixels(scale):
    assert torch.equal(boundary_distances((2, 5), scale=scale), 0.5 * boundary_distances((2, 5), scale=1))


def test_the_farthest_window_that_is_taken_does_not_overflow():
    v = boundary_distances((2, 3), 1, origin=(2**62, 0), dtype=torch.float64)
    assert v[0].tolist() == [[2.0**62] * 3] * 2
    assert v[2].tolist() == [[1.0] * 3, [0.0] * 3]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"spatial": (4,)}, ValueError, "spatial"),
        ({"spatial": (4, 0)}, ValueError, "spatial"),
        ({"spatial": (4, 4), "scale": "pixels"}, ValueError, "distance_scale"),
        ({"spatial": (4, 4), "scale": float("nan")}, ValueError, "distance_scale"),
        ({"spatial": (4, 4), "scale": None}, TypeError, "distance_scale"),
        ({"spatial": (4, 4), "origin": (1, 1), "extent": (4, 5)}, ValueError, "origin"),
        ({"spatial": (4, 4), "origin": (-1, 0)}, ValueError, "origin"),
        ({"spatial": (4, 4), "origin": (1,)}, ValueError, "origin"),
        ({"spatial": (4, 4), "extent": (4, 4, 4)}, ValueError, "extent"),
        ({"spatial": (4, 4), "dtype": torch.int64}, TypeError, "dtype: expected one of .*float32.*, got torch.int64"),
        ({"spatial": (4, 4), "dtype": "float32"}, TypeError, "dtype: expected one of .*, got 'float32'"),
        ({"spatial": 3}, TypeError, "spatial: expected 2 or 3 whole numbers.*, got 3"),
        ({"spatial": "ab"}, TypeError, "spatial: .*, got 'ab'"),
        ({"spatial": (3.0, 4)}, TypeError, r"spatial: .*, got \(3.0, 4\)"),
        ({"spatial": (2**70, 4)}, ValueError, "spatial: .*at most 2\\^62 pixels"),
        ({"spatial": (4, 4), "origin": 3}, TypeError, "origin: expected 2 whole numbers, one per spatial axis, got 3"),
        ({"spatial": (4, 4), "origin": (2**70, 0)}, ValueError, "origin: .*at most 2\\^62 pixels, got"),
        ({"spatial": (4, 4), "origin": (True, 0)}, TypeError, r"origin: .*, got \(True, 0\)"),
        ({"spatial": (4, 4), "extent": (9.0, 9)}, TypeError, r"extent: .*, got \(9.0, 9\)"),
        ({"spatial": (4, 4), "scale": 2**2000}, ValueError, "distance_scale: expected a finite number"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        boundary_distances(**arguments)
