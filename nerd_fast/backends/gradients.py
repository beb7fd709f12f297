"""The gradients that a backend returns: added up over blocks, each like the tensor that it belongs to."""

import torch


def like(owner, gradient):
    """The gradient in the dtype and strides of the tensor that it belongs to."""
    if gradient.dtype == owner.dtype and gradient.stride() == owner.stride():
        return gradient
    return torch.empty_like(owner).copy_(gradient)


def added(totals, gradients):
    """`totals`, None at first, with the gradients of one more block; what is None stays None."""
    if totals is None:
        return gradients
    return [total if total is None else total.add_(g) for total, g in zip(totals, gradients, strict=True)]
