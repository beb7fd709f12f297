"""The torch backend's exactness in images of several blocks, of the paper's size, and with any number of threads."""

import pytest
import torch

import nerd_fast
from nerd_fast.backends import positions
from tests.exactness import assert_head_as_exact_as_eager, randomise


def limit_blocks(monkeypatch, elements):
    monkeypatch.setattr(positions, "SMALLEST_BLOCK", elements)
    monkeypatch.setattr(positions, "LARGEST_BLOCK", elements)


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
