"""The tests of the kernels that run in the interpreter, all of them, on PTX for each architecture."""

import importlib
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ptx, pytest.mark.exhaustive, pytest.mark.usefixtures("on_ptx")]

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
    return fixture or (name.startswith("test_") and name not in ELSEWHERE)


globals().update(interpreter_tests())
