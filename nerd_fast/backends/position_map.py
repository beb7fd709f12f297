"""A position-wise linear map of features, `s_k = sum_c x_c W_kc(v) + beta_k(v)`, forward and backward, in PyTorch.

What both heads come down to once the calibrator has run. Here x is (B, C, N), W (K, C, N), beta (K, N) with N
positions. W takes x's layout once, so that both are walked in the same order; no B x C x N tensor is made but
the gradient of x, which is written once.
"""

import torch

# Elements of the logits that one pass over the channels keeps in a CPU's cache: 2 MiB of float32. Measured on
# 14 x 16 x 35,840 float32: all positions at once 1.0 ms, blocks a quarter of that 1.3 ms, an eighth 2.0 ms.
_BLOCK_ELEMENTS = 1 << 19

# Positions whose features of a half type are widened at once, 8 MiB for a batch of 16 with 32 channels.
_BLOCK_POSITIONS = 4096


def forward(x, weight, beta, out):
    """Fills the logits `out` (B, K, N); they accumulate in weight's dtype, whatever x is."""
    if x.numel() == 0:
        return
    if channels_innermost(x):
        _forward_channels_innermost(x, weight, beta, out)
        return
    block = _block(x, weight.shape[0])
    for start in range(0, x.shape[2], block):
        at = slice(start, start + block)
        logits = out[:, :, at] if out.dtype == weight.dtype else torch.empty_like(out[:, :, at], dtype=weight.dtype)
        first, *others = zip(x[:, :, None, at].unbind(1), weight[:, :, at].unbind(1), strict=True)
        torch.mul(*first, out=logits) if beta is None else torch.addcmul(beta[:, at], *first, out=logits)
        for features, weights in others:
            logits.addcmul_(features, weights)
        if logits.dtype != out.dtype:
            out[:, :, at] = logits


def backward(grad, x, weight, grad_x, grad_weight, grad_beta):
    """Fills those of grad_x (as x), grad_weight (as W) and grad_beta (K, N) that are not None, from `grad` (B, K, N).

    The last two are sums over the batch, in weight's dtype.
    """
    labels = weight.shape[0]
    at_once = grad_x is not None and labels == 1 and grad_x.dtype == weight.dtype
    if at_once:
        torch.mul(grad, weight[0], out=grad_x)
    if grad_weight is not None:
        grad_weight.zero_()
    for image in range(x.shape[0]):
        if grad_x is not None and not at_once:
            _features_gradient(grad[image], weight, grad_x[image])
        if grad_weight is not None:
            for label in range(labels):
                grad_weight[label].addcmul_(x[image], grad[image, label])
    if grad_beta is not None:
        torch.sum(grad, 0, dtype=weight.dtype, out=grad_beta)


def in_layout_of(x, weight):
    """W (..., C, N) in the memory order of x: N innermost for contiguous features, C for channels_last."""
    return weight.mT.contiguous().mT if channels_innermost(x) else weight.contiguous()


def channels_innermost(x):
    return x.shape[1] > 1 and x.shape[2] > 1 and x.stride(1) == 1


def _forward_channels_innermost(x, weight, beta, out):
    """One class: a product per image, and its sum over the channels as a matrix times ones, which BLAS reads once.
    Several: a small product of matrices per position, so that W is read once for the batch and not once per image.
    """
    if weight.shape[0] == 1:
        product, ones = torch.empty_like(weight[0]), weight.new_ones(weight.shape[1])
        for image in range(x.shape[0]):
            torch.mul(x[image], weight[0], out=product)
            logits = torch.mv(product.T, ones)
            out[image, 0] = logits if beta is None else logits.add_(beta[0])
        return
    for start in range(0, x.shape[2], _BLOCK_POSITIONS):
        at = slice(start, start + _BLOCK_POSITIONS)
        features, maps = x[:, :, at].permute(2, 0, 1), weight[:, :, at].permute(2, 1, 0)
        logits = torch.bmm(features.to(weight.dtype), maps)  # (positions, B, K)
        out[:, :, at] = (logits if beta is None else logits.add_(beta[:, at].T[:, None])).permute(1, 2, 0)


def _features_gradient(grad, weight, out):
    """Fills `out` (C, N) with `sum_k g_k W_k`, summed in weight's dtype.

    Rounded to a half type by `copy_`: a product that rounds its result takes twice as long.
    """
    total = out if out.dtype == weight.dtype else torch.empty_like(weight[0])
    torch.mul(grad[0], weight[0], out=total)
    for label in range(1, weight.shape[0]):
        total.addcmul_(grad[label], weight[label])
    if total is not out:
        out.copy_(total)


def _block(x, labels):
    positions = x.shape[2]
    return positions if x.is_cuda else min(positions, max(1, _BLOCK_ELEMENTS // (x.shape[0] * labels)))
