"""The normalisation by position in plain PyTorch, `y_c = a_c(v) x_c + b_c(v)` with `f(v) = (a, b)`, on any device.

Forward and backward each run the calibrator once over the N positions, in blocks. Everything computes in float32, or in
float64 for float64 features; with 16-bit features one image at a time is normalised in float32 and then rounded.
"""

import torch

from nerd_fast.backends import calibrator
from nerd_fast.backends.gradients import added, like
from nerd_fast.backends.position_map import channels_innermost
from nerd_fast.backends.positions import blocks, image_of
from nerd_fast.backends.precision import computing
from nerd_fast.kernels.layout import empty_logits


def forward(x, weights, biases, *, activation, scale, origin, extent, precision):
    """y (B, C, *spatial) in x's dtype and memory format; see `nerd_fast.ops` for the arguments."""
    y = empty_logits(x, x.shape[1])
    features, out = x.flatten(2), y.flatten(2)
    with computing(x, precision):
        image = image_of(x, scale, origin, extent)
        weights, biases = _in_dtype_of(image, weights, biases)
        innermost = channels_innermost(features)
        for block, at in blocks(image, weights, x.numel()):
            a, b = calibrator.forward(block, weights, biases, activation, innermost).chunk(2)
            _normalise(features[:, :, at], a, b, out[:, :, at])
    return y


def backward(grad, x, weights, biases, *, activation, scale, origin, extent, precision, wants):
    """The wanted gradients, in the order x, *weights, *biases; see `nerd_fast.ops`."""
    features, grad, channels = x.flatten(2), grad.flatten(2), x.shape[1]
    grad_x = torch.empty_like(features) if wants[0] else None
    wants_layers = wants[1 : 1 + len(weights)], wants[1 + len(weights) :]
    owners, totals = [*weights, *biases], None
    with computing(x, precision):
        image = image_of(x, scale, origin, extent)
        weights, biases = _in_dtype_of(image, weights, biases)
        only_a = [*weights[:-1], weights[-1][:channels]], [*biases[:-1], biases[-1][:channels]]
        innermost = channels_innermost(features)
        for block, at in blocks(image, weights, x.numel()):
            hidden = []
            a = calibrator.forward(block, *only_a, activation, innermost, hidden)
            if grad_x is not None:
                _scale(grad[:, :, at], a, grad_x[:, :, at])
            if any(wants[1:]):
                grad_f = _map_gradient(grad[:, :, at], features[:, :, at], a)
                layers = calibrator.backward(grad_f, block, hidden, weights, activation, *wants_layers)
                totals = added(totals, [*layers[0], *layers[1]])
    wanted = [like(o, g) for o, g, w in zip(owners, totals or owners, wants[1:], strict=True) if w]
    return [like(x, grad_x.view(x.shape)), *wanted] if wants[0] else wanted


def _in_dtype_of(image, weights, biases):
    dtype = image.rows.dtype
    return [weight.to(dtype) for weight in weights], [bias.to(dtype) for bias in biases]


def _normalise(x, a, b, out):
    """Fills `out` (B, C, N) with a x + b, computed in a's dtype."""
    if out.dtype == a.dtype:
        torch.addcmul(b, x, a, out=out)
        return
    for features, normalised in zip(x, out, strict=True):
        normalised.copy_(torch.addcmul(b, features, a))


def _scale(grad, a, out):
    """Fills `out` (B, C, N), the gradient of x, with the product of grad and a, computed in a's dtype."""
    if out.dtype == a.dtype:
        torch.mul(grad, a, out=out)
        return
    for upstream, gradient in zip(grad, out, strict=True):
        gradient.copy_(torch.mul(upstream, a))


def _map_gradient(grad, x, a):
    """The gradient (2 C, N) of f(v) in the dtype and memory order of a (C, N): the sums over the batch of g x and g."""
    shape = (2 * a.shape[0], a.shape[1])
    grad_f = a.new_empty(shape) if a.is_contiguous() else a.new_empty(shape[::-1]).T
    grad_a, grad_b = grad_f.chunk(2)
    grad_a.zero_()
    for features, upstream in zip(x, grad, strict=True):
        grad_a.addcmul_(features, upstream)
    torch.sum(grad, 0, dtype=a.dtype, out=grad_b)
    return grad_f
