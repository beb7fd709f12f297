"""Masks and spacings for property tests."""

from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

SPACINGS = st.tuples(*[st.sampled_from((0.5, 0.625, 1.0, 1.2, 3.0))] * 3)


@st.composite
def mask_pairs(draw, *, nonempty=False, shortest=1):
    """Two bool volumes of one shape of `shortest` to 6 voxels a side."""
    shape = draw(st.tuples(*[st.integers(shortest, 6)] * 3))
    masks = npst.arrays(bool, shape)
    if nonempty:
        masks = masks.filter(lambda mask: mask.any())
    return draw(masks), draw(masks)
