"""The stub driver for the tests of this folder, which run in a process of their own: NERD_FAST_LAUNCH=1."""

import os

import pytest

from nerd_fast.backends import fused
from tests.launch import stub


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    if stub.compiler() is None:
        pytest.skip("needs a C compiler (gcc, clang or the one that CC names) to build a stub of libcuda")
    os.environ["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    return stub.Stub(tmp_path_factory.mktemp("libcuda"))


@pytest.fixture
def driver(built, monkeypatch):
    """The stub as Triton's driver; heads take the kernels for tensors of the CPU."""
    monkeypatch.setattr(fused, "_device_obstacle", lambda device: None)
    fused._obstacle.cache_clear()
    yield built
    fused._obstacle.cache_clear()
