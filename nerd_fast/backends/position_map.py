"""A position-wise linear map of features, `s_k = sum_c x_c W_kc(v) + beta_k(v)`, forward and backward, in PyTorch.

What both heads come down to once the calibrator has run. Here x is (B, C, N), W (K, C, N), beta (K, N) with N
positions. W takes x's layout once, so that both are walked in the same order; no B x C x N tensor is made but
the gradient of x, which is written once.
"""

import torch

# Elements of the logits that one pass over the channels keeps in a CPU's cache: 2 MiB of float32. Measured on
# 14 x 16 x 35,840 float32: all positions at once 1.0 ms, blocks a quarter of that 1.3 ms, an eighth 2.0 ms.
_BLOCK_ELEMENTS = 1 << 19


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
        logits.copy_(beta[:, at]) if beta is not None else logits.zero_()
        for features, weights in zip(x[:, :, None, at].unbind(1), weight[:, :, at].unbind(1), strict=True):
            logits.addcmul_(features, weights)
        if logits.dtype != out.dtype:
            out[:, :, at] = logits


def backward(grad, x, weight, wants_x, wants_weight, wants_beta):
    """Gradients (of x, of W, of beta), None where not wanted, from `grad` (B, K, N).

    The gradient of x has x's dtype and layout; the others are sums over the batch in weight's dtype.
    """
    grad_x = torch.empty_like(x) if wants_x else None
    grad_weight = torch.zeros_like(weight) if wants_weight else None
    for image in range(x.shape[0]):
        if wants_x:
            _features_gradient(grad[image], weight, grad_x[image])
        if wants_weight:
            for label in range(weight.shape[0]):
                grad_weight[label].addcmul_(x[image], grad[image, label])
    grad_beta = grad.sum(0, dtype=weight.dtype) if wants_beta else None
    return grad_x, grad_weight, grad_beta


def in_layout_of(x, weight):
    """W (K, C, N) in the memory order of x: itself for contiguous features, channels innermost for channels_last."""
    return weight.mT.contiguous().mT if channels_innermost(x) else weight


def channels_innermost(x):
    return x.shape[1] > 1 and x.shape[2] > 1 and x.stride(1) == 1


def _forward_channels_innermost(x, weight, beta, out):
    product = torch.empty_like(weight[0])
    for image in range(x.shape[0]):
        for label in range(weight.shape[0]):
            torch.mul(x[image], weight[label], out=product)
            logits = product.sum(0)
            out[image, label] = logits if beta is None else logits.add_(beta[label])


def _features_gradient(grad, weight, out):
    """Fills `out` (C, N) with `sum_k g_k W_k`; one write of it where K is 1 or the dtypes are alike."""
    labels = weight.shape[0]
    total = out if labels == 1 or out.dtype == weight.dtype else torch.empty_like(weight[0])
    torch.mul(grad[0], weight[0], out=total)
    for label in range(1, labels):
        total.addcmul_(grad[label], weight[label])
    if total is not out:
        out.copy_(total)


def _block(x, labels):
    positions = x.shape[2]
    return positions if x.is_cuda else min(positions, max(1, _BLOCK_ELEMENTS // (x.shape[0] * labels)))
