"""Heads and features drawn at random, on the torch backend, against the float64 oracle."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exactness import assert_head_as_exact_as_eager
from tests.test_functional import HEADS, LAYOUTS, make


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_random_heads_are_as_exact_as_eager(data):
    spatial = data.draw(st.lists(st.integers(1, 12), min_size=2, max_size=3), label="spatial")
    head = make(
        data.draw(st.sampled_from(HEADS), label="head"),
        data.draw(st.integers(1, 40), label="C"),
        data.draw(st.integers(1, 15), label="K"),
        spatial_dims=len(spatial),
        hidden_channels=data.draw(st.lists(st.integers(8, 40), min_size=1, max_size=4), label="hidden"),
        activation=data.draw(st.sampled_from(["relu", "leaky_relu", "silu", "tanh"]), label="activation"),
        bias=data.draw(st.booleans(), label="bias"),
    )
    batch = data.draw(st.integers(1, 3), label="B")
    dtype = data.draw(st.sampled_from([torch.float32, torch.float16, torch.bfloat16]), label="dtype")
    x = torch.randn(batch, head.in_channels, *spatial, dtype=dtype)
    if data.draw(st.booleans(), label="channels_last"):
        x = LAYOUTS["channels_last"](x)
    assert_head_as_exact_as_eager(head, x)
