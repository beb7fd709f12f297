"""The `torch` backend: the head as an MLP that yields a position-wise linear map of the features, on any device.

    NeRDm: W_kc(v) = w_kc a_c(v), beta_k(v) = sum_c w_kc b_c(v) + bias_k
    NeRDc: W_kc(v) = f_kc(v),     beta_k(v) = bias_k

Forward and backward each run the MLP once over the N positions, in blocks, so that between them nothing is kept but x
and the parameters. Everything computes in float32, or in float64 for float64 features.
"""

import torch

from nerd_fast.backends import calibrator, last_layer, normalisation, position_map
from nerd_fast.backends.gradients import added, like
from nerd_fast.backends.positions import blocks, image_of
from nerd_fast.backends.precision import computing
from nerd_fast.kernels.layout import empty_logits


def forward(x, classifier, weights, biases, bias, *, out_channels, activation, scale, origin, extent, precision):
    """Logits (B, K, *spatial) in x's dtype and memory format; see `nerd_fast.ops` for the arguments."""
    logits = empty_logits(x, out_channels)
    features, out = x.flatten(2), logits.flatten(2)
    with computing(x, precision):
        parameters = (classifier, weights, biases, bias)
        (classifier, _, _, bias), mlp, parts = _prepared(x, parameters, scale, origin, extent)
        innermost = position_map.channels_innermost(features)
        for block, at in parts:
            f = calibrator.forward(block, *mlp, activation, innermost)
            _apply(features[:, :, at], f, classifier, bias, out[:, :, at])
    return logits


def backward(
    grad, x, classifier, weights, biases, bias, *, out_channels, activation, scale, origin, extent, precision, wants
):
    """The wanted gradients, in the order x, classifier, bias, *weights, *biases; see `nerd_fast.ops`."""
    features, grad = x.flatten(2), grad.flatten(2)
    grad_x = torch.empty_like(features) if wants[0] else None
    wants_layers = _wanted_layers(wants, len(weights), is_nerdm=classifier is not None)
    totals = None
    owners = [classifier, bias, *weights, *biases]
    with computing(x, precision):
        parameters = (classifier, weights, biases, bias)
        (classifier, weights, biases, _), mlp, parts = _prepared(x, parameters, scale, origin, extent)
        innermost = position_map.channels_innermost(features)
        for block, at in parts:
            hidden = []
            f = calibrator.forward(block, *mlp, activation, innermost, hidden)
            grad_f = torch.empty_like(f) if any(wants[1:]) else None
            grad_x_at = None if grad_x is None else grad_x[:, :, at]
            outside = _apply_backward(grad[:, :, at], features[:, :, at], f, classifier, grad_x_at, grad_f)
            if grad_f is not None:
                inside = calibrator.backward(grad_f, block, hidden, mlp[0], activation, *wants_layers)
                totals = added(totals, [*outside, *inside[0], *inside[1]])
        gradients = _of_owners(totals, classifier, weights, biases) if totals else owners
    wanted = [like(o, g) for o, g, w in zip(owners, gradients, wants[1:], strict=True) if w]
    return [like(x, grad_x.view(x.shape)), *wanted] if wants[0] else wanted


def _prepared(x, parameters, scale, origin, extent):
    """The parameters in the dtype of the positions, the MLP that runs, and the blocks of positions it runs over."""
    image = image_of(x, scale, origin, extent)
    parameters = _in_dtype(image.rows.dtype, *parameters)
    mlp = _composed(*parameters)
    return parameters, mlp, blocks(image, mlp[0], x.numel())


def _in_dtype(dtype, classifier, weights, biases, bias):
    """The parameters in `dtype`; None stays None."""
    classifier, bias = (None if tensor is None else tensor.to(dtype) for tensor in (classifier, bias))
    return classifier, [weight.to(dtype) for weight in weights], [b.to(dtype) for b in biases], bias


def _composed(classifier, weights, biases, bias):
    """Weights and biases of the MLP that runs: the calibrator, with NeRDm's classifier in its last layer."""
    if classifier is None:
        return weights, biases
    last = last_layer.compose(classifier, weights[-1], biases[-1], bias)
    return [*weights[:-1], last[0]], [*biases[:-1], last[1]]


def _apply(x, f, classifier, bias, out):
    """Fills the logits `out` (B, K, N) of features x (B, C, N), from the MLP's outputs f (outputs, N)."""
    labels, channels = out.shape[1], x.shape[1]
    if classifier is None:
        beta = None if bias is None else bias[:, None].expand(labels, x.shape[2])
        position_map.forward(x, f.unflatten(0, (labels, channels)), beta, out)
    elif labels == 1:
        position_map.forward(x, f[None, :channels], f[channels:], out)
    else:
        normalisation.forward(x, f[:channels], classifier, f[channels:], out)


def _apply_backward(grad, x, f, classifier, grad_x, grad_f):
    """Fills grad_x and grad_f, as far as they are not None. Returns the gradients of what stands outside of the MLP:
    the classifier (NeRDm with several classes) and the bias (NeRDc), None where that is neither or grad_f is None.
    """
    labels, channels = grad.shape[1], x.shape[1]
    if classifier is not None and labels > 1:
        grad_classifier = None if grad_f is None else torch.empty_like(classifier)
        grad_a, grad_beta = (None, None) if grad_f is None else grad_f.split((channels, labels))
        normalisation.backward(grad, x, f[:channels], classifier, grad_x, grad_a, grad_classifier, grad_beta)
        return grad_classifier, None
    weight = f[: labels * channels].unflatten(0, (labels, channels))
    grad_weight = None if grad_f is None else grad_f[: labels * channels].unflatten(0, (labels, channels))
    grad_beta = None if grad_f is None or classifier is None else grad_f[channels:]
    position_map.backward(grad, x, weight, grad_x, grad_weight, grad_beta)
    is_nerdc = classifier is None and grad_f is not None
    return None, grad.sum((0, 2), dtype=f.dtype) if is_nerdc else None


def _wanted_layers(wants, layers, is_nerdm):
    """Which weights and which biases of the MLP need a gradient: NeRDm's last layer holds classifier and bias too."""
    weights, biases = wants[3 : 3 + layers], wants[3 + layers :]
    if is_nerdm:
        last = wants[1] or wants[2] or weights[-1] or biases[-1]
        weights, biases = [*weights[:-1], last], [*biases[:-1], last]
    return weights, biases


def _of_owners(totals, classifier, weights, biases):
    """Gradients of classifier, bias, *weights, *biases from those outside of the MLP and those of its layers."""
    grad_classifier, grad_bias, *layers = totals
    grad_weights, grad_biases = layers[: len(weights)], layers[len(weights) :]
    if classifier is not None and grad_weights[-1] is not None:
        through_layer, grad_weights[-1], grad_biases[-1], grad_bias = last_layer.backward(
            grad_weights[-1], grad_biases[-1], classifier, weights[-1], biases[-1]
        )
        grad_classifier = through_layer if grad_classifier is None else grad_classifier + through_layer
    return [grad_classifier, grad_bias, *grad_weights, *grad_biases]
