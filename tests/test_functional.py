"""Logits and gradients of both heads, on both backends, against the float64 oracle."""

import itertools

import numpy as np
import pytest
import torch

import nerd_fast
from nerd_fast import functional
from tests.exactness import assert_head_as_exact_as_eager, randomise, reference_logits

HEADS = [nerd_fast.NeRDm, nerd_fast.NeRDc]
LAYOUTS = {
    "contiguous": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=[torch.channels_last, torch.channels_last_3d][x.dim() - 4]),
    "sliced in space": lambda x: torch.nn.functional.pad(x, (1, 2))[..., 1:-2],
    "sliced in channels": lambda x: torch.cat([x, x], 1)[:, : x.shape[1]],
    "transposed": lambda x: x.transpose(-1, -2).contiguous().transpose(-1, -2),
    "every other image": lambda x: x.repeat_interleave(2, 0)[::2],
}


def make(head_class, channels=5, classes=2, backend="torch", device="cpu", **options):
    return randomise(head_class(channels, classes, backend=backend, device=device, **options))


@pytest.mark.parametrize("head_class", HEADS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("spatial", [(1, 1), (1, 9), (15, 17), (33, 2), (3, 4, 5)])
def test_logits_and_gradients_are_as_exact_as_eager(head_class, dtype, spatial, backend, device):
    head = make(head_class, backend=backend, device=device, spatial_dims=len(spatial), bias=True)
    assert_head_as_exact_as_eager(head, torch.randn(3, 5, *spatial, dtype=dtype, device=device))


@pytest.mark.parametrize("head_class", HEADS)
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "silu", "tanh"])
@pytest.mark.parametrize("hidden_channels", [(8,), (17, 32, 9), (8, 8, 8, 8)])
def test_every_calibrator_is_as_exact_as_eager(head_class, activation, hidden_channels, backend, device):
    head = make(head_class, backend=backend, device=device, activation=activation, hidden_channels=hidden_channels)
    assert_head_as_exact_as_eager(head, torch.randn(2, 5, 6, 7, device=device))


@pytest.mark.parametrize("head_class", HEADS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("spatial", [(6, 8), (3, 4, 5)])
def test_layout_changes_no_value(head_class, layout, spatial, backend, device):
    head = make(head_class, backend=backend, device=device, spatial_dims=len(spatial))
    x = torch.randn(2, 5, *spatial, device=device)
    laid_out = LAYOUTS[layout](x)
    assert torch.equal(laid_out, x)
    ours = assert_head_as_exact_as_eager(head, laid_out)
    torch.testing.assert_close(ours["logits"], head(x).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("head_class", HEADS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_logits_and_gradient_come_in_the_memory_format_of_the_features(head_class, layout, backend, device):
    x = LAYOUTS[layout](torch.randn(2, 5, 6, 8, device=device)).requires_grad_()
    logits = make(head_class, 3, 2, backend, device)(x[:, :3]) if layout == "contiguous" else None
    logits = make(head_class, 5, 2, backend, device)(x)
    logits.sum().backward()
    assert x.grad.stride() == x.stride()
    expected = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    assert logits.is_contiguous(memory_format=expected)


CONSUMERS = {
    "sum": lambda s: s.sum(),
    "mean": lambda s: s.mean(),
    "expand": lambda s: (s[None].expand(2, *s.shape) * 2).sum(),
    "cat": lambda s: (torch.cat([s, s], 1) ** 2).sum(),
    "transpose": lambda s: (s.transpose(-1, -2).reshape(-1) ** 2).cumsum(0).sum(),
    "every other pixel": lambda s: (s[..., ::2] ** 2).sum(),
    "channels_last": lambda s: (s.contiguous(memory_format=torch.channels_last) ** 3).sum(),
    "one class": lambda s: (s[:, 0] ** 2).sum(),
    "broadcast": lambda s: s.sum((2, 3), keepdim=True).expand_as(s).sum(),
}


@pytest.mark.parametrize("head_class", HEADS)
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_gradients_with_odd_strides_are_read_right(head_class, consumer, backend, device):
    head = make(head_class, backend=backend, device=device)
    x = torch.randn(2, 5, 4, 6, device=device, requires_grad=True)
    inputs = [x, *head.parameters()]
    ours = torch.autograd.grad(CONSUMERS[consumer](head(x)), inputs)
    expected = torch.autograd.grad(CONSUMERS[consumer](reference_logits(head, x)), inputs)
    for gradient, oracle in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, oracle, rtol=1e-4, atol=1e-4 * oracle.abs().max().item())


@pytest.mark.parametrize("head_class", HEADS)
def test_only_the_gradients_asked_for_are_computed_and_each_is_right(head_class, backend, device):
    head = make(head_class, backend=backend, device=device, hidden_channels=(8,), bias=True)
    x = torch.randn(2, 5, 3, 4, device=device)
    grad = torch.randn(2, 2, 3, 4, device=device)
    tensors = [x, *head.parameters()]

    def gradients(wanted):
        for tensor, want in zip(tensors, wanted, strict=True):
            tensor.grad = None
            tensor.requires_grad_(want)
        if any(wanted):
            head(x).backward(grad)
        return [tensor.grad for tensor in tensors]

    everything = gradients([True] * len(tensors))
    for wanted in itertools.product([True, False], repeat=len(tensors)):
        for gradient, want, whole in zip(gradients(wanted), wanted, everything, strict=True):
            assert (gradient is not None) == want
            assert not want or torch.equal(gradient, whole)


@pytest.mark.parametrize("head_class", HEADS)
def test_an_empty_batch_gives_empty_logits_and_zero_gradients(head_class, backend, device):
    head = make(head_class, backend=backend, device=device)
    x = torch.randn(0, 5, 4, 6, device=device, requires_grad=True)
    logits = head(x)
    assert logits.shape == (0, 2, 4, 6)
    logits.sum().backward()
    assert x.grad.shape == x.shape
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in head.parameters())


@pytest.mark.parametrize("head_class", HEADS)
@pytest.mark.parametrize("scale", ["extent", 0.01])
def test_a_window_computes_what_the_whole_image_computes_there(head_class, scale, backend, device):
    head = make(head_class, backend=backend, device=device, distance_scale=scale)
    window = {"origin": (2, 3), "extent": (11, 13)}
    assert_head_as_exact_as_eager(head, torch.randn(2, 5, 4, 6, device=device), **window)


@pytest.mark.parametrize("head_class", HEADS)
def test_a_nan_stays_in_its_pixel(head_class, backend, device):
    head = make(head_class, backend=backend, device=device)
    for i, j in [(0, 0), (2, 3), (4, 6)]:
        x = torch.randn(2, 5, 5, 7, device=device)
        x[1, 2, i, j] = torch.nan
        x.requires_grad_()
        logits = head(x)
        expected = torch.zeros_like(logits, dtype=torch.bool)
        expected[1, :, i, j] = True
        assert torch.equal(logits.isnan(), expected)
        logits.sum().backward()
        assert not x.grad.isnan().any()


@pytest.mark.parametrize("head_class", HEADS)
def test_a_nan_parameter_is_not_hidden_by_the_activation(head_class, backend, device):
    head = make(head_class, backend=backend, device=device)
    with torch.no_grad():
        head.calibrator[0].bias[0] = torch.nan
    assert head(torch.randn(1, 5, 4, 4, device=device)).isnan().all()


@pytest.mark.parametrize("head_class", HEADS)
def test_the_same_inputs_give_the_same_bits(head_class, backend, device):
    head = make(head_class, backend=backend, device=device)
    x = torch.randn(3, 5, 9, 11, device=device, requires_grad=True)
    runs = []
    for _ in range(2):
        logits = head(x)
        runs.append([logits, *torch.autograd.grad((logits**2).sum(), [x, *head.parameters()])])
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


@pytest.mark.parametrize("head_class", HEADS)
def test_every_element_of_outputs_and_gradients_is_written(head_class, backend, device, poisoned_empty):
    head = make(head_class, backend=backend, device=device, bias=True)
    x = torch.randn(2, 5, 5, 7, device=device, requires_grad=True)
    logits = head(x)
    gradients = torch.autograd.grad(logits.sum(), [x, *head.parameters()])
    assert all(tensor.isfinite().all() for tensor in [logits, *gradients])


@pytest.mark.parametrize("head_class", HEADS)
def test_gradcheck_in_float64(head_class):
    head = make(head_class, 3, 2, hidden_channels=(8,), activation="tanh", bias=True, dtype=torch.float64)
    x = torch.randn(2, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    parameters = tuple(p.detach().requires_grad_() for p in head.parameters())
    names = [name for name, _ in head.named_parameters()]

    def logits(x, *values):
        return torch.func.functional_call(head, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(logits, (x, *parameters))


@pytest.mark.parametrize("head_class", HEADS)
def test_half_precision_parameters_get_gradients_of_their_dtype(head_class, backend, device):
    head = make(head_class, backend=backend, device=device).half()
    x = torch.randn(2, 5, 4, 4, dtype=torch.float16, device=device)
    head(x).sum().backward()
    assert all(p.grad.dtype == torch.float16 and p.grad.stride() == p.stride() for p in head.parameters())


@pytest.mark.parametrize("head_class", HEADS)
def test_a_double_backward_raises(head_class, backend, device):
    head = make(head_class, backend=backend, device=device)
    x = torch.randn(1, 5, 3, 3, device=device, requires_grad=True)
    (gradient,) = torch.autograd.grad((head(x) ** 2).sum() + (x**3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative; backend='reference'"):
        torch.autograd.grad(gradient.sum(), x)
    (gradient,) = torch.autograd.grad((head(x) ** 2).sum() + (x**3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative; backend='reference'"):
        gradient.sum().backward()


@pytest.mark.parametrize("head_class", HEADS)
def test_forward_mode_differentiation_raises(head_class):
    head = make(head_class)
    x = torch.randn(1, 5, 3, 3)
    before = head(x)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        with pytest.raises(NotImplementedError, match=r"jvp.*backend='reference' has"):
            head(dual)
        assert torch.equal(head(x), before)  # of no interest to a head whose tensors have no tangent
    for transform in (lambda: torch.func.jvp(head, (x,), (x,)), lambda: torch.func.vmap(head)(x[None])):
        with pytest.raises(RuntimeError, match="backend='reference' does"):
            transform()


@pytest.mark.parametrize("head_class", HEADS)
def test_training_keeps_the_features_and_the_parameters_alone(head_class, backend, device):
    head = make(head_class, backend=backend, device=device)
    x = torch.randn(4, 5, 6, 6, device=device, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.data_ptr()) or t, lambda t: t):
        head(x)
    assert set(kept) <= {x.data_ptr(), *(p.data_ptr() for p in head.parameters())}


def call_nerdm(**changes):
    arguments = {
        "x": torch.randn(2, 3, 4, 5),
        "classifier": torch.randn(2, 3),
        "weights": [torch.randn(8, 4), torch.randn(6, 8)],
        "biases": [torch.randn(8), torch.randn(6)],
        "bias": torch.randn(2),
    }
    return functional.nerdm(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": [1.0]}, TypeError, r"x: .*list"),
        ({"x": torch.ones(2, 3, 4, 5, dtype=torch.int64)}, TypeError, r"x: .*int64"),
        ({"x": torch.randn(3, 4, 5)}, ValueError, r"x: .*3 dimensions"),
        ({"x": torch.randn(2, 4, 4, 5)}, ValueError, r"x: expected 3 channels.*got 4"),
        ({"x": torch.randn(2, 3, 0, 5)}, ValueError, r"x: .*at least 1"),
        ({"x": torch.randn(2, 3, 4, 5, 6)}, ValueError, r"x: expected \(B, C, H, W\), got 5"),
        ({"weights": [torch.randn(8, 5), torch.randn(6, 8)]}, ValueError, r"weights\[0\]: expected 4 inputs"),
        ({"classifier": torch.randn(3)}, ValueError, r"classifier: .*\(K, C\)"),
        ({"weights": [torch.randn(6, 4)], "biases": [torch.randn(6)]}, ValueError, "at least 2"),
        ({"weights": [torch.randn(8, 4), torch.randn(5, 8)]}, ValueError, r"biases\[1\]"),
        (
            {"weights": [torch.randn(8, 4), torch.randn(5, 8)], "biases": [torch.randn(8), torch.randn(5)]},
            ValueError,
            r"weights\[1\]: expected 6 outputs.*got 5",
        ),
        ({"bias": torch.randn(3)}, ValueError, r"bias: expected shape \(2,\)"),
        ({"bias": torch.randn(2, dtype=torch.float64)}, TypeError, "bias: .*float64"),
        ({"classifier": torch.randn(2, 3, device="meta")}, ValueError, "classifier: .*meta"),
        ({"x": torch.randn(2, 3, 4, 5, dtype=torch.float64)}, TypeError, "classifier: expected torch.float64"),
        ({"classifier": None}, TypeError, "classifier: expected a tensor, got NoneType"),
        ({"weights": torch.nn.ParameterList()}, TypeError, "weights: expected a list of tensors, .* got ParameterList"),
        ({"biases": [None, None]}, TypeError, r"biases\[0\]: expected a tensor, got NoneType"),
        ({"bias": 0.0}, TypeError, "bias: expected a tensor, got float"),
        ({"activation": "gelu"}, ValueError, "activation: .*relu.*gelu"),
        ({"backend": "cuda"}, ValueError, "backend: .*triton.*cuda"),
        ({"precision": "fp32"}, ValueError, "precision: .*ieee.*fp32"),
        ({"distance_scale": -1}, ValueError, "distance_scale"),
        ({"origin": (1, 1), "extent": (4, 5)}, ValueError, "origin: .*outside"),
        ({"origin": (0, 0, 0)}, ValueError, "origin: expected 2 whole numbers"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(changes, error, message):
    with pytest.raises(error, match=message):
        call_nerdm(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"out_channels": 0}, "out_channels"),
        ({"out_channels": 4}, "weights: expected 4 C outputs"),
        ({"x": torch.randn(2, 3, 4, 5)}, r"x: expected 2 channels.*got 3"),
        ({"weights": [], "biases": []}, "weights"),
        ({"weights": [torch.randn(8, 4), torch.tensor(1.0)]}, "weights: expected 3 C outputs"),
        ({"biases": [torch.randn(8)]}, "weights, biases: expected as many"),
    ],
)
def test_nerdc_refuses_what_does_not_fit_by_name(changes, message):
    arguments = {
        "x": torch.randn(2, 2, 4, 5),
        "weights": [torch.randn(8, 4), torch.randn(6, 8)],
        "biases": [torch.randn(8), torch.randn(6)],
        "out_channels": 3,
    }
    functional.nerdc(**arguments)
    with pytest.raises(ValueError, match=message):
        functional.nerdc(**{**arguments, **changes})


def test_nerdc_takes_whole_numbers_of_any_type_as_classes():
    x, weights, biases = (
        torch.randn(2, 2, 4, 5),
        [torch.randn(8, 4), torch.randn(6, 8)],
        [torch.randn(8), torch.randn(6)],
    )
    expected = functional.nerdc(x, weights, biases, out_channels=3)
    assert torch.equal(functional.nerdc(x, weights, biases, out_channels=np.int64(3)), expected)
    with pytest.raises(TypeError, match="out_channels: expected a whole number"):
        functional.nerdc(x, weights, biases, out_channels=3.0)
