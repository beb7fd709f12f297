"""Products in tf32, whose operands tensor cores cut to 10 bits of mantissa: they must be rounded before."""

import pytest

from tests.kernels import test_launch

pytestmark = [pytest.mark.ptx, pytest.mark.exhaustive, pytest.mark.usefixtures("on_ptx")]


@pytest.mark.parametrize("architecture", [80, 90, 120], indirect=True)
@pytest.mark.parametrize("variant", test_launch.VARIANTS)
def test_tf32_stays_close_to_ieee(variant):
    test_launch.test_tf32_stays_close_to_ieee(3, variant)
