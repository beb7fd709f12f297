"""The `torch` backend: the calibrator folded into a position-wise linear map, once per call, on any device.

    NeRDm: W_kc(v) = w_kc a_c(v), beta_k(v) = sum_c w_kc b_c(v) + bias_k
    NeRDc: W_kc(v) = f_kc(v),     beta_k(v) = bias_k

Forward and backward each run the MLP once over the N positions, so that between them nothing is kept but x and
the parameters. Everything computes in float32, or in float64 for float64 features.
"""

import threading
from contextlib import contextmanager, nullcontext

import torch

from nerd_fast.backends import calibrator, position_map
from nerd_fast.distances import boundary_distances


def forward(x, classifier, weights, biases, bias, *, out_channels, activation, scale, origin, extent, precision):
    """Logits (B, K, *spatial) in x's dtype and memory format; see `nerd_fast.ops` for the arguments."""
    logits = empty_logits(x, out_channels)
    with _computing(x, precision):
        v = _distances(x, scale, origin, extent)
        classifier, weights, biases, bias = _in_dtype(v.dtype, classifier, weights, biases, bias)
        weight, beta = _fold(calibrator.forward(v, weights, biases, activation), out_channels, classifier, bias)
        features = x.flatten(2)
        position_map.forward(features, position_map.in_layout_of(features, weight), beta, logits.flatten(2))
    return logits


def backward(
    grad, x, classifier, weights, biases, bias, *, out_channels, activation, scale, origin, extent, precision, wants
):
    """The wanted gradients, in the order x, classifier, bias, *weights, *biases; see `nerd_fast.ops`."""
    layers = len(weights)
    wants_x, wants_classifier, wants_bias = wants[:3]
    wants_weights, wants_biases = wants[3 : 3 + layers], wants[3 + layers :]
    wants_map = wants_classifier or any(wants_weights) or any(wants_biases)
    is_nerdm = classifier is not None
    with _computing(x, precision):
        v = _distances(x, scale, origin, extent)
        hidden = []
        w, linear_weights, linear_biases, _ = _in_dtype(v.dtype, classifier, weights, biases, None)
        f = calibrator.forward(v, linear_weights, linear_biases, activation, hidden)
        weight, _ = _fold(f, out_channels, w, None)
        features = x.flatten(2)
        grad_x, grad_weight, grad_beta = position_map.backward(
            grad.flatten(2),
            features,
            position_map.in_layout_of(features, weight),
            wants_x,
            wants_map,
            wants_bias or (wants_map and is_nerdm),
        )
        grad_classifier = None
        grad_f = grad_weight.flatten(0, 1) if wants_map and not is_nerdm else None
        if wants_map and is_nerdm:
            grad_f, grad_classifier = _unfold(grad_weight, grad_beta, f, w, wants_classifier)
        grad_bias = grad_beta.sum(1) if wants_bias else None
        grad_weights, grad_biases = [None] * layers, [None] * layers
        if any(wants_weights) or any(wants_biases):
            grad_weights, grad_biases = calibrator.backward(
                grad_f, v, hidden, linear_weights, activation, wants_weights, wants_biases
            )
    if wants_x:
        grad_x = like(x, grad_x.view(x.shape))
    gradients = [grad_classifier, grad_bias, *grad_weights, *grad_biases]
    owners = [classifier, bias, *weights, *biases]
    parameter_gradients = [like(o, g) for o, g, w in zip(owners, gradients, wants[1:], strict=True) if w]
    return [grad_x, *parameter_gradients] if wants_x else parameter_gradients


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


def _distances(x, scale, origin, extent):
    scale = "extent" if scale is None else scale
    dtype = torch.promote_types(x.dtype, torch.float32)
    return boundary_distances(x.shape[2:], scale, origin, extent, dtype=dtype, device=x.device).flatten(1)


def _in_dtype(dtype, classifier, weights, biases, bias):
    """The parameters in `dtype`; None stays None."""
    classifier, bias = (None if tensor is None else tensor.to(dtype) for tensor in (classifier, bias))
    return classifier, [weight.to(dtype) for weight in weights], [b.to(dtype) for b in biases], bias


def _fold(f, out_channels, classifier, bias):
    """W (K, C, N) and beta (K, N) or None, of f(v) (outputs, N)."""
    if classifier is None:
        beta = None if bias is None else bias[:, None].expand(out_channels, f.shape[1])
        return f.unflatten(0, (out_channels, -1)), beta
    a, b = f.chunk(2)
    beta = classifier @ b
    return classifier[:, :, None] * a, beta if bias is None else beta.add_(bias[:, None])


def _unfold(grad_weight, grad_beta, f, classifier, wants_classifier):
    """From the gradients of W and beta those of f's output (a, b) and of NeRDm's classifier."""
    a, b = f.chunk(2)
    channels = a.shape[0]
    grad_f = torch.empty_like(f)
    torch.mul(grad_weight[0], classifier[0, :, None], out=grad_f[:channels])
    for label in range(1, classifier.shape[0]):
        grad_f[:channels].addcmul_(grad_weight[label], classifier[label, :, None])
    torch.mm(classifier.T, grad_beta, out=grad_f[channels:])
    if not wants_classifier:
        return grad_f, None
    return grad_f, torch.linalg.vecdot(grad_weight, a).addmm_(grad_beta, b.T)


@contextmanager
def _computing(x, precision):
    """Autocast off, since the calibrator is float32 whatever surrounds it, and float32 products as asked."""
    autocast = torch.is_autocast_enabled(x.device.type)
    with torch.autocast(x.device.type, enabled=False) if autocast else nullcontext(), _products(precision):
        yield


@contextmanager
def _products(precision):
    """float32 products as asked; None leaves PyTorch's own setting. tf32x3 is emulated float32, here float32 itself.

    The setting belongs to the process, so heads that ask for one take turns. A head in another thread that follows
    it may meet it changed.
    """
    if precision is None:
        yield
        return
    with _changing_precision:
        current = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(current)


_changing_precision = threading.Lock()
