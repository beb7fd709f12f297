"""NeRDm with several classes: normalise, then classify, `s = w (a(v) x) + beta(v)`, forward and backward, in PyTorch.

Per image that is C N products and a matrix product, where the map W(v) would be K C N numbers to write and to read.
Here x is (B, C, N), a (C, N), w (K, C), beta (K, N) with N positions; a has the memory order of x.
"""

import torch


def forward(x, a, classifier, beta, out):
    """Fills the logits `out` (B, K, N); they are computed in a's dtype, whatever x is."""
    scaled, product = torch.empty_like(a), torch.empty_like(beta)
    for features, logits in zip(x, out, strict=True):
        torch.mul(features, a, out=scaled)
        torch.add(_matmul(classifier, scaled, product), beta, out=logits)


def backward(grad, x, a, classifier, grad_x, grad_a, grad_classifier, grad_beta):
    """Fills those of the four gradients that are not None, from `grad` (B, K, N); the last three all or none."""
    grad_scaled, scaled = torch.empty_like(a), torch.empty_like(a)
    wants_map = grad_a is not None
    if wants_map:
        grad_a.zero_()
        grad_classifier.zero_()
        torch.sum(grad, 0, dtype=a.dtype, out=grad_beta)
    for image in range(x.shape[0]):
        grad_logits = grad[image].to(a.dtype)
        _matmul(classifier.T, grad_logits, grad_scaled)
        if grad_x is not None:
            grad_x[image] = torch.mul(grad_scaled, a, out=scaled)
        if wants_map:
            grad_a.addcmul_(x[image], grad_scaled)
            torch.mul(x[image], a, out=scaled)
            grad_classifier.addmm_(grad_logits, scaled.T)


def _matmul(left, right, out):
    """`left @ right` into `out` (rows, N), which may have its rows innermost in memory."""
    if out.is_contiguous():
        return torch.mm(left, right, out=out)
    return torch.mm(right.T, left.T, out=out.T).T
