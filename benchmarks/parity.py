"""The gate before every figure: a peer's logits and gradients against the float64 oracle on the same inputs."""

from dataclasses import dataclass

import torch

from benchmarks import peers
from nerd_fast import reference

# Largest error allowed, relative to the largest value of the oracle's tensor (logits, gradient of x) or to its norm
# (gradients of the parameters, sums over up to ten million pixels). Half types: a few of their rounding steps.
TOLERANCES = {
    "float32": {"logits": 1e-4, "grad_x": 1e-4, "grad_parameters": 1e-3},
    "float16": {"logits": 5e-3, "grad_x": 5e-3, "grad_parameters": 2e-2},
    "bfloat16": {"logits": 2e-2, "grad_x": 2e-2, "grad_parameters": 2e-2},
}
CHUNK_ELEMENTS = 1 << 22  # of the features, per float64 pass of the oracle: 32 MiB


@dataclass
class Oracle:
    """Logits and gradients of one case in float64: of NeRDm, or of the 1x1 convolution."""

    logits: torch.Tensor
    grad_x: torch.Tensor
    grad_parameters: list


def oracles(head, inputs, names):
    """{peer: Oracle} of these names, one for all that compute NeRDm."""
    makers = {True: nerd_oracle, False: conv_oracle}
    made = {is_nerd: makers[is_nerd](head, *inputs) for is_nerd in {peers.is_nerd(name) for name in names}}
    return {name: made[peers.is_nerd(name)] for name in names}


def nerd_oracle(head, x, grad):
    """The reference in float64, a few images at a time so that it fits where the peers do."""
    classifier, weights, biases, bias = head.arguments
    layers = len(weights)

    def call(x, classifier, *rest):
        return reference.nerdm(x, classifier, rest[:layers], rest[layers : 2 * layers], rest[-1])

    return _oracle(call, [classifier, *weights, *biases, bias], x, grad)


def conv_oracle(head, x, grad):
    """The 1x1 convolution in float64, with the head's classifier and bias rounded to x's dtype as in the peer."""
    module = head.module
    weight = module.classifier.view(*module.classifier.shape, *[1] * (x.dim() - 2))

    def call(x, weight, bias):
        s = torch.einsum("kc,bc...->bk...", weight.flatten(1), x)
        return s + bias.view(-1, *[1] * (x.dim() - 2))

    return _oracle(call, [weight.to(x.dtype), module.bias.to(x.dtype)], x, grad)


def compare(peer, oracle, x, grad, dtype):
    """Errors of the peer by tensor, with `passed`. A tensor of the wrong shape or with NaN in it does not pass."""
    if "training" not in peers.modes_of(peer.name):
        with torch.no_grad():
            errors = {"logits": _error(peer.call(x), oracle.logits, _largest)}
    else:
        logits = peer.call(x)
        grad_x, *grad_parameters = torch.autograd.grad(logits, [x, *peer.parameters], grad)
        pairs = zip(grad_parameters, oracle.grad_parameters, strict=True)
        errors = {
            "logits": _error(logits.detach(), oracle.logits, _largest),
            "grad_x": _error(grad_x, oracle.grad_x, _largest),
            "grad_parameters": max(_error(g, o, torch.linalg.vector_norm) for g, o in pairs),
        }
    limits = TOLERANCES[dtype]
    return {**errors, "passed": all(error <= limits[name] for name, error in errors.items())}


def _oracle(call, parameters, x, grad):
    doubles = [p.detach().double().requires_grad_() for p in parameters]
    images = max(1, CHUNK_ELEMENTS // x[0].numel())
    logits, grad_x, grad_parameters = [], [], [torch.zeros_like(p) for p in doubles]
    for chunk, grad_chunk in zip(x.detach().split(images), grad.split(images), strict=True):
        chunk = chunk.double().requires_grad_()
        s = call(chunk, *doubles)
        gradients = torch.autograd.grad(s, [chunk, *doubles], grad_chunk.double())
        # Rounded to float32, a thousand times finer than any tolerance, it takes half the room.
        logits.append(s.detach().float())
        grad_x.append(gradients[0].float())
        grad_parameters = [total.add_(g) for total, g in zip(grad_parameters, gradients[1:], strict=True)]
    return Oracle(torch.cat(logits), torch.cat(grad_x), grad_parameters)


def _error(value, truth, size):
    if value.shape != truth.shape:
        return float("inf")
    value = value.to(truth.dtype)
    error = (size(value - truth) / size(truth).clamp_min(1e-30)).item()
    return error if error == error else float("inf")


def _largest(values):
    return values.abs().max()
