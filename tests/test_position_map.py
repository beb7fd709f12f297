"""`functional.apply_position_map` on both backends: values and gradients, of any layout, dtype and size."""

import itertools

import pytest
import torch

from nerd_fast import functional
from tests.exactness import assert_as_exact_as_eager
from tests.test_functional import LAYOUTS


def make(batch, channels, classes, spatial, dtype=torch.float32, layout="contiguous", beta=True, device="cpu"):
    """x, weight, beta or None, and a gradient of the logits."""
    x = LAYOUTS[layout](torch.randn(batch, channels, *spatial, dtype=dtype, device=device))
    weight = torch.randn(classes, channels, *spatial, device=device)
    beta = torch.randn(classes, *spatial, device=device) if beta else None
    return x, weight, beta, torch.randn(batch, classes, *spatial, dtype=dtype, device=device)


def eager(x, weight, beta):
    wide = torch.promote_types(weight.dtype, torch.float32)
    logits = torch.einsum("kc...,bc...->bk...", weight.to(wide), x.to(wide))
    return (logits if beta is None else logits + beta).to(x.dtype)


def results(apply, tensors, grad):
    """Logits and the gradients of the tensors that are there."""
    tensors = [t if t is None else t.detach().requires_grad_() for t in tensors]
    logits = apply(*tensors)
    return [logits.detach(), *torch.autograd.grad(logits, [t for t in tensors if t is not None], grad.to(logits.dtype))]


def assert_exact(tensors, grad, backend):
    ours = results(lambda *t: functional.apply_position_map(*t, backend=backend), tensors, grad)
    oracle = results(eager, [t if t is None else t.double() for t in tensors], grad)
    for mine, theirs, exact in zip(ours, results(eager, tensors, grad), oracle, strict=True):
        assert_as_exact_as_eager(mine, theirs, exact)
    return ours


CASES = {
    "one position": ((2, 3, 2, (1, 1)), {}),
    "one channel, one class": ((3, 1, 1, (16, 40)), {}),
    "the paper's head": ((9, 16, 1, (4, 8)), {}),
    "the paper's head, channels last": ((5, 16, 1, (5, 7)), {"layout": "channels_last"}),
    "odd sizes": ((2, 5, 3, (15, 17)), {}),
    "odd sizes, channels last": ((2, 6, 3, (5, 7)), {"layout": "channels_last"}),
    "classes in two groups": ((2, 8, 5, (4, 8)), {"beta": False}),
    "classes in two groups, channels last": ((1, 16, 9, (2, 3)), {"layout": "channels_last"}),
    "20 classes": ((2, 3, 20, (4, 4)), {}),
    "33 classes": ((1, 2, 33, (2, 3)), {}),
    "a volume": ((2, 4, 2, (3, 4, 5)), {}),
    "a volume, channels last": ((2, 16, 2, (2, 3, 4)), {"layout": "channels_last"}),
    "more channels than a head may have": ((1, 300, 1, (2, 8)), {}),
    "no sample": ((0, 4, 2, (3, 4)), {}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_logits_and_gradients_are_as_exact_as_eager(case, backend, device):
    sizes, options = case
    *tensors, grad = make(*sizes, **options, device=device)
    assert_exact(tensors, grad, backend)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_16_bit_features_are_as_exact_as_eager(dtype, layout, backend, device):
    *tensors, grad = make(2, 16, 2, (4, 4), dtype, layout, device=device)
    assert_exact(tensors, grad, backend)
    tensors[1:] = [tensor.to(dtype) for tensor in tensors[1:]]
    ours = assert_exact(tensors, grad, backend)
    assert all(result.dtype == dtype for result in ours)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_changes_no_value(layout, backend, device):
    *tensors, grad = make(2, 5, 2, (6, 8), layout=layout, device=device)
    logits, grad_x, *_ = assert_exact(tensors, grad, backend)
    assert grad_x.stride() == torch.empty_like(tensors[0]).stride()
    channels_last = layout == "channels_last"
    assert logits.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def test_a_map_with_strides_of_its_own_gets_gradients_of_its_strides(backend, device):
    x, weight, beta, grad = make(3, 16, 3, (4, 8), layout="channels_last", device=device)
    weight, beta = LAYOUTS["channels_last"](weight), beta.transpose(-1, -2).contiguous().transpose(-1, -2)
    _, _, grad_weight, grad_beta = assert_exact([x, weight, beta], grad, backend)
    assert (grad_weight.stride(), grad_beta.stride()) == (weight.stride(), beta.stride())


@pytest.mark.parametrize("view", ["sum", "expanded", "transposed", "sliced", "channels_last"])
def test_the_incoming_gradient_may_have_any_strides(view, backend, device):
    *tensors, grad = make(2, 16, 3, (4, 8), device=device)
    grad = {
        "sum": lambda g: torch.ones((), device=device).expand_as(g),
        "expanded": lambda g: g[:1].expand_as(g),
        "transposed": lambda g: g.transpose(-1, -2).contiguous().transpose(-1, -2),
        "sliced": lambda g: torch.stack([g, g], -1)[..., 0],
        "channels_last": lambda g: g.to(memory_format=torch.channels_last),
    }[view](grad)
    assert_exact(tensors, grad, backend)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_only_the_gradients_asked_for_are_computed_and_each_is_right(layout, backend, device):
    *tensors, grad = make(3, 16, 2, (4, 4), layout=layout, device=device)
    everything = results(lambda *t: functional.apply_position_map(*t, backend=backend), tensors, grad)[1:]
    for wanted in itertools.product([True, False], repeat=3):
        leaves = [t.detach().requires_grad_(want) for t, want in zip(tensors, wanted, strict=True)]
        if any(wanted):
            functional.apply_position_map(*leaves, backend=backend).backward(grad)
        for leaf, want, whole in zip(leaves, wanted, everything, strict=True):
            assert (leaf.grad is not None) == want
            assert not want or torch.equal(leaf.grad, whole)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_the_same_inputs_give_the_same_bits_and_everything_is_written(layout, backend, device, poisoned_empty):
    *tensors, grad = make(5, 16, 2, (3, 8), layout=layout, device=device)
    first, second = (
        results(lambda *t: functional.apply_position_map(*t, backend=backend), tensors, grad) for _ in range(2)
    )
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    assert all(result.isfinite().all() for result in first)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("classes", [1, 6])
def test_a_nan_stays_in_its_pixel(layout, classes, backend, device):
    x, weight, beta, grad = make(5, 16, classes, (4, 8), layout=layout, device=device)
    x[1, 2, 3, 4] = torch.nan
    logits, grad_x, grad_weight, _ = results(
        lambda *t: functional.apply_position_map(*t, backend=backend), (x, weight, beta), grad
    )
    expected = torch.zeros_like(logits, dtype=torch.bool)
    expected[1, :, 3, 4] = True
    assert torch.equal(logits.isnan(), expected)
    assert not grad_x.isnan().any()
    expected = torch.zeros_like(weight, dtype=torch.bool)
    expected[:, 2, 3, 4] = True
    assert torch.equal(grad_weight.isnan(), expected)


def test_a_double_backward_raises(backend, device):
    x, weight, beta, _ = make(1, 3, 2, (3, 3), device=device)
    x.requires_grad_()
    logits = functional.apply_position_map(x, weight, beta, backend=backend)
    (gradient,) = torch.autograd.grad((logits**2).sum() + (x**3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.sum().backward()


def test_float64_is_computed_in_float64():
    *tensors, grad = make(2, 3, 2, (4, 5), torch.float64)
    tensors[1:] = [tensor.double() for tensor in tensors[1:]]
    ours = results(functional.apply_position_map, tensors, grad)
    for mine, exact in zip(ours, results(eager, tensors, grad), strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("position", "name"), [(1, "weight"), (2, "beta")])
def test_what_is_no_tensor_is_refused_by_name(position, name):
    arguments = list(make(1, 3, 2, (4, 5))[:3])
    arguments[position] = arguments[position].numpy()
    with pytest.raises(TypeError, match=f"{name}: expected a tensor, got ndarray"):
        functional.apply_position_map(*arguments)


def test_a_backend_that_cannot_run_a_map_says_why():
    x, weight, beta, _ = make(1, 3, 2, (4, 5))
    with pytest.raises(ValueError, match=r"backend: expected one of .*triton.*reference"):
        functional.apply_position_map(x, weight, beta, backend="reference")
    with pytest.raises(ValueError, match=r"cannot run this position map: .*not torch.float64|TRITON_INTERPRET"):
        functional.apply_position_map(x.double(), weight.double(), beta.double(), backend="triton")
