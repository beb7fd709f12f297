"""The kernels compute what the reference computes: logits and every gradient, within twice eager's own error."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.heads import Case, assert_faithful, by_kernels, tensors

pytestmark = pytest.mark.interpreter

VARIANTS = ("nerdm", "nerdc")
NAMED = {
    "the paper's head": Case(hidden=(32, 32), spatial=(9, 16)),
    "one position": Case(spatial=(1, 1)),
    "two positions, bias": Case(spatial=(2, 1), bias=True),
    "a row of 15": Case(spatial=(1, 15)),
    "a column of 17": Case(spatial=(17, 1)),
    "31 columns": Case(spatial=(3, 31)),
    "33 rows": Case(spatial=(33, 2)),
    "a volume": Case(spatial=(3, 4, 5), hidden=(8, 16)),
    "a volume, channels last": Case(spatial=(2, 5, 3), layout="channels_last"),
    "3 classes, 3 channels": Case(channels=3, classes=3, bias=True),
    "3 classes, 17 channels": Case(channels=17, classes=3, layout="channels_last"),
    "14 classes, 32 channels": Case(channels=32, classes=14, bias=True),
    "14 classes, channels last": Case(channels=16, classes=14, layout="channels_last"),
    "20 classes, channels last": Case(channels=16, classes=20, spatial=(3, 4), layout="channels_last"),
    "64 channels": Case(channels=64, spatial=(3, 5)),
    "more classes than fit at once": Case(channels=40, classes=33, spatial=(2, 3), batch=1),
    "more channels than fit at once": Case(channels=130, classes=2, spatial=(2, 3), batch=1, bias=True),
    "channels last": Case(layout="channels_last", spatial=(5, 9)),
    "odd widths": Case(hidden=(8, 24, 100)),
    "four layers, silu": Case(hidden=(16, 8, 16, 8), activation="silu"),
    "hidden 64, leaky relu": Case(hidden=(64, 64), activation="leaky_relu"),
    "tanh": Case(hidden=(32, 16), activation="tanh", bias=True),
    "distances in pixels": Case(scale=0.25),
    "a window of an image": Case(origin=(3, 2), extent=(20, 9)),
    "a window of a volume": Case(spatial=(2, 3, 4), origin=(1, 2, 0), extent=(4, 9, 4), scale=0.5),
    "a batch of 9": Case(batch=9, spatial=(3, 3)),
    "a larger image": Case(batch=1, spatial=(23, 23)),
    "half precision": Case(dtype=torch.float16, bias=True),
    "half precision, channels last": Case(dtype=torch.float16, layout="channels_last", classes=2),
    "bfloat16": Case(dtype=torch.bfloat16, batch=3),
}
LAYOUTS = ("channels_last", "sliced batch and channels", "sliced columns", "expanded batch", "transposed")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", NAMED.values(), ids=NAMED)
def test_logits_and_gradients_are_faithful(case, variant):
    assert_faithful(case(variant=variant))


@st.composite
def cases(draw):
    dims = draw(st.integers(2, 3))
    channels = draw(st.integers(1, 40))
    return Case(
        variant=draw(st.sampled_from(VARIANTS)),
        batch=draw(st.integers(1, 5)),
        channels=channels,
        classes=draw(st.integers(1, 9)),
        hidden=tuple(draw(st.lists(st.integers(8, 40), min_size=1, max_size=3))),
        spatial=tuple(draw(st.lists(st.integers(1, 6), min_size=dims, max_size=dims))),
        activation=draw(st.sampled_from(("relu", "leaky_relu", "silu", "tanh"))),
        bias=draw(st.booleans()),
        scale=draw(st.sampled_from((None, 0.125))),
        layout=draw(st.sampled_from(("contiguous", "channels_last", "sliced batch and channels", "transposed"))),
    )


@given(case=cases(), seed=st.integers(0, 1000))
@settings(max_examples=15)
def test_heads_at_random_are_faithful(case, seed):
    assert_faithful(case, seed)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_changes_nothing_but_rounding(layout, variant):
    """The order in which channels are added follows from where they lie: bits differ, by units in the last place."""
    case = Case(variant=variant, layout=layout, classes=2, spatial=(4, 6))
    t = tensors(case)
    laid_out = by_kernels(case, t)
    t.x = t.x.contiguous()
    for name, value in by_kernels(case, t).items():
        allowed = 4 * torch.finfo(value.dtype).eps * value.abs().max()
        assert (laid_out[name] - value).abs().max() <= allowed, name


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("view", ["expanded", "transposed", "sliced", "channels_last"])
def test_the_incoming_gradient_may_have_any_strides(view, variant):
    case = Case(variant=variant, classes=2, batch=3, spatial=(4, 6), bias=True)
    t = tensors(case)
    t.grad = {
        "expanded": lambda g: g.sum().expand_as(g),
        "transposed": lambda g: g.transpose(-1, -2).contiguous().transpose(-1, -2),
        "sliced": lambda g: torch.stack([g, g], -1)[..., 0],
        "channels_last": lambda g: g.to(memory_format=torch.channels_last),
    }[view](t.grad)
    viewed = by_kernels(case, t)
    t.grad = t.grad.clone(memory_format=torch.contiguous_format)
    for name, value in by_kernels(case, t).items():
        assert torch.equal(viewed[name], value), name
