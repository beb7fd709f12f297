"""`backend="reference"`: the paper's equations in plain PyTorch, for what operators cannot do, and when they run."""

import logging
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from nerd_fast.windows import Positions, apply_in_windows

logger = logging.getLogger("nerd_fast")


def runs_in_plain_pytorch(backend: str, precision: str | None, *tensors: Tensor | None) -> bool:
    """Whether the reference runs a call with these tensors: by its name, or `"auto"` in a trace or an ONNX export.

    Neither a trace nor an ONNX file can hold our operators. `torch.compile` and `torch.export` can, and keep them.

    Raises ValueError for a precision beside the name, RuntimeError inside a transform of `torch.func`, and
    NotImplementedError for tensors of forward-mode differentiation, which go through the reference alone.
    """
    if backend == "reference":
        if precision is not None:
            raise ValueError(
                f"precision: backend='reference' is plain PyTorch and computes as "
                f"torch.set_float32_matmul_precision says; expected None, got {precision!r}"
            )
        return True
    if torch.compiler.is_dynamo_compiling():
        return False
    if torch._C._are_functorch_transforms_active():
        raise RuntimeError(
            f"nerd_fast: backend={backend!r} does not go through vmap, grad, jvp and the other transforms of "
            "torch.func; backend='reference' does"
        )
    if forward_ad._current_level >= 0 and any(_is_dual(tensor) for tensor in tensors):
        raise NotImplementedError(
            f"nerd_fast: backend={backend!r} has no forward-mode derivative (jvp); backend='reference' has"
        )
    traces: bool = torch.jit.is_tracing()  # type: ignore[attr-defined]
    return backend == "auto" and (traces or _exports_to_onnx())


@cache
def warn_of_plain_pytorch(reason: str) -> None:
    """Says once, as a warning in the log, that a call runs in plain PyTorch although nobody asked for it."""
    logger.warning("using plain PyTorch, which is slower and keeps more memory than the other backends: %s", reason)


def reference_in_windows(
    name: str, x: Tensor, *parameters: Any, origin: Positions | None, extent: Positions | None, **options: Any
) -> Tensor:
    """The function `name` of `nerd_fast.reference`; the calibrator in float32 at least, whatever surrounds it."""
    from nerd_fast import reference  # no other path runs the oracle

    def apply(x: Tensor, origin: Sequence[int], extent: Sequence[int]) -> Tensor:
        y: Tensor = getattr(reference, name)(x, *parameters, origin=origin, extent=extent, **options)
        return y

    with torch.autocast(x.device.type, enabled=False):
        return apply_in_windows(apply, x, origin, extent)


def _is_dual(tensor: Tensor | None) -> bool:
    return tensor is not None and forward_ad.unpack_dual(tensor).tangent is not None


def _exports_to_onnx() -> bool:
    # PyTorch loads the exporters on first use; asking them would load them
    return "torch.onnx" in sys.modules and torch.onnx.is_in_onnx_export()
