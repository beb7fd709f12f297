"""Where Triton cannot build its driver the heads say why, and what it needs: with Triton's own driver."""

import pytest

from nerd_fast.backends import fused

pytestmark = pytest.mark.launch


@pytest.mark.parametrize(
    ("compiler", "told"),
    [
        (None, "RuntimeError: Failed to find C compiler"),
        ("false", "CalledProcessError"),  # it fails, as without Python.h
    ],
    ids=["no compiler", "a compiler that fails"],
)
def test_a_driver_that_cannot_be_built_is_a_reason(built, monkeypatch, tmp_path, compiler, told):
    import triton
    from triton.backends.nvidia.driver import CudaDriver

    class Fresh:
        """Makes the driver when it is asked for, as Triton does in a new process."""

        @property
        def active(self):
            return CudaDriver()

    monkeypatch.setattr(triton.runtime, "driver", Fresh())
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    if compiler is None:
        monkeypatch.delenv("CC", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        monkeypatch.setenv("CC", compiler)
    fused.driver_fault.cache_clear()
    try:
        reason = fused.driver_fault()
    finally:
        fused.driver_fault.cache_clear()
    assert told in reason
    assert "C compiler" in reason
    assert "Python.h" in reason
