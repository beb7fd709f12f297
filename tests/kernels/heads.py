"""Heads at random, run by the kernels and by the reference, for the tests of the kernels."""

import itertools
import os
from dataclasses import dataclass, replace

import torch

from nerd_fast import kernels, reference

DEVICE = os.environ.get("NERD_FAST_DEVICE", "cpu")
GRADIENTS = ("x", "classifier", "bias")


@dataclass(frozen=True)
class Case:
    """One head and its features."""

    variant: str = "nerdm"
    batch: int = 2
    channels: int = 16
    classes: int = 1
    hidden: tuple[int, ...] = (16,)
    spatial: tuple[int, ...] = (5, 7)
    activation: str = "relu"
    bias: bool = False
    scale: float | None = None
    dtype: torch.dtype = torch.float32
    layout: str = "contiguous"
    origin: tuple[int, ...] | None = None
    extent: tuple[int, ...] | None = None
    precision: str = "ieee"

    def __call__(self, **changes):
        return replace(self, **changes)


@dataclass
class Tensors:
    """Arguments of a head in the order of its gradients."""

    x: torch.Tensor
    classifier: torch.Tensor | None
    bias: torch.Tensor | None
    weights: list
    biases: list
    grad: torch.Tensor

    @property
    def owners(self):
        return [self.x, self.classifier, self.bias, *self.weights, *self.biases]

    @property
    def names(self):
        layers = range(len(self.weights))
        return [*GRADIENTS, *(f"weights[{i}]" for i in layers), *(f"biases[{i}]" for i in layers)]


def lay_out(x, layout):
    """The same values in another memory layout."""
    if layout == "channels_last":
        return x.to(memory_format=torch.channels_last if x.dim() == 4 else torch.channels_last_3d)
    if layout == "sliced batch and channels":
        return torch.stack([x, -x], 2).flatten(1, 2)[:, ::2]
    if layout == "sliced columns":
        return torch.stack([x, -x], -1).flatten(-2)[..., ::2]
    if layout == "expanded batch":
        return x[:1].expand_as(x)
    if layout == "transposed":
        return x.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert layout == "contiguous"
    return x


def tensors(case, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator).to(DEVICE)

    c, k = case.channels, case.classes
    modulates = case.variant == "nerdm"
    widths = (2 * len(case.spatial), *case.hidden, (2 if modulates else k) * c)
    return Tensors(
        x=lay_out(normal(case.batch, c, *case.spatial).to(case.dtype), case.layout),
        classifier=normal(k, c) if modulates else None,
        bias=normal(k) if case.bias else None,
        weights=[normal(o, i) / i**0.5 for i, o in itertools.pairwise(widths)],
        biases=[normal(o) * 0.3 for o in widths[1:]],
        grad=normal(case.batch, k, *case.spatial).to(case.dtype),
    )


def options(case):
    origin = case.origin or (0,) * len(case.spatial)
    extent = case.extent or tuple(o + s for o, s in zip(origin, case.spatial, strict=True))
    return {
        "out_channels": case.classes,
        "activation": case.activation,
        "scale": case.scale,
        "origin": origin,
        "extent": extent,
        "precision": case.precision,
    }


def forward(case, t):
    return kernels.forward(t.x, t.classifier, t.weights, t.biases, t.bias, **options(case))


def backward(case, t, wants=None):
    wants = tuple(owner is not None for owner in t.owners) if wants is None else wants
    return kernels.backward(t.grad, t.x, t.classifier, t.weights, t.biases, t.bias, **options(case), wants=wants)


def by_reference(case, t, dtype):
    """Logits and gradients of the reference computed in `dtype`, by name."""
    owners = [None if o is None else o.detach().to(dtype).requires_grad_() for o in t.owners]
    x, classifier, bias, *calibrator = owners
    weights, biases = calibrator[: len(t.weights)], calibrator[len(t.weights) :]
    o = options(case)
    named = {
        "activation": case.activation,
        "distance_scale": "extent" if case.scale is None else case.scale,
        "origin": o["origin"],
        "extent": o["extent"],
    }
    if case.variant == "nerdm":
        logits = reference.nerdm(x, classifier, weights, biases, bias, **named)
    else:
        logits = reference.nerdc(x, weights, biases, bias, out_channels=case.classes, **named)
    logits.backward(t.grad.to(dtype))
    results = {"logits": logits.detach()}
    return results | {n: owner.grad for n, owner in zip(t.names, owners, strict=True) if owner is not None}


def by_kernels(case, t):
    """Logits and gradients of the kernels, by name."""
    names = [n for n, owner in zip(t.names, t.owners, strict=True) if owner is not None]
    return {"logits": forward(case, t)} | dict(zip(names, backward(case, t), strict=True))


def assert_faithful(case, seed=0):
    """The kernels' error against float64 is at most twice that of the reference in x's own type, for every result.

    The absolute slack is four units in the last place of the largest value, for sums that happen to be exact.
    """
    t = tensors(case, seed)
    ours = by_kernels(case, t)
    exact = by_reference(case, t, torch.float64)
    eager = by_reference(case, t, torch.float32)
    for name, value in exact.items():
        stored = eager[name].to(ours[name].dtype)
        error, allowed = (ours[name].double() - value).abs().max(), 2 * (stored.double() - value).abs().max()
        slack = 4 * torch.finfo(ours[name].dtype).eps * value.abs().max()
        assert error <= allowed + slack, f"{case}: {name} is off by {error:.3g}, {allowed + slack:.3g} allowed"
