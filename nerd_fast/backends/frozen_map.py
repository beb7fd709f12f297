"""A position map that stands by itself, `functional.apply_position_map`, in plain PyTorch on any device.

Everything computes in float32 at least. W takes the memory order of x once: see `position_map`.
"""

import torch

from nerd_fast.backends import position_map
from nerd_fast.backends.gradients import like
from nerd_fast.kernels.layout import empty_logits


def forward(x, weight, beta):
    """Logits (B, K, *spatial) in x's dtype and memory format; see `nerd_fast.ops` for the arguments."""
    logits = empty_logits(x, weight.shape[0])
    features, weight = x.flatten(2), _accumulating(weight.flatten(2))
    beta = None if beta is None else beta.flatten(1).to(weight.dtype)
    position_map.forward(features, position_map.in_layout_of(features, weight), beta, logits.flatten(2))
    return logits


def backward(grad, x, weight, beta, *, wants):
    """The wanted gradients, in the order x, weight, beta."""
    features, flat = x.flatten(2), _accumulating(weight.flatten(2))
    flat = position_map.in_layout_of(features, flat)
    shaped = (features, flat, flat[:, 0])
    gradients = [torch.empty_like(tensor) if wanted else None for tensor, wanted in zip(shaped, wants, strict=True)]
    position_map.backward(grad.flatten(2), features, flat, *gradients)
    owners = (x, weight, beta)
    return [like(o, g.reshape(o.shape)) for o, g, w in zip(owners, gradients, wants, strict=True) if w]


def _accumulating(tensor):
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
