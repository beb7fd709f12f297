"""The `triton` backend: where the fused kernels can run, and the call to them.

Triton is imported by the first call that asks for it; a Triton that is missing, broken or cannot use its cache
is a reason not to run, told in one sentence, never a crash on import.
"""

import os
from functools import cache
from importlib import import_module

import torch

from nerd_fast.kernels import limits

# What a damaged or unwritable kernel cache raises from inside Triton; JSON and Unicode errors are ValueErrors.
CACHE_FAULTS = (OSError, KeyError, ValueError)


class TritonFault(RuntimeError):
    """Triton could not build what it launches, or not read or write its cache: of this machine, not of the call."""


def obstacle(x, *, variant, out_channels, hidden_channels, activation, precision):
    """None when the kernels can run this call, else one sentence that says why not and what they can run.

    `variant` is "nerdm", "nerdc", "nerdnorm", for which out_channels is None, or "map", which has no calibrator.
    """
    if (positions := x.shape[2:].numel()) > limits.MOST_POSITIONS:
        return f"the kernels count positions in 32 bits: at most {limits.MOST_POSITIONS} in an image, not {positions}"
    return _obstacle(
        x.device,
        x.dtype,
        x.dim() - 2,
        x.shape[1],
        variant,
        out_channels,
        None if hidden_channels is None else tuple(hidden_channels),
        activation,
        precision,
    )


@cache
def _obstacle(device, dtype, spatial_dims, in_channels, variant, out_channels, hidden_channels, activation, precision):
    fault = _device_obstacle(device)
    if fault:
        return fault
    return limits.supports(
        variant=variant,
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=out_channels,
        hidden_channels=hidden_channels,
        activation=activation,
        dtype=dtype,
        precision=precision,
        capability=torch.cuda.get_device_capability(device) if device.type == "cuda" else None,
    )


def call(operation, *arguments, **options):
    """Runs an operation of `nerd_fast.kernels`; arguments as in the torch backend's function of that operation, but
    that a precision is one of the kernels', as `resolve_precision` gives it."""
    try:
        return getattr(_kernels(), operation)(*arguments, **options)
    except Exception as error:
        if _raised_in(error, "triton/runtime/build.py"):
            raise TritonFault(f"{_cannot_build(error)}; backend='torch' runs without it.") from error
        if isinstance(error, CACHE_FAULTS) and _raised_in(
            error, "triton/runtime/cache.py", "triton/compiler/compiler.py"
        ):
            raise TritonFault(
                f"Triton could not use its kernel cache in {cache_folder()} ({type(error).__name__}: {error}). "
                f"Remove that folder, or point TRITON_CACHE_DIR at one that can be written, and run again; "
                f"backend='torch' runs without it."
            ) from error
        raise


def resolve_precision(precision):
    """`None` follows PyTorch: tf32 where its float32 products on CUDA are tf32, else float32 itself.

    Read from the setting of CUDA's products, which `torch.set_float32_matmul_precision` sets too: once that setting, or
    `torch.backends.fp32_precision`, has been used by itself, `torch.get_float32_matmul_precision()` raises.
    """
    if precision is not None:
        return precision
    return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "ieee"


def cache_folder():
    """Where Triton keeps compiled kernels."""
    return os.environ.get("TRITON_CACHE_DIR") or os.path.join(
        os.environ.get("TRITON_HOME") or os.path.expanduser("~"), ".triton", "cache"
    )


def import_fault():
    """None when Triton and the kernels import, else the reason in one sentence."""
    try:
        import_module("triton")
        _launcher()
    except Exception as error:  # a broken installation raises anything at all
        return f"Triton cannot be imported ({type(error).__name__}: {error}); install it with: pip install triton"
    return None


@cache
def driver_fault():
    """None when Triton's CUDA driver is there, else the reason in one sentence. Triton builds it on first use, in C."""
    try:
        _ = import_module("triton").runtime.driver.active.utils
    except Exception as error:  # no compiler, no headers, no libcuda: a RuntimeError, a CalledProcessError, ...
        return _cannot_build(error)
    return None


def _cannot_build(error):
    return (
        f"Triton cannot build its launcher ({type(error).__name__}: {error}); it needs a C compiler (gcc, clang or "
        f"the one that CC names) and the headers of Python (Python.h, in a package such as python3-dev)"
    )


def _device_obstacle(device):
    if device.type == "cuda":
        fault = limits.capability_fault(torch.cuda.get_device_capability(device))
        return fault or import_fault() or driver_fault()  # an old GPU is told of before Triton is asked for
    if device.type != "cpu":
        return f"the Triton kernels run on CUDA tensors, not on {device.type}"
    if os.environ.get("TRITON_INTERPRET") != "1":
        return "the Triton kernels run on CUDA tensors; on a CPU only when TRITON_INTERPRET=1 is set before import"
    return import_fault()


@cache
def _kernels():
    return import_module("nerd_fast.kernels")


def _launcher():
    return import_module("nerd_fast.kernels.heads")


def _raised_in(error, *files):
    """Whether an error passed through one of these files of Triton's."""
    passed = []
    trace = error.__traceback__
    while trace:
        passed.append(trace.tb_frame.f_code.co_filename.replace(os.sep, "/"))
        trace = trace.tb_next
    return any(file.endswith(files) for file in passed)
