"""The tests of the kernels that run in the interpreter, all of them, on PTX for each architecture."""

import importlib
from pathlib import Path

import pytest
import torch

from tests.kernels.heads import Case, by_kernels, tensors

pytestmark = [pytest.mark.ptx, pytest.mark.exhaustive, pytest.mark.usefixtures("on_ptx")]

# Bits are equal in the interpreter alone: another memory format sums in another order (`within_rounding` below).
EQUAL_BITS = ("test_a_layout_changes_no_value",)
ELSEWHERE = ("test_tf32_stays_close_to_ieee",)  # test_tf32.py


def interpreter_tests():
    """{name: test or fixture} of the files beside this folder whose every test runs in the interpreter."""
    found = {}
    for path in sorted(Path(__file__).parents[1].glob("test_*.py")):
        module = importlib.import_module(f"tests.kernels.{path.stem}")
        if getattr(module, "pytestmark", None) == pytest.mark.interpreter:
            found |= {name: value for name, value in vars(module).items() if wanted(name, value)}
    return found


def wanted(name, value):
    fixture = type(value).__name__ == "FixtureFunctionDefinition"
    return fixture or (name.startswith("test_") and name not in (*EQUAL_BITS, *ELSEWHERE))


globals().update(interpreter_tests())


@pytest.mark.parametrize("variant", ["nerdm", "nerdc"])
@pytest.mark.parametrize("layout", ["channels_last", "sliced batch and channels", "sliced columns", "transposed"])
def test_a_layout_changes_values_within_rounding(layout, variant):
    """Two units in the last place of the largest value: another memory format sums in another order."""
    case = Case(variant=variant, layout=layout, classes=2, spatial=(4, 6))
    t = tensors(case)
    laid_out = by_kernels(case, t)
    t.x = t.x.contiguous()
    for name, value in by_kernels(case, t).items():
        unit = torch.finfo(value.dtype).eps * value.abs().max()
        assert (laid_out[name] - value).abs().max() <= 2 * unit, name
