"""The torch backend's blocks: what it computes does not depend on how many rows it takes at once."""

import pytest
import torch

import nerd_fast
from nerd_fast.backends import folded, layers
from tests.exactness import assert_head_as_exact_as_eager, randomise


def limit_blocks(monkeypatch, elements):
    monkeypatch.setattr(folded, "_SMALLEST_BLOCK", elements)
    monkeypatch.setattr(folded, "_LARGEST_BLOCK", elements)


@pytest.mark.parametrize("rows_at_once", [1, 2, 5])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("head_class", [nerd_fast.NeRDm, nerd_fast.NeRDc])
@pytest.mark.parametrize("spatial", [(7, 9), (3, 4, 5)])
def test_an_image_in_blocks_is_as_exact_as_eager(
    spatial, head_class, classes, memory_format, rows_at_once, monkeypatch
):
    head = randomise(head_class(5, classes, spatial_dims=len(spatial), hidden_channels=(16, 16)))
    x = torch.randn(3, 5, *spatial)
    if memory_format == "channels_last":
        x = x.contiguous(memory_format=[torch.channels_last, torch.channels_last_3d][len(spatial) - 2])
    limit_blocks(monkeypatch, 16 * spatial[-1] * rows_at_once)
    assert_head_as_exact_as_eager(head, x)


@pytest.mark.parametrize(("rows", "expected"), [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3), (600, 200)])
def test_blocks_cover_every_row_once_and_stay_within_the_limit(rows, expected, monkeypatch):
    positions = layers.Positions(torch.arange(2.0 * rows).view(rows, 2), torch.zeros(10, 2))
    limit_blocks(monkeypatch, 3 * 10 * 16)
    blocks = folded._blocks(positions, [torch.zeros(16, 4), torch.zeros(8, 16)], features=1)
    assert len(blocks) == expected
    assert torch.equal(torch.cat([block.rows for block, _ in blocks]), positions.rows)
    assert [at for _, at in blocks] == [slice(s, s + n) for s, n in _runs(blocks)]
    assert all(1 <= len(block.rows) <= 3 for block, _ in blocks)


def _runs(blocks):
    start = 0
    for block, _ in blocks:
        yield start, 10 * len(block.rows)
        start += 10 * len(block.rows)


def test_a_row_wider_than_the_limit_is_a_block():
    positions = layers.Positions(torch.zeros(3, 2), torch.zeros(folded._LARGEST_BLOCK, 2))
    assert len(folded._blocks(positions, [torch.zeros(16, 4)], features=1)) == 3


def test_blocks_grow_with_the_features_between_their_limits():
    positions = layers.Positions(torch.zeros(1 << 11, 2), torch.zeros(1 << 6, 2))
    counts = [len(folded._blocks(positions, [torch.zeros(32, 4)], features)) for features in (1, 6_000_000, 1 << 30)]
    assert counts == [8, 5, 4]


@pytest.mark.parametrize("hidden", [32, 64])
@pytest.mark.parametrize("head_class", [nerd_fast.NeRDm, nerd_fast.NeRDc])
def test_the_papers_image_is_as_exact_as_eager(head_class, hidden):
    head = randomise(head_class(16, 1, hidden_channels=(hidden, hidden)))
    assert_head_as_exact_as_eager(head, torch.randn(2, 16, 160, 224))


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_changes_no_promise(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_head_as_exact_as_eager(randomise(nerd_fast.NeRDm(5, 2)), torch.randn(2, 5, 40, 30))
    finally:
        torch.set_num_threads(before)
