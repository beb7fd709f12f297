"""Rows, columns and blocks of an image against the boundary distances of all its positions."""

import pytest
import torch

from nerd_fast import boundary_distances
from nerd_fast.backends import positions


@pytest.mark.parametrize("scale", [None, 0.5])
@pytest.mark.parametrize(("spatial", "origin", "extent"), [((3, 4), (2, 1), (9, 6)), ((2, 3, 4), (1, 0, 2), (4, 3, 7))])
def test_rows_and_columns_together_are_the_boundary_distances(spatial, origin, extent, scale):
    image = positions.image_of(torch.zeros(1, 1, *spatial), scale, origin, extent)
    v = boundary_distances(spatial, "extent" if scale is None else scale, origin, extent).flatten(1)
    for row in range(len(image.rows)):
        for column in range(len(image.columns)):
            (top, bottom, *depth), (right, left) = image.rows[row].tolist(), image.columns[column].tolist()
            assert v[:, row * len(image.columns) + column].tolist() == [top, right, bottom, left, *depth]


@pytest.mark.parametrize(("rows", "expected"), [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3), (600, 200)])
def test_blocks_cover_every_row_once_and_stay_within_the_limit(rows, expected, monkeypatch):
    image = positions.Positions(torch.arange(2.0 * rows).view(rows, 2), torch.zeros(10, 2))
    monkeypatch.setattr(positions, "SMALLEST_BLOCK", 3 * 10 * 16)
    monkeypatch.setattr(positions, "LARGEST_BLOCK", 3 * 10 * 16)
    blocks = positions.blocks(image, [torch.zeros(16, 4), torch.zeros(8, 16)], features=1)
    assert len(blocks) == expected
    assert torch.equal(torch.cat([block.rows for block, _ in blocks]), image.rows)
    assert [at for _, at in blocks] == [slice(s, s + n) for s, n in _runs(blocks)]
    assert all(1 <= len(block.rows) <= 3 for block, _ in blocks)


def _runs(blocks):
    start = 0
    for block, _ in blocks:
        yield start, 10 * len(block.rows)
        start += 10 * len(block.rows)


def test_a_row_wider_than_the_limit_is_a_block():
    image = positions.Positions(torch.zeros(3, 2), torch.zeros(positions.LARGEST_BLOCK, 2))
    assert len(positions.blocks(image, [torch.zeros(16, 4)], features=1)) == 3


def test_blocks_grow_with_the_features_between_their_limits():
    image = positions.Positions(torch.zeros(1 << 11, 2), torch.zeros(1 << 6, 2))
    counts = [len(positions.blocks(image, [torch.zeros(32, 4)], features)) for features in (1, 6_000_000, 1 << 30)]
    assert counts == [8, 5, 4]
