"""The fused Triton kernels of the NeRD heads and of what they consist of, and what they can run.

`supports` answers without Triton; the operations import it on first use.
"""

from importlib import import_module

from nerd_fast.kernels.limits import supports

_OPERATIONS = {
    "forward": ("heads", "forward"),
    "backward": ("heads", "backward"),
    "normalisation_forward": ("norm_launch", "forward"),
    "normalisation_backward": ("norm_launch", "backward"),
    "position_map_forward": ("map_launch", "forward"),
    "position_map_backward": ("map_launch", "backward"),
}

__all__ = [*_OPERATIONS, "supports"]  # noqa: PLE0604


def __getattr__(name):
    if name not in _OPERATIONS:
        raise AttributeError(f"module 'nerd_fast.kernels' has no attribute {name!r}")
    module, operation = _OPERATIONS[name]
    globals()[name] = getattr(import_module(f"nerd_fast.kernels.{module}"), operation)
    return globals()[name]
