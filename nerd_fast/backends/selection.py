"""Which backend runs a call: the one asked for, or for `"auto"` the fused one wherever it can."""

import logging
from functools import cache

from nerd_fast.backends import folded, frozen_map, fused, position_norm

logger = logging.getLogger("nerd_fast")

NAMES = ("auto", "torch", "triton")

# The operations of the kernels that `nerd_fast.kernels` names, in plain PyTorch: the same arguments, the same results.
IN_TORCH = {
    "forward": folded.forward,
    "backward": folded.backward,
    "normalisation_forward": position_norm.forward,
    "normalisation_backward": position_norm.backward,
    "position_map_forward": frozen_map.forward,
    "position_map_backward": frozen_map.backward,
}


def choose(name, x, *, variant, out_channels, hidden_channels=None, activation=None, precision=None):
    """The module that runs this call, `folded` for PyTorch or `fused`.

    hidden_channels, activation and precision are those of the calibrator, None without one, the precision as
    `fused.resolve_precision` gives it. Raises ValueError when `"triton"` was asked for and cannot.

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
        precision=precision,
    )
    if reason is None:
        return fused
    if name == "triton":
        what = {"map": "position map", "nerdnorm": "normalisation"}.get(variant, "head")
        raise ValueError(f"backend='triton' cannot run this {what}: {reason}. backend='torch' and 'auto' can.")
    _log_once(reason)
    return folded


def run(operation, name, x, arguments, options, **configuration):
    """An operation of IN_TORCH by the backend that `choose` names for the features x.

    A Triton that cannot build or cache what it launches is a reason for `"auto"` to take torch; `"triton"` raises it.
    """
    of_kernels = options
    if "precision" in options:
        of_kernels = {**options, "precision": fused.resolve_precision(options["precision"])}
        configuration |= {option: of_kernels[option] for option in ("activation", "precision")}
    if choose(name, x, **configuration) is fused:
        try:
            return fused.call(operation, *arguments, **of_kernels)
        except fused.TritonFault as error:
            if name == "triton":
                raise
            _log_once(str(error))
    return IN_TORCH[operation](*arguments, **options)


@cache
def _log_once(reason):
    logger.info("using the torch backend: %s", reason)
