"""NeRD as the paper writes it, in plain PyTorch: the oracle that the fast heads are held against.

Symbols are the paper's: `x` features, `v` boundary distances, `f` the calibrator, `w` the classifier, `s` logits.
Any device and dtype; the calibrator computes in float32 at least, as the heads do.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, linear, relu, silu

from nerd_fast.distances import Scale, boundary_distances

Layers = Sequence[Tensor]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "silu": silu,
    "tanh": torch.tanh,
}


def f(v: Tensor, weights: Layers, biases: Layers, activation: str = "relu") -> Tensor:
    """The calibrator (section 2.1): v (4 or 6, *spatial) -> (outputs, *spatial), one MLP over all positions."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {tuple(ACTIVATIONS)}, got {activation!r}")
    last = v.dim() - 1  # counted from the front: an ONNX exporter writes a negative axis down as it is
    h = v.movedim(0, last)
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        h = ACTIVATIONS[activation](linear(h, weight.to(v.dtype), bias.to(v.dtype)))
    return linear(h, weights[-1].to(v.dtype), biases[-1].to(v.dtype)).movedim(last, 0)


def nerdm(
    x: Tensor,
    classifier: Tensor,
    weights: Layers,
    biases: Layers,
    bias: Tensor | None = None,
    *,
    activation: str = "relu",
    distance_scale: Scale = "extent",
    origin: Sequence[int] | None = None,
    extent: Sequence[int] | None = None,
) -> Tensor:
    """NeRDm, equation 5: `s_v = w^T (x_v 1/sigma + (-mu/sigma))` with `f(v) = (1/sigma, -mu/sigma)`.

    x (B, C, *spatial), classifier w (K, C), weights and biases of f (each weight (out, in), last out 2 C),
    bias (K,) or None. Returns logits (B, K, *spatial) in x's dtype.
    """
    v = _distances(x, weights, distance_scale, origin, extent)
    inverse_sigma, minus_mu_over_sigma = f(v, weights, biases, activation).chunk(2)
    normalised = x * inverse_sigma + minus_mu_over_sigma
    s = torch.einsum("kc,bc...->bk...", classifier.to(normalised.dtype), normalised)
    return _finish(s, bias, x)


def nerdc(
    x: Tensor,
    weights: Layers,
    biases: Layers,
    bias: Tensor | None = None,
    *,
    out_channels: int,
    activation: str = "relu",
    distance_scale: Scale = "extent",
    origin: Sequence[int] | None = None,
    extent: Sequence[int] | None = None,
) -> Tensor:
    """NeRDc, section 2.2: `s_v = x_v^T w_v`, each position its own linear classifier `w_v = f(v)`.

    x (B, C, *spatial), weights and biases of f (last out K C, output k C + c being w_kc), bias (K,) or None.
    Returns logits (B, K, *spatial) in x's dtype.
    """
    v = _distances(x, weights, distance_scale, origin, extent)
    w = f(v, weights, biases, activation).unflatten(0, (out_channels, x.shape[1]))
    s = torch.einsum("kc...,bc...->bk...", w, x.to(w.dtype))
    return _finish(s, bias, x)


def nerdnorm(
    x: Tensor,
    weights: Layers,
    biases: Layers,
    *,
    activation: str = "relu",
    distance_scale: Scale = "extent",
    origin: Sequence[int] | None = None,
    extent: Sequence[int] | None = None,
) -> Tensor:
    """The normalisation of equation 5 by itself: `y_v = x_v 1/sigma + (-mu/sigma)` with `f(v) = (1/sigma, -mu/sigma)`.

    x (B, C, *spatial), weights and biases of f (last out 2 C). Returns y (B, C, *spatial) in x's dtype.
    """
    v = _distances(x, weights, distance_scale, origin, extent)
    inverse_sigma, minus_mu_over_sigma = f(v, weights, biases, activation).chunk(2)
    return (x * inverse_sigma + minus_mu_over_sigma).to(x.dtype)


def _distances(
    x: Tensor, weights: Layers, distance_scale: Scale, origin: Sequence[int] | None, extent: Sequence[int] | None
) -> Tensor:
    if not isinstance(x, Tensor) or x.dim() not in (4, 5):
        found = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x: expected a tensor (B, C, H, W) or (B, C, D, H, W), got {found}")
    if not isinstance(weights, (list, tuple)) or not weights or not isinstance(weights[0], Tensor):
        raise TypeError(f"weights: expected a list of tensors, one for each layer, got {type(weights).__name__}")
    dtype = torch.promote_types(weights[0].dtype, torch.float32)
    return boundary_distances(x.shape[2:], distance_scale, origin, extent, dtype=dtype, device=x.device)


def _finish(s: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    if bias is not None:
        s = s + bias.to(s.dtype).view(-1, *[1] * (x.dim() - 2))
    return s.to(x.dtype)
