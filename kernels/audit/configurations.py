"""The heads that the audit compiles, and the features: their launches, and what each launch may cost."""

import itertools
from dataclasses import dataclass, replace

import torch

from nerd_fast.kernels import heads, layout, plan, tiling
from nerd_fast.kernels.audit import reach

BATCH = 16
SPATIAL = {  # by dimensions, and whether odd
    (2, False): (160, 224),
    (2, True): (159, 223),
    (3, False): (64, 128, 128),
    (3, True): (31, 63, 65),
}


@dataclass(frozen=True)
class Configuration:
    """A head and the features that it is compiled for.

    `layout` is "contiguous", "channels_last" or "strided": every second column of rows of odd length, in which no
    two neighbours are known to be adjacent or aligned.
    """

    modulates: bool
    in_channels: int
    out_channels: int
    hidden_channels: tuple[int, ...]
    precision: str = "ieee"
    dtype: str = "float32"
    layout: str = "contiguous"
    spatial: tuple[int, ...] = SPATIAL[2, False]
    activation: str = "relu"
    bias: bool = False

    def __str__(self):
        variant = "nerdm" if self.modulates else "nerdc"
        hidden = "-".join(map(str, self.hidden_channels))
        size = f"C{self.in_channels} K{self.out_channels} hidden {hidden}{' bias' if self.bias else ''}"
        return f"{variant} {size} {self.activation} {len(self.spatial)}d {self.dtype} {self.layout} {self.precision}"

    @property
    def access(self):
        return widest_access(self)


SPILLED = 128  # bytes of stack that may be left beyond the paper's sizes: 32 numbers, moved outside of the batch loop


@dataclass(frozen=True)
class Budget:
    """Stack bytes allowed, programs that a multiprocessor must hold, and bytes per thread that the batch loop must
    load and store in accesses of `width`.
    """

    stack: int = 0
    width: int = 16
    loaded: int = 0
    stored: int = 0
    resident: int = 1


def paper():
    """The paper's sizes at the default precision: U-Nets of 16 and 32 channels, one class, both memory formats."""
    heads = itertools.product((True, False), (16, 32), ((32, 32), (64, 64)), ("contiguous", "channels_last"))
    return [Configuration(m, c, 1, hidden, layout=layout) for m, c, hidden, layout in heads]


# The ends of the ranges, and the sizes at which a tile changes.
SIZES = (
    (1, 1, (8,)),
    (1, 64, (8,)),
    (256, 1, (128,) * 4),
    (256, 64, (128,) * 4),
    (64, 1, (64, 64)),
    (256, 1, (32, 32)),
    (16, 1, (64,) * 4),
    (16, 2, (32, 32)),
    (16, 24, (64, 64)),
    (32, 4, (64, 64)),
    (32, 8, (32, 32)),
    (32, 14, (32, 32)),
    (32, 16, (64, 64)),
    (32, 14, (128, 128)),
    (64, 17, (128,)),
    (64, 24, (32, 32)),
    (32, 33, (24, 8, 100)),
)
# Precision, dtype, layout, dimensions, activation, bias: each value meets each of its neighbours' once or more.
FEATURES = (
    ("ieee", "float32", "contiguous", 2, "relu", False),
    ("ieee", "float32", "channels_last", 3, "silu", True),
    ("ieee", "float32", "strided", 2, "tanh", True),
    ("tf32", "float16", "contiguous", 3, "tanh", True),
    ("tf32x3", "bfloat16", "channels_last", 2, "leaky_relu", False),
    ("ieee", "float16", "strided", 3, "relu", False),
    ("tf32", "float32", "channels_last", 2, "relu", True),
    ("tf32x3", "float32", "contiguous", 2, "silu", False),
    ("ieee", "bfloat16", "contiguous", 2, "tanh", True),
)


def corners():
    """The corners of all that `supports` names: every size with two rows of FEATURES in turn, for both heads."""
    found = []
    for index, (size, modulates) in enumerate(itertools.product(SIZES, (True, False))):
        for turn in (2 * index, 2 * index + 1):
            precision, dtype, layout, dims, activation, bias = FEATURES[turn % len(FEATURES)]
            spatial = SPATIAL[dims, layout == "strided"]
            found.append(Configuration(modulates, *size, precision, dtype, layout, spatial, activation, bias))
    return found


def launches(configuration, architecture, device="meta"):
    """The Launches of a forward and then of a backward that wants every gradient, on tensors of unwritten memory.

    On the meta device they have none, which is enough to compile.
    """
    spatial, c, k = configuration.spatial, configuration.in_channels, configuration.out_channels
    x = features(configuration, device)
    widths = (2 * len(spatial), *configuration.hidden_channels, (2 if configuration.modulates else k) * c)
    weights = [torch.empty(o, i, device=device) for i, o in itertools.pairwise(widths)]
    biases = [torch.empty(o, device=device) for o in widths[1:]]
    classifier = torch.empty(k, c, device=device) if configuration.modulates else None
    bias = torch.empty(k, device=device) if configuration.bias else None
    head = tiling.Head(
        configuration.modulates,
        c,
        k,
        configuration.hidden_channels,
        len(spatial),
        configuration.activation,
        None,
        configuration.precision,
        divmod(architecture, 10),
    )
    logits = layout.empty_logits(x, k)
    grad = features(replace(configuration, in_channels=k), device)
    slots = [torch.empty_like(x), classifier, bias, *weights, *biases]
    call = heads.Call(x, classifier, weights, biases, (0,) * len(spatial), spatial)
    forward = plan.plan_forward(head, x.shape, x.stride(), x.element_size(), logits.stride())
    wants = tuple(slot is not None for slot in slots)
    backward = plan.plan_backward(head, x.shape, x.stride(), grad.stride(), slots[0].stride(), wants)
    return [heads.forward_launch(forward, call, logits, bias), *heads.backward_launches(backward, call, grad, slots)]


def features(configuration, device="meta"):
    """The features of a configuration, unwritten."""
    batch, c, spatial = BATCH, configuration.in_channels, configuration.spatial
    options = {"dtype": getattr(torch, configuration.dtype), "device": device}
    if configuration.layout == "strided":
        x = torch.empty(batch, c + 1, 2 * torch.Size(spatial).numel() + 1, **options)
        return x[:, 1:, 1::2].unflatten(-1, spatial)
    last = torch.channels_last if len(spatial) == 2 else torch.channels_last_3d
    memory_format = last if configuration.layout == "channels_last" else torch.contiguous_format
    return torch.empty((batch, c, *spatial), memory_format=memory_format, **options)


def widest_access(configuration):
    """The bytes of the widest access that the layout of the features allows."""
    item, positions = getattr(torch, configuration.dtype).itemsize, torch.Size(configuration.spatial).numel()
    neighbours = {"contiguous": positions, "channels_last": configuration.in_channels}.get(configuration.layout, 1)
    return item if neighbours % 16 else (16 if item == 4 else 8)


def budget(configuration, step, architecture):
    """The budget of one launch of a configuration on an architecture."""
    name = step.kernel.__name__
    stack = 0 if configuration in paper() else SPILLED
    resident = reach.resident_allowed(configuration, name, architecture)
    if name in ("apply_forward", "apply_backward"):
        tile, item = step.constants, getattr(torch, configuration.dtype).itemsize
        threads = 32 * step.options["num_warps"]
        features = tile["SAMPLES"] * tile["POSITIONS"] * min(tile["CHANNELS"], tile["C"]) * item // threads
        if name == "apply_forward":
            return Budget(stack=stack, resident=resident, width=widest_access(configuration), loaded=features)
        width = min(widest_access(configuration), tile["POSITIONS"] * tile["CHANNELS"] * item // threads)
        return Budget(stack=stack, resident=resident, width=width, loaded=features, stored=features)
    return Budget(stack=stack, resident=resident)
