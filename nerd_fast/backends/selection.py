"""Which backend runs a call: the one asked for, or for `"auto"` the fused one wherever it can."""

import logging
from functools import cache

from nerd_fast.backends import folded, fused, position_norm

logger = logging.getLogger("nerd_fast")

NAMES = ("auto", "torch", "triton")

# The operations of the kernels that `nerd_fast.kernels` names, in plain PyTorch: the same arguments, the same results.
IN_TORCH = {
    "forward": folded.forward,
    "backward": folded.backward,
    "norm_forward": position_norm.forward,
    "norm_backward": position_norm.backward,
}


def choose(name, x, *, variant, out_channels, hidden_channels, activation, precision):
    """The module that runs this call, `folded` for PyTorch or `fused`.

    Raises ValueError when `"triton"` was asked for and cannot.

    `"auto"` takes the Triton kernels for CUDA tensors where they can run the configuration, otherwise `"torch"`,
    and logs the reason once at INFO.
    """
    if name == "torch" or (name == "auto" and not x.is_cuda):
        return folded
    reason = fused.obstacle(
        x,
        variant=variant,
        out_channels=out_channels,
        hidden_channels=hidden_channels,
        activation=activation,
        precision=fused.resolve_precision(precision),
    )
    if reason is None:
        return fused
    if name == "triton":
        raise ValueError(f"backend='triton' cannot run this head: {reason}. backend='torch' and 'auto' can.")
    _log_once(reason)
    return folded


def run(operation, name, x, arguments, options, **configuration):
    """An operation of IN_TORCH by the backend that `choose` names for the features x.

    A Triton that cannot build or cache what it launches is a reason for `"auto"` to take torch; `"triton"` raises it.
    """
    backend = choose(name, x, precision=options["precision"], activation=options["activation"], **configuration)
    if backend is fused:
        try:
            return fused.call(operation, *arguments, **options)
        except fused.TritonFault as error:
            if name == "triton":
                raise
            _log_once(str(error))
    return IN_TORCH[operation](*arguments, **options)


@cache
def _log_once(reason):
    logger.info("using the torch backend: %s", reason)
