"""The tensors that a backend returns: in whose dtype and memory format."""

import torch


def empty_logits(x, out_channels):
    """Unwritten logits (B, K, *spatial) in x's dtype and memory format (contiguous or channels_last)."""
    return torch.empty(
        (x.shape[0], out_channels, *x.shape[2:]), dtype=x.dtype, device=x.device, memory_format=memory_format(x)
    )


def memory_format(x):
    """channels_last (2-D or 3-D) for features that are laid out so and not contiguous as well, else contiguous."""
    if x.is_contiguous() or x.shape[1] == 1 or x.stride(1) != 1:
        return torch.contiguous_format
    return torch.channels_last if x.dim() == 4 else torch.channels_last_3d


def like(owner, gradient):
    """The gradient in the dtype and strides of the tensor that it belongs to."""
    if gradient.dtype == owner.dtype and gradient.stride() == owner.stride():
        return gradient
    return torch.empty_like(owner).copy_(gradient)
