"""Which values are whole numbers, whoever made them."""

import numpy as np
import pytest
import torch

from nerd_fast.integers import at_least_one, pixels, whole_number


@pytest.mark.parametrize("value", [7, np.int8(7), np.uint64(7), np.array(7), torch.tensor(7), torch.tensor([7])[0]])
def test_a_whole_number_of_any_type_is_an_int(value):
    assert whole_number(value) == 7
    assert type(whole_number(value)) is int


@pytest.mark.parametrize(
    "value", [7.0, np.float32(7), torch.tensor(7.0), True, np.True_, torch.tensor(True), "7", None, [7], np.array([7])]
)
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(TypeError, match="width: expected a whole number of at least 1"):
        at_least_one("width", value)


def test_pixels_are_ints_of_any_sequence_that_has_an_order():
    for value in ([4, 5], (4, 5), range(4, 6), np.array([4, 5]), torch.tensor([4, 5]), torch.Size([4, 5])):
        assert pixels("size", value, 2) == (4, 5)
    for value in ({4, 5}, {4: 5, 5: 4}, "45", b"45"):
        with pytest.raises(TypeError, match="size: expected 2 whole numbers, one per spatial axis, got"):
            pixels("size", value, 2)
