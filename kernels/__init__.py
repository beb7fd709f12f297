"""The fused Triton kernels of the NeRD heads, and what they can run.

`supports` answers without Triton; `forward` and `backward` import it on first use.
"""

from nerd_fast.kernels.limits import supports

__all__ = ["backward", "forward", "supports"]


def __getattr__(name):
    if name in ("forward", "backward"):
        from nerd_fast.kernels import launch

        globals()["forward"], globals()["backward"] = launch.forward, launch.backward
        return globals()[name]
    raise AttributeError(f"module 'nerd_fast.kernels' has no attribute {name!r}")
