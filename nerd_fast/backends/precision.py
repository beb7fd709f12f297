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

    The settings belong to the process, so heads that ask for one take turns. A head in another thread that follows
    them may meet them changed. Those of CUDA and of oneDNN are read and written one by one: the call that sets both,
    `torch.set_float32_matmul_precision`, cannot be undone where they differed.
    """
    if precision is None:
        yield
        return
    wanted = "tf32" if precision == "tf32" else "ieee"
    with _changing_precision:
        before = [backend.fp32_precision for backend in _PRODUCTS]
        try:
            for backend in _PRODUCTS:
                backend.fp32_precision = wanted
            yield
        finally:
            for backend, value in zip(_PRODUCTS, before, strict=True):
                backend.fp32_precision = value


_PRODUCTS = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
_changing_precision = threading.Lock()
