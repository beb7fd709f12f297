"""The position maps and normalisations that the audit compiles: their launches, and what each launch may cost."""

import itertools
from dataclasses import dataclass

import torch

from nerd_fast.kernels import heads, layout, map_launch, norm_launch, norm_plan
from nerd_fast.kernels.audit.configurations import SPATIAL, SPILLED, Budget, features, widest_access
from nerd_fast.kernels.tiling import Head

RESIDENT = {"norm_forward": 7, "norm_backward": 5}  # on a multiprocessor, hidden (32, 32)


@dataclass(frozen=True)
class Map:
    """A position map and the features that it is compiled for; `layout` as in `configurations.Configuration`."""

    in_channels: int
    out_channels: int
    dtype: str = "float32"
    layout: str = "contiguous"
    spatial: tuple[int, ...] = SPATIAL[2, False]

    def __str__(self):
        size = f"C{self.in_channels} K{self.out_channels}"
        return f"map {size} {len(self.spatial)}d {self.dtype} {self.layout}"

    def launches(self, architecture):
        """The Launches of a forward and then of a backward that wants every gradient, on tensors without memory."""
        x = features(self)
        weight = torch.empty(self.out_channels, self.in_channels, *self.spatial, device="meta")
        logits, beta = layout.empty_logits(x, self.out_channels), weight[:, 0].contiguous()
        slots = [torch.empty_like(tensor) for tensor in (x, weight, beta)]
        backward = map_launch.backward_launches(logits, x, weight, slots)
        return [map_launch.forward_launch(logits, x, weight, beta), *backward]

    def budget(self, step):
        tile, item, access = step.constants, getattr(torch, self.dtype).itemsize, widest_access(self)
        if access == item:  # an element at a time, as the layout has it: there is no width to hold
            return Budget(self._stack)
        if step.kernel.__name__ == "map_forward":
            held = tile["TURNS"] * tile["CHANNEL_STEP"] * tile["POSITIONS"] // 32 * item
            return Budget(self._stack, access, loaded=held)
        if step.kernel.__name__ == "map_backward":
            elements = tile["POSITIONS"] * tile["CHANNELS_AT_ONCE"] // (32 * step.options["num_warps"])
            moved = tile["SAMPLES"] * elements * item
            return Budget(self._stack, min(access, elements * item), loaded=moved, stored=moved)
        return Budget(self._stack)

    @property
    def _stack(self):
        return 0 if self in paper() else SPILLED


@dataclass(frozen=True)
class Norm:
    """A normalisation by position and the features that it is compiled for."""

    in_channels: int
    hidden_channels: tuple[int, ...]
    precision: str = "ieee"
    dtype: str = "float32"
    layout: str = "contiguous"
    spatial: tuple[int, ...] = SPATIAL[2, False]
    activation: str = "relu"

    def __str__(self):
        size = f"C{self.in_channels} hidden {'-'.join(map(str, self.hidden_channels))} {self.activation}"
        return f"norm {size} {len(self.spatial)}d {self.dtype} {self.layout} {self.precision}"

    def launches(self, architecture, device="meta"):
        """The Launches of a forward and then of a backward that wants every gradient, on unwritten tensors."""
        x = features(self, device)
        widths = (2 * len(self.spatial), *self.hidden_channels, 2 * self.in_channels)
        weights = [torch.empty(o, i, device=device) for i, o in itertools.pairwise(widths)]
        biases = [torch.empty(o, device=device) for o in widths[1:]]
        options = self.activation, None, self.precision, divmod(architecture, 10)
        head = Head(*norm_plan.describe(x.shape, self.hidden_channels, *options))
        call = heads.Call(x, None, weights, biases, (0,) * len(self.spatial), self.spatial)
        y, slots = layout.empty_logits(x, self.in_channels), [torch.empty_like(x), *weights, *biases]
        forward = norm_plan.plan_forward(head, x.shape, x.stride(), y.stride())
        strides = x.stride(), y.stride(), slots[0].stride()
        backward = norm_plan.plan_backward(head, x.shape, *strides, (True,) * len(slots))
        launches = norm_launch.backward_launches(backward, call, y, slots)
        return [norm_launch.forward_launch(forward, call, y), *launches]

    def budget(self, step):
        stack = 0 if self in paper() else SPILLED
        if step.kernel.__name__ not in ("norm_forward", "norm_backward"):
            return Budget(stack)
        tile, item = step.constants, getattr(torch, self.dtype).itemsize
        moved = tile["SAMPLES"] * tile["POSITIONS"] * tile["CHANNELS"] * item // (32 * step.options["num_warps"])
        loaded = moved if step.kernel.__name__ == "norm_forward" else 2 * moved  # x, and the incoming gradient too
        narrow = self in paper() and max(self.hidden_channels) <= 32
        resident = RESIDENT[step.kernel.__name__] if narrow else 1
        return Budget(stack, widest_access(self), loaded=loaded, stored=moved, resident=resident)


def paper():
    """Maps and normalisations of the paper's sizes, and the map of 14 classes, in both memory formats."""
    layouts = ("contiguous", "channels_last")
    maps = [Map(c, k, layout=name) for (c, k), name in itertools.product(((16, 1), (32, 1), (32, 14)), layouts)]
    sizes = itertools.product((16, 32), ((32, 32), (64, 64)), layouts)
    return [*maps, *(Norm(c, hidden, layout=name) for c, hidden, name in sizes)]


def corners():
    """The ends of the ranges and the sizes at which a tile changes, with types and memory formats in turn."""
    volume, odd, odd_volume = SPATIAL[3, False], SPATIAL[2, True], SPATIAL[3, True]
    return [
        Map(1, 1),
        Map(1, 64, "float16"),
        Map(256, 64, "float32", "channels_last"),
        Map(256, 64, "bfloat16", "strided", odd),
        Map(64, 17),
        Map(64, 16, "float32", "channels_last", volume),
        Map(32, 24, "bfloat16", "channels_last"),
        Map(20, 5, "float16", "strided", odd_volume),
        Map(3, 2, "float32", "strided", odd),
        Norm(1, (8,)),
        Norm(256, (128,) * 4, "ieee", "float32", "strided", odd_volume, "tanh"),
        Norm(256, (128,) * 4, "tf32x3", "float32", "channels_last", volume),
        Norm(64, (24, 8, 100), "tf32", "bfloat16", "contiguous", activation="silu"),
        Norm(40, (64,) * 4, "ieee", "float16", "strided", odd, "leaky_relu"),
        Norm(32, (32, 32), "tf32x3", "float32", "contiguous", volume),
    ]
