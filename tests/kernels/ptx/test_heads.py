"""The compiled kernels are faithful: both heads, logits and every gradient, executed as PTX for four architectures."""

import pytest
import torch

from tests.kernels.heads import Case, assert_faithful

pytestmark = [pytest.mark.ptx, pytest.mark.usefixtures("on_ptx")]

PAPER = Case(channels=16, hidden=(32, 32))
FLAT, VOLUME = (5, 16), (3, 4, 8)
# Every pair of values of head, architecture, dtype, memory format and dimensions occurs.
PAIRS = [
    (75, "nerdm", torch.float32, "contiguous", FLAT),
    (75, "nerdc", torch.bfloat16, "channels_last", VOLUME),
    (80, "nerdm", torch.float32, "channels_last", VOLUME),
    (80, "nerdc", torch.bfloat16, "contiguous", FLAT),
    (90, "nerdm", torch.bfloat16, "contiguous", VOLUME),
    (90, "nerdc", torch.float32, "channels_last", FLAT),
    (120, "nerdm", torch.bfloat16, "channels_last", FLAT),
    (120, "nerdc", torch.float32, "contiguous", VOLUME),
]


@pytest.mark.parametrize(("architecture", "variant", "dtype", "layout", "spatial"), PAIRS, indirect=["architecture"])
def test_logits_and_gradients_are_faithful(variant, dtype, layout, spatial):
    assert_faithful(PAPER(variant=variant, dtype=dtype, layout=layout, spatial=spatial))


@pytest.mark.parametrize(("architecture", "variant"), [(75, "nerdm")], indirect=["architecture"])
def test_wide_hidden_layers_are_faithful(variant):
    assert_faithful(Case(variant=variant, channels=16, hidden=(64, 64), spatial=(3, 16)))


@pytest.mark.parametrize(("architecture", "variant"), [(80, "nerdm"), (75, "nerdc")], indirect=["architecture"])
def test_several_classes_and_a_bias_are_faithful(variant):
    assert_faithful(Case(variant=variant, channels=32, classes=14, hidden=(16,), spatial=(3, 16), bias=True))


@pytest.mark.parametrize(("architecture", "variant"), [(90, "nerdm"), (80, "nerdc")], indirect=["architecture"])
def test_classes_in_groups_and_products_of_the_same_units_are_faithful(variant):
    assert_faithful(Case(variant=variant, channels=16, classes=18, hidden=(40,), spatial=(2, 8)))


@pytest.mark.parametrize("architecture", [80], indirect=True)
def test_copies_of_a_sum_in_two_warps_have_the_same_bits():
    """Else which of them wins is a matter of time: the bias of five classes was added up once fused, once not."""
    assert_faithful(Case(variant="nerdm", batch=1, channels=9, classes=5, hidden=(8,), spatial=(1, 1)), 0)
