"""Memory that a kernel forgets to write holds NaN, and the memory next to every tensor is watched."""

import pytest
import torch

from nerd_fast.kernels import launch

GUARD = 64  # elements before and after each tensor
SENTINEL = -1234.0


@pytest.fixture
def launches(monkeypatch):
    """The launches of kernels, in their order, as they come."""
    counted = []
    run = launch.Launch.run

    def counting(self):
        counted.append(self)
        run(self)

    monkeypatch.setattr(launch.Launch, "run", counting)
    return counted


@pytest.fixture(autouse=True)
def guarded_memory(request, monkeypatch):
    """`torch.empty` and `empty_like` give NaN between sentinels; the test fails if a sentinel is overwritten."""
    if not any(request.node.get_closest_marker(name) for name in ("interpreter", "ptx")):
        yield None
        return
    buffers = []

    def guarded(make):
        def empty(*arguments, **options):
            plain = make(*arguments, **options)
            reach = [(n - 1) * s for n, s in zip(plain.shape, plain.stride(), strict=True)]
            extent = 1 + sum(reach) if plain.numel() else 0
            buffer = torch.full((extent + 2 * GUARD,), SENTINEL, dtype=plain.dtype, device=plain.device)
            buffer[GUARD : GUARD + extent] = torch.nan
            buffers.append(buffer)
            return buffer.as_strided(plain.shape, plain.stride(), GUARD)

        return empty

    for name in ("empty", "empty_like"):
        monkeypatch.setattr(torch, name, guarded(getattr(torch, name)))
    yield buffers
    for buffer in buffers:
        assert (buffer[:GUARD] == SENTINEL).all(), "a kernel wrote before the start of a tensor"
        assert (buffer[-GUARD:] == SENTINEL).all(), "a kernel wrote past the end of a tensor"
