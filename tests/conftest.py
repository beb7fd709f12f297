"""What every test sees: one file of tests for both backends, and memory that is poisoned before it is written.

A test that takes the fixture `backend` runs with `torch`, and with `triton` where kernels can run: on a CUDA GPU
when NERD_FAST_DEVICE=cuda, on a CPU in the interpreter when TRITON_INTERPRET=1 (marked `interpreter`).
"""

import os
from pathlib import Path

import pytest
import torch

try:
    import hypothesis
except ImportError:  # the GPU lane runs where nothing can be installed; only tests that draw their cases need it
    pass
else:
    # A busy machine is no failure, and a run fails for what was changed and not for what was drawn.
    hypothesis.settings.register_profile("nerd-fast", deadline=None, derandomize=True)
    hypothesis.settings.load_profile("nerd-fast")

DEVICE = os.environ.get("NERD_FAST_DEVICE", "cpu")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def pytest_collection_modifyitems(config, items):
    _leave_to_ptx_alone(config, items)
    without_interpreter = pytest.mark.skip(reason="needs TRITON_INTERPRET=1 in a process of its own")
    without_stub = pytest.mark.skip(reason="needs NERD_FAST_LAUNCH=1 in a process of its own")
    without_gpu = pytest.mark.skip(reason="needs a CUDA GPU")
    for item in items:
        if item.get_closest_marker("interpreter") and not INTERPRETED and DEVICE != "cuda":
            item.add_marker(without_interpreter)
        if item.get_closest_marker("launch") and os.environ.get("NERD_FAST_LAUNCH") != "1":
            item.add_marker(without_stub)
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(without_gpu)


def _leave_to_ptx_alone(config, items):
    """What executes the compiled kernels at length runs with `-m ptx` and in no other run."""
    if "ptx" in config.option.markexpr.replace("not ptx", ""):
        return
    left = [item for item in items if item.get_closest_marker("exhaustive")]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


@pytest.fixture(params=["torch", pytest.param("triton", marks=pytest.mark.interpreter)])
def backend(request):
    return request.param


@pytest.fixture
def device():
    return torch.device(DEVICE)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _gradients_stay_enabled():
    """No test, and nothing that it calls, may leave gradients switched off for what comes after it."""
    yield
    left_off = torch.is_inference_mode_enabled() or not torch.is_grad_enabled()
    torch.set_grad_enabled(True)
    assert not left_off, "gradients were left switched off"


@pytest.fixture
def poisoned_empty(monkeypatch):
    """`torch.empty` and its kin filled with NaN, so that an output nobody wrote fails loudly."""

    def poisoning(make):
        def empty(*arguments, **options):
            tensor = make(*arguments, **options)
            return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor

        return empty

    for name in ("empty", "empty_like", "empty_strided"):
        monkeypatch.setattr(torch, name, poisoning(getattr(torch, name)))


@pytest.fixture(scope="session")
def real_data():
    """The folder of real scans, or a skip: NERD_FAST_DATA, else shared/data beside the checkout."""
    folder = Path(os.environ.get("NERD_FAST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set NERD_FAST_DATA")
    return folder
