"""The compiled kernels of position maps and of the normalisation, executed as PTX for four architectures."""

import pytest
import torch

from tests.kernels.streams import assert_map_is_faithful, assert_norm_is_faithful

pytestmark = [pytest.mark.ptx, pytest.mark.usefixtures("on_ptx")]

CASES = [
    (75, torch.float32, "contiguous", (4, 8)),
    (80, torch.float32, "channels_last", (3, 4, 4)),
    (90, torch.bfloat16, "contiguous", (3, 5, 7)),
    (120, torch.float16, "channels_last", (5, 7)),
]


@pytest.mark.parametrize(("architecture", "dtype", "layout", "spatial"), CASES, indirect=["architecture"])
def test_a_map_is_faithful(dtype, layout, spatial):
    assert_map_is_faithful(dtype=dtype, layout=layout, spatial=spatial)


@pytest.mark.parametrize(
    ("architecture", "layout"), [(90, "contiguous"), (75, "channels_last")], indirect=["architecture"]
)
def test_a_map_of_several_classes_is_faithful(layout):
    assert_map_is_faithful(channels=32, classes=5, spatial=(4, 8), layout=layout)


@pytest.mark.parametrize(("architecture", "dtype", "layout", "spatial"), CASES, indirect=["architecture"])
def test_a_normalisation_is_faithful(dtype, layout, spatial):
    assert_norm_is_faithful(dtype=dtype, layout=layout, spatial=spatial)


@pytest.mark.parametrize(
    ("architecture", "layout"), [(90, "contiguous"), (75, "channels_last")], indirect=["architecture"]
)
def test_a_normalisation_with_wide_layers_is_faithful(layout):
    assert_norm_is_faithful(hidden=(64, 64), layout=layout)


@pytest.mark.exhaustive
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced columns", "transposed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_layout_and_dtype_is_faithful(layout, dtype):
    assert_map_is_faithful(dtype=dtype, layout=layout, spatial=(3, 16))
    assert_map_is_faithful(batch=2, channels=32, classes=14, dtype=dtype, layout=layout, spatial=(2, 8))
    assert_map_is_faithful(batch=1, channels=3, classes=20, dtype=dtype, layout=layout, spatial=(1, 7))
    assert_norm_is_faithful(dtype=dtype, layout=layout, spatial=(3, 16))
    assert_norm_is_faithful(channels=40, hidden=(8, 24, 100), dtype=dtype, layout=layout, spatial=(3, 5))


@pytest.mark.exhaustive
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_a_normalisation_on_tensor_cores_is_faithful(layout):
    assert_norm_is_faithful(layout=layout, precision="tf32x3")
