"""What the kernels can run: the one place that `"auto"` and its error texts read.

`nerd_fast.arguments` has activations and precisions of its own: those of every backend, which it checks before one is
chosen, and without the kernels. One that the kernels lacked would run on `torch`, for the reason told here.
"""

import torch

VARIANTS = ("nerdm", "nerdc", "nerdnorm", "map")
ACTIVATIONS = ("relu", "leaky_relu", "silu", "tanh")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
PRECISIONS = ("ieee", "tf32x3", "tf32")
OLDEST_CAPABILITY = (7, 5)
MOST_POSITIONS = 2**31 - 512  # of an image: they are counted in 32 bits, in whole tiles of up to 512


def supports(
    *,
    variant,
    spatial_dims,
    in_channels,
    out_channels,
    hidden_channels,
    activation,
    dtype,
    precision,
    capability,
):
    """None when the kernels can run this head, else one sentence: why not, and what they can run.

    `variant` is "nerdm", "nerdc", "nerdnorm" or "map", a position map, which has no calibrator: its hidden_channels,
    activation and precision are not read. `capability` is the GPU's (major, minor), None for the interpreter on a CPU.
    """
    if variant not in VARIANTS:
        return f"the kernels run {', '.join(VARIANTS)}, not {variant!r}"
    if spatial_dims not in (2, 3):
        return f"the kernels run 2 or 3 spatial dimensions, not {spatial_dims}"
    if variant != "map" and not 1 <= in_channels <= 256:
        return f"the kernels hold all channels of a position in registers: 1 to 256 of them, not {in_channels}"
    if variant != "nerdnorm" and not 1 <= out_channels <= 64:
        return f"the kernels hold all classes of a position in registers: 1 to 64 of them, not {out_channels}"
    if dtype not in DTYPES:
        return f"the kernels read float32, float16 and bfloat16 features, not {dtype}"
    fault = None if capability is None else capability_fault(capability)
    if fault or variant == "map":
        return fault
    return _calibrator_fault(hidden_channels, activation, precision)


def capability_fault(capability):
    """None for a GPU of this (major, minor) that the kernels run on, else one sentence: what they need."""
    if capability >= OLDEST_CAPABILITY:
        return None
    needed, found = (".".join(map(str, version)) for version in (OLDEST_CAPABILITY, capability))
    return f"the kernels need a GPU of compute capability {needed} or newer, not {found}"


def _calibrator_fault(hidden_channels, activation, precision):
    if not 1 <= len(hidden_channels) <= 4 or not all(8 <= width <= 128 for width in hidden_channels):
        return (
            "the kernels hold every hidden layer of a position in registers: 1 to 4 layers of width 8 to 128, "
            f"not {tuple(hidden_channels)}"
        )
    if activation not in ACTIVATIONS:
        return f"the kernels compute the activations {', '.join(ACTIVATIONS)}, not {activation!r}"
    if precision not in PRECISIONS:
        return f"the kernels multiply in {', '.join(PRECISIONS)}, not {precision!r}"
    return None
