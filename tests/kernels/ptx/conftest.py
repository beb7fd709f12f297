"""Runs tests on PTX, with memory that nothing has written known as such."""

import os

import pytest
import torch

from tests.kernels.ptx.execution import ARCHITECTURES, execute_on

UNWRITTEN = ("empty", "empty_like")


def pytest_collection_modifyitems(items):
    interpreted = pytest.mark.skip(reason="the interpreter compiles nothing: needs TRITON_INTERPRET unset")
    for item in items:
        if item.get_closest_marker("ptx") and os.environ.get("TRITON_INTERPRET") == "1":
            item.add_marker(interpreted)


@pytest.fixture(params=ARCHITECTURES, ids=lambda architecture: f"sm_{architecture}")
def architecture(request):
    return request.param


@pytest.fixture
def on_ptx(architecture, guarded_memory, monkeypatch):
    """Launches run as compiled for `architecture`; what `torch.empty` gives may not be read before it is written."""
    memory = execute_on(architecture, monkeypatch)

    def unwritten(make):
        def empty(*arguments, **options):
            tensor = make(*arguments, **options)
            memory.mark_unwritten(tensor)
            return tensor

        return empty

    for name in UNWRITTEN:
        monkeypatch.setattr(torch, name, unwritten(getattr(torch, name)))
    return memory
