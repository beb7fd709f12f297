"""NeRDm's classifier composed with the calibrator's last layer, before the MLP runs over the positions.

The calibrator's last layer yields (a, b), 2 C outputs. Since b only ever enters as `beta_k = sum_c w_kc b_c + bias_k`,
the composed layer yields (a, beta), C + K outputs; with one class w_c goes into a as well, which then is W.
"""

import torch


def compose(classifier, weight, bias, head_bias):
    """The composed layer's weight (C + K, hidden) and bias (C + K,).

    From classifier (K, C), the last layer's weight (2 C, hidden) and bias (2 C,), and the head's bias (K,) or None.
    """
    (weight_a, weight_b), (bias_a, bias_b) = weight.chunk(2), bias.chunk(2)
    if len(classifier) == 1:
        weight_a, bias_a = classifier.T * weight_a, classifier[0] * bias_a
    beta = classifier @ bias_b if head_bias is None else torch.addmv(head_bias, classifier, bias_b)
    return torch.cat([weight_a, classifier @ weight_b]), torch.cat([bias_a, beta])


def backward(grad_weight, grad_bias, classifier, weight, bias):
    """Gradients of `compose`'s arguments (classifier, weight, bias, head_bias) from those of its two results."""
    labels, channels = classifier.shape
    (weight_a, weight_b), (bias_a, bias_b) = weight.chunk(2), bias.chunk(2)
    grad_weight_a, grad_weight_beta = grad_weight.split((channels, labels))
    grad_bias_a, grad_head_bias = grad_bias.split((channels, labels))
    grad_classifier = torch.addr(grad_weight_beta @ weight_b.T, grad_head_bias, bias_b)
    if labels == 1:
        grad_classifier += torch.linalg.vecdot(grad_weight_a, weight_a) + grad_bias_a * bias_a
        grad_weight_a, grad_bias_a = classifier.T * grad_weight_a, classifier[0] * grad_bias_a
    grad_weight = torch.cat([grad_weight_a, classifier.T @ grad_weight_beta])
    return grad_classifier, grad_weight, torch.cat([grad_bias_a, classifier.T @ grad_head_bias]), grad_head_bias.clone()
