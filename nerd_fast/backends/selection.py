"""Which backend runs a call: the one asked for, or for `"auto"` the fused one wherever it can."""

import logging
from functools import cache

from nerd_fast.backends import folded, fused

logger = logging.getLogger("nerd_fast")

NAMES = ("auto", "torch", "triton")


def choose(name, x, *, is_nerdm, out_channels, hidden_channels, activation, precision):
    """The module that runs this call. Raises ValueError when `"triton"` was asked for and cannot.

    `"auto"` takes the Triton kernels for CUDA tensors where they can run the configuration, otherwise `"torch"`,
    and logs the reason once at INFO.
    """
    if name == "torch" or (name == "auto" and not x.is_cuda):
        return folded
    reason = fused.obstacle(
        x,
        is_nerdm=is_nerdm,
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


def run(direction, name, arguments, options, **configuration):
    """`forward` or `backward` of the backend that `choose` names; `arguments`, `options` as in `folded`.

    A kernel cache that Triton cannot use is one more reason for `"auto"` to take torch; `"triton"` raises it.
    """
    x = arguments[-5]  # x, classifier, weights, biases, bias close the arguments of both directions
    backend = choose(name, x, precision=options["precision"], activation=options["activation"], **configuration)
    try:
        return getattr(backend, direction)(*arguments, **options)
    except fused.KernelCacheError as error:
        if name == "triton":
            raise
        _log_once(str(error))
        return getattr(folded, direction)(*arguments, **options)


@cache
def _log_once(reason):
    logger.info("using the torch backend: %s", reason)
