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


def test_a_number_multiplies_the_distance_in_pixels():
    assert torch.equal(boundary_distances((2, 5), scale=0.5), 0.5 * boundary_distances((2, 5), scale=1))


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
        ({"spatial": (4, 4), "dtype": torch.int64}, TypeError, "dtype"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        boundary_distances(**arguments)
