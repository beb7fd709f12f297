"""What was done to the layers of a calibrator is honoured or refused, and never ignored."""

import copy
import logging

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from nerd_fast import NeRDc, NeRDm, NeRDNorm
from nerd_fast.plain import warn_of_plain_pytorch
from tests.exactness import randomise

MODULES = [NeRDm, NeRDc, NeRDNorm]
every = pytest.mark.parametrize("module_class", MODULES)


def make(module_class, **options):
    module = module_class(4, **options) if module_class is NeRDNorm else module_class(4, 3, bias=True, **options)
    return randomise(module)


def doubled(module, arguments, output):
    return 2 * output


def other_activation(calibrator):
    calibrator[1] = nn.GELU()


def other_slope(calibrator):
    calibrator[1] = nn.LeakyReLU(0.3)


def a_layer_more(calibrator):
    calibrator.append(nn.Tanh())


def own_forward(calibrator):
    forward = calibrator[2].forward
    calibrator[2].forward = lambda h: forward(h) + 1


def old_weight_norm(calibrator):
    nn.utils.weight_norm(calibrator[2])
    calibrator[2].weight_g.data.mul_(3)


ALTERATIONS = {
    "another activation": other_activation,
    "another slope": other_slope,
    "a layer more": a_layer_more,
    "a hook": lambda calibrator: calibrator[2].register_forward_hook(doubled),
    "a hook on the whole": lambda calibrator: calibrator.register_forward_hook(doubled),
    "a forward of its own": own_forward,
    "pruned by a hook": lambda calibrator: prune.l1_unstructured(calibrator[2], "weight", amount=0.5),
    "weight norm of old": old_weight_norm,
    "a layer without bias": lambda calibrator: calibrator[2].register_parameter("bias", None),
}


def by_hand(module, x):
    """The module's equations with its calibrator called as a module."""
    f = module.calibrator(positions()).T.unflatten(1, (5, 6))
    if isinstance(module, NeRDc):
        logits = torch.einsum("kchw,bchw->bkhw", f.unflatten(0, (3, 4)), x)
    else:
        a, b = f.chunk(2)
        logits = x * a + b
        if isinstance(module, NeRDm):
            logits = torch.einsum("kc,bchw->bkhw", module.classifier, logits)
    return logits if isinstance(module, NeRDNorm) else logits + module.bias.view(-1, 1, 1)


def positions():
    """The boundary distances of an image of 5 x 6, (30, 4)."""
    rows, columns = torch.arange(5.0)[:, None], torch.arange(6.0)
    distances = rows / 4, (5 - columns) / 5, (4 - rows) / 4, columns / 5
    return torch.stack([d.expand(5, 6) for d in distances]).flatten(1).T


@every
@pytest.mark.parametrize("change", ALTERATIONS)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_altered_calibrator_is_called_or_refused(module_class, change):
    module, x = make(module_class, activation="leaky_relu"), torch.randn(2, 4, 5, 6)
    untouched = module(x)
    ALTERATIONS[change](module.calibrator)
    expected = by_hand(module, x)
    assert not torch.allclose(expected, untouched, atol=1e-3)
    for module.backend in ("auto", "reference"):
        torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(module.calibration((5, 6)).flatten(1).T, module.calibrator(positions()))
    for module.backend in ("torch", "triton"):
        with pytest.raises(ValueError, match=r"calibrator.*would ignore.*backend='reference' and 'auto' call"):
            module(x)


@every
def test_windows_gradients_and_half_parameters_go_through_a_called_calibrator(module_class):
    module, x = make(module_class), torch.randn(2, 4, 5, 6, requires_grad=True)
    module.calibrator[2].register_forward_hook(lambda module, arguments, output: output.clone())  # changes nothing
    plain = make(module_class, backend="torch")
    plain.load_state_dict(module.state_dict())
    window = {"origin": [(0, 1), (3, 2)], "extent": (9, 9)}
    for ours, theirs in zip(gradients(module, x, window), gradients(plain, x, window), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    half = copy.deepcopy(module).bfloat16()
    assert half(x.bfloat16()).dtype == torch.bfloat16
    torch.testing.assert_close(half(x.bfloat16()).float(), module(x), rtol=0.1, atol=0.3)


def gradients(module, x, window):
    y = module(x, **window)
    return [y, *torch.autograd.grad(y.square().sum() / 100, [x, *module.parameters()])]


@every
@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_a_parametrized_weight_is_the_one_that_counts(module_class, backend):
    module, x = make(module_class, backend=backend), torch.randn(2, 4, 5, 6)
    parametrizations.weight_norm(module.calibrator[2])
    with torch.no_grad():
        module.calibrator[2].parametrizations.weight.original0.mul_(3)
    torch.testing.assert_close(module(x), by_hand(module, x), rtol=1e-4, atol=1e-4)
    module(x).sum().backward()
    assert module.calibrator[2].parametrizations.weight.original0.grad.abs().sum() > 0


def test_a_layer_that_computes_the_same_from_its_parameters_is_no_alteration():
    head, x = make(NeRDm, backend="torch"), torch.randn(2, 4, 5, 6)
    head.calibrator[2], head.calibrator[1] = nn.Linear(32, 32), nn.ReLU(inplace=True)
    torch.testing.assert_close(head(x), by_hand(head, x), rtol=1e-4, atol=1e-4)


def test_a_quantised_layer_is_called():
    head, x = make(NeRDm), torch.randn(2, 4, 5, 6)
    head.calibrator[0] = torch.ao.nn.quantized.dynamic.Linear(4, 32)
    torch.testing.assert_close(head(x), by_hand(head, x), rtol=1e-4, atol=1e-4)


def test_what_yields_another_number_of_outputs_is_refused():
    head = make(NeRDm)
    head.calibrator = nn.Sequential(nn.Linear(4, 5), nn.Sigmoid())
    with pytest.raises(ValueError, match="calibrator: expected 8 outputs for every position, got"):
        head(torch.randn(2, 4, 5, 6))


def test_a_fallback_that_nobody_asked_for_is_logged_once(caplog):
    warn_of_plain_pytorch.cache_clear()
    head, x = make(NeRDm), torch.randn(2, 4, 5, 6)
    head.calibrator[1] = nn.GELU()
    with caplog.at_level(logging.WARNING, "nerd_fast"):
        head(x)
        head(x)
    assert [record.getMessage() for record in caplog.records] == [
        "using plain PyTorch, which is slower and keeps more memory than the other backends: calibrator.1 is "
        "GELU(approximate='none')"
    ]
