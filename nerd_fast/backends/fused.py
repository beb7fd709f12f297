"""The `triton` backend: where the fused kernels can run, and the call to them.

Triton is imported by the first call that asks for it; a Triton that is missing, broken or cannot use its cache
is a reason not to run, told in one sentence, never a crash on import.
"""

import os
from functools import cache
from importlib import import_module

import torch

OLDEST_CAPABILITY = (7, 5)
# What a damaged or unwritable kernel cache raises from inside Triton; JSON and Unicode errors are ValueErrors.
CACHE_FAULTS = (OSError, KeyError, ValueError)


class KernelCacheError(RuntimeError):
    """Triton could not read or write its cache of compiled kernels."""


def obstacle(x, *, variant, out_channels, hidden_channels, activation, precision):
    """None when the kernels can run this call, else one sentence that says why not and what they can run.

    `variant` is "nerdm", "nerdc" or "nerdnorm", for which out_channels is None.
    """
    return _obstacle(
        x.device,
        x.dtype,
        x.dim() - 2,
        x.shape[1],
        variant,
        out_channels,
        tuple(hidden_channels),
        activation,
        precision,
    )


@cache
def _obstacle(device, dtype, spatial_dims, in_channels, variant, out_channels, hidden_channels, activation, precision):
    fault = _device_obstacle(device)
    if fault:
        return fault
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"the Triton kernels take float32, float16 or bfloat16 features, not {dtype}"
    return _kernels().supports(
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
    """Runs an operation of `nerd_fast.kernels`; arguments as in the torch backend's function of that operation."""
    options["precision"] = resolve_precision(options["precision"])
    try:
        return getattr(_kernels(), operation)(*arguments, **options)
    except CACHE_FAULTS as error:
        if not _raised_in_the_cache(error):
            raise
        raise KernelCacheError(
            f"Triton could not use its kernel cache in {cache_folder()} ({type(error).__name__}: {error}). "
            f"Remove that folder, or point TRITON_CACHE_DIR at one that can be written, and run again; "
            f"backend='torch' runs without it."
        ) from error


def resolve_precision(precision):
    """`None` follows `torch.get_float32_matmul_precision()`: "highest" is float32 itself, the others tf32."""
    if precision is not None:
        return precision
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"


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


def _device_obstacle(device):
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability < OLDEST_CAPABILITY:
            found = ".".join(map(str, capability))
            return f"the Triton kernels need a GPU of compute capability 7.5 or newer, and {device} has {found}"
        return import_fault()
    if device.type != "cpu":
        return f"the Triton kernels run on CUDA tensors, not on {device.type}"
    if os.environ.get("TRITON_INTERPRET") != "1":
        return "the Triton kernels run on CUDA tensors; on a CPU only when TRITON_INTERPRET=1 is set before import"
    return import_fault()


def _kernels():
    return import_module("nerd_fast.kernels")


def _launcher():
    return import_module("nerd_fast.kernels.launch")


def _raised_in_the_cache(error):
    """Whether the error comes from Triton reading or writing compiled kernels, by the files it passed through."""
    trace = error.__traceback__
    files = []
    while trace:
        files.append(trace.tb_frame.f_code.co_filename.replace(os.sep, "/"))
        trace = trace.tb_next
    return any(file.endswith(("triton/runtime/cache.py", "triton/compiler/compiler.py")) for file in files)
