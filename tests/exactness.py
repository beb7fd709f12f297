"""The tolerance of this project: our error is at most twice that of eager PyTorch in the same dtype.

Both errors are taken against the float64 oracle, `nerd_fast.reference`, as the largest absolute difference.
"""

import torch

import nerd_fast
from nerd_fast import reference


def assert_as_exact_as_eager(ours, eager, oracle, name=""):
    """Fails unless `ours` is as close to `oracle` (float64) as twice `eager`.

    Four units in the last place of the terms (of order 1 in these tests) are allowed on top: in sums of a few
    terms eager is now and then exact by luck.
    """
    assert ours.shape == oracle.shape, f"{name}: shape {tuple(ours.shape)}, expected {tuple(oracle.shape)}"
    if oracle.numel() == 0:
        return
    unit = 4 * torch.finfo(ours.dtype).eps * max(1, oracle.abs().max().item())
    error, allowed = _error(ours, oracle), 2 * _error(eager, oracle) + unit
    assert error <= allowed, f"{name}: error {error:.3e}, eager's {_error(eager, oracle):.3e}, allowed {allowed:.3e}"


def _error(values, oracle):
    return (values.double() - oracle).abs().max().item()


def randomise(head):
    """Parameters of a trained head in place of a fresh one's, so that every term of the equations counts."""
    with torch.no_grad():
        for layer in head.calibrator[::2]:
            layer.weight.normal_().div_(layer.in_features**0.5)
            layer.bias.normal_()
        for parameter in (getattr(head, "bias", None), getattr(head, "classifier", None)):
            if parameter is not None:
                parameter.normal_()
    return head


def reference_logits(head, x, **window):
    """The oracle's logits for the parameters of a head, or its normalised features for those of a NeRDNorm."""
    weights = [layer.weight for layer in head.calibrator[::2]]
    biases = [layer.bias for layer in head.calibrator[::2]]
    options = {"activation": head.activation, "distance_scale": head.distance_scale, **window}
    if isinstance(head, nerd_fast.NeRDNorm):
        return reference.nerdnorm(x, weights, biases, **options)
    if isinstance(head, nerd_fast.NeRDm):
        return reference.nerdm(x, head.classifier, weights, biases, head.bias, **options)
    return reference.nerdc(x, weights, biases, head.bias, out_channels=head.out_channels, **options)


def results(logits_of, head, x, grad):
    """Logits and every gradient by name, of fresh copies of the head and its features."""
    head.zero_grad(set_to_none=True)
    x = x.detach().requires_grad_()
    logits = logits_of(head, x)
    logits.backward(grad.to(logits.dtype))
    gradients = {f"gradient of {name}": parameter.grad for name, parameter in head.named_parameters()}
    return {"logits": logits.detach(), "gradient of x": x.grad, **gradients}


def assert_head_as_exact_as_eager(head, x, grad=None, **window):
    """Logits and all gradients of `head` against eager in the same dtype, both against the float64 oracle."""
    if grad is None:
        outputs = head.channels if isinstance(head, nerd_fast.NeRDNorm) else head.out_channels
        grad = torch.randn(x.shape[0], outputs, *x.shape[2:], dtype=x.dtype, device=x.device)
    ours = results(lambda h, x: h(x, **window), head, x, grad)
    eager = results(lambda h, x: reference_logits(h, x, **window), head, x, grad)
    dtypes = {name: parameter.dtype for name, parameter in head.named_parameters()}
    head.double()
    oracle = results(lambda h, x: reference_logits(h, x, **window), head, x.double(), grad.double())
    for name, parameter in head.named_parameters():
        parameter.data = parameter.data.to(dtypes[name])
    for name, expected in oracle.items():
        assert_as_exact_as_eager(ours[name], eager[name], expected, name)
    return ours
