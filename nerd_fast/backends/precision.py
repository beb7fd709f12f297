"""In which precision a head computes, whatever surrounds it."""

import threading
from contextlib import contextmanager, nullcontext

import torch


@contextmanager
def computing(x, precision):
    """Autocast off, since the calibrator is float32 whatever surrounds it, and float32 products as asked."""
    autocast = torch.is_autocast_enabled(x.device.type)
    with torch.autocast(x.device.type, enabled=False) if autocast else nullcontext(), _products(precision):
        yield


@contextmanager
def _products(precision):
    """float32 products as asked; None leaves PyTorch's own setting. tf32x3 is emulated float32, here float32 itself.

    The setting belongs to the process, so heads that ask for one take turns. A head in another thread that follows
    it may meet it changed.
    """
    if precision is None:
        yield
        return
    with _changing_precision:
        current = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(current)


_changing_precision = threading.Lock()
