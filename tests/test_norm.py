"""NeRDNorm and `functional.nerdnorm`, on both backends, against the float64 oracle."""

import copy
import itertools
import pickle

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.library import opcheck

from nerd_fast import NeRDm, NeRDNorm, functional, ops, reference
from tests.exactness import assert_head_as_exact_as_eager, randomise, reference_logits
from tests.test_functional import LAYOUTS


def make(channels=5, backend="torch", device="cpu", **options):
    return randomise(NeRDNorm(channels, backend=backend, device=device, **options))


def linears(norm):
    layers = norm.calibrator[::2]
    return [layer.weight for layer in layers], [layer.bias for layer in layers]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("spatial", [(1, 1), (15, 17), (3, 4, 5)])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_values_and_gradients_are_as_exact_as_eager(dtype, spatial, layout, backend, device):
    norm = make(backend=backend, device=device, spatial_dims=len(spatial))
    x = LAYOUTS[layout](torch.randn(3, 5, *spatial, dtype=dtype, device=device))
    assert_head_as_exact_as_eager(norm, x)


@pytest.mark.parametrize(
    ("activation", "hidden_channels"), [("leaky_relu", (8,)), ("silu", (17, 32, 9)), ("tanh", (8, 8, 8, 8))]
)
def test_every_calibrator_is_as_exact_as_eager(activation, hidden_channels, backend, device):
    norm = make(backend=backend, device=device, activation=activation, hidden_channels=hidden_channels)
    assert_head_as_exact_as_eager(norm, torch.randn(2, 5, 6, 7, device=device))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_changes_no_value(layout, backend, device):
    norm, x = make(backend=backend, device=device), torch.randn(2, 5, 6, 8, device=device)
    ours = assert_head_as_exact_as_eager(norm, LAYOUTS[layout](x))
    torch.testing.assert_close(ours["logits"], norm(x).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_results_come_in_the_memory_format_of_the_features(layout, backend, device):
    x = LAYOUTS[layout](torch.randn(2, 5, 6, 8, dtype=torch.bfloat16, device=device)).requires_grad_()
    y = make(backend=backend, device=device)(x)
    y.sum().backward()
    assert (y.dtype, y.stride()) == (x.dtype, x.stride())
    assert (x.grad.dtype, x.grad.stride()) == (x.dtype, x.stride())


@pytest.mark.parametrize("scale", ["extent", 0.01])
def test_a_window_computes_what_the_whole_image_computes_there(scale, backend, device):
    norm = make(backend=backend, device=device, distance_scale=scale)
    window = {"origin": (2, 3), "extent": (11, 13)}
    assert_head_as_exact_as_eager(norm, torch.randn(2, 5, 4, 6, device=device), **window)
    whole = torch.randn(1, 5, 11, 13, device=device)
    part = norm(whole[..., 2:6, 3:9], **window)
    torch.testing.assert_close(part, norm(whole)[..., 2:6, 3:9], rtol=1e-5, atol=1e-5)


def test_only_the_gradients_asked_for_are_computed_and_each_is_right(backend, device):
    norm = make(backend=backend, device=device, hidden_channels=(8,))
    x, grad = torch.randn(2, 5, 3, 4, device=device), torch.randn(2, 5, 3, 4, device=device)
    tensors = [x, *norm.parameters()]

    def gradients(wanted):
        for tensor, want in zip(tensors, wanted, strict=True):
            tensor.grad = None
            tensor.requires_grad_(want)
        if any(wanted):
            norm(x).backward(grad)
        return [tensor.grad for tensor in tensors]

    everything = gradients([True] * len(tensors))
    alone = [[i == only for i in range(len(tensors))] for only in range(len(tensors))]
    all_but_one = [[not want for want in wanted] for wanted in alone]
    for wanted in [*alone, *all_but_one, [False] * len(tensors)]:
        for gradient, want, whole in zip(gradients(wanted), wanted, everything, strict=True):
            assert (gradient is not None) == want
            assert not want or torch.equal(gradient, whole)


@pytest.mark.parametrize(
    "consumer", [torch.sum, lambda y: (y[..., ::2] ** 2).sum(), lambda y: (y.mT**2).cumsum(0).sum()]
)
def test_gradients_with_odd_strides_are_read_right(consumer, backend, device):
    norm, x = make(backend=backend, device=device), torch.randn(2, 5, 4, 6, device=device, requires_grad=True)
    inputs = [x, *norm.parameters()]
    ours = torch.autograd.grad(consumer(norm(x)), inputs)
    for gradient, oracle in zip(ours, torch.autograd.grad(consumer(reference_logits(norm, x)), inputs), strict=True):
        torch.testing.assert_close(gradient, oracle, rtol=1e-4, atol=1e-4 * oracle.abs().max().item())


def test_an_empty_batch_gives_empty_features_and_zero_gradients(backend, device):
    norm, x = make(backend=backend, device=device), torch.randn(0, 5, 4, 6, device=device, requires_grad=True)
    y = norm(x)
    y.sum().backward()
    assert y.shape == x.grad.shape == x.shape
    assert not any(p.grad.count_nonzero() for p in norm.parameters())


def test_a_nan_stays_in_its_feature(backend, device):
    norm, x = make(backend=backend, device=device), torch.randn(2, 5, 5, 7, device=device)
    x[1, 2, 3, 4] = torch.nan
    x.requires_grad_()
    y = norm(x)
    assert torch.equal(y.isnan(), x.isnan())
    y.sum().backward()
    assert not x.grad.isnan().any()


def test_the_same_inputs_give_the_same_bits(backend, device, poisoned_empty):
    norm, x = make(backend=backend, device=device), torch.randn(3, 5, 9, 11, device=device, requires_grad=True)
    runs = []
    for _ in range(2):
        y = norm(x)
        runs.append([y, *torch.autograd.grad((y**2).sum(), [x, *norm.parameters()])])
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


def test_training_keeps_the_features_and_the_parameters_alone(backend, device):
    norm, x = make(backend=backend, device=device), torch.randn(4, 5, 6, 6, device=device, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.data_ptr()) or t, lambda t: t):
        norm(x)
    assert set(kept) <= {x.data_ptr(), *(p.data_ptr() for p in norm.parameters())}


def test_a_double_backward_raises(backend, device):
    norm, x = make(backend=backend, device=device), torch.randn(1, 5, 3, 3, device=device, requires_grad=True)
    (gradient,) = torch.autograd.grad((norm(x) ** 2).sum() + (x**3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(gradient.sum(), x)


def test_half_precision_parameters_get_gradients_of_their_dtype(backend, device):
    norm = make(backend=backend, device=device).half()
    norm(torch.randn(2, 5, 4, 4, dtype=torch.float16, device=device)).sum().backward()
    assert all(p.grad.dtype == torch.float16 and p.grad.stride() == p.stride() for p in norm.parameters())


@pytest.mark.parametrize("case", [{}, {"dtype": torch.bfloat16}, {"channels_last": True}, {"batch": 0}], ids=str)
def test_the_operators_are_registered_right(case, backend):
    norm = make(3, hidden_channels=(8,)).requires_grad_(False)
    x = torch.randn(case.get("batch", 2), 3, 4, 5, dtype=case.get("dtype", torch.float32))
    x = LAYOUTS["channels_last" if case.get("channels_last") else "contiguous"](x)
    arguments = (x, *linears(norm), "relu", None, [0, 0], [4, 5], backend, None)
    opcheck(ops.norm_forward, arguments)
    opcheck(ops.norm_backward, (torch.randn_like(x), *arguments, [True] * 5))
    opcheck(ops.norm_backward, (torch.randn_like(x), *arguments, [False, True, False, False, False]))


def test_gradcheck_in_float64():
    norm = make(3, hidden_channels=(8,), activation="tanh", dtype=torch.float64)
    x = torch.randn(2, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in norm.named_parameters()]

    def normalised(x, *values):
        return torch.func.functional_call(norm, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(normalised, (x, *(p.detach().requires_grad_() for p in norm.parameters())))


@pytest.mark.parametrize("spatial", [(5, 6), (3, 4, 5)])
def test_a_fresh_norm_is_the_identity_and_training_moves_it(spatial):
    norm = NeRDNorm(4, spatial_dims=len(spatial))
    x = torch.randn(2, 4, *spatial)
    assert torch.equal(norm(x), x)
    (norm(x) * torch.arange(float(spatial[-1]))).sum().backward()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter -= 1e-4 * parameter.grad
    assert not torch.equal(norm(x), x)


def test_a_norm_and_a_convolution_are_a_nerdm_head():
    head = randomise(NeRDm(4, 3))
    norm = NeRDNorm(4)
    norm.calibrator.load_state_dict(head.calibrator.state_dict())
    x = torch.randn(2, 4, 6, 7)
    logits = nn.functional.conv2d(norm(x), head.classifier[:, :, None, None])
    torch.testing.assert_close(logits, head(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(norm.calibration((6, 7)), head.calibration((6, 7)))


def test_the_reference_is_the_equation_at_every_pixel():
    norm = randomise(NeRDNorm(3, spatial_dims=3, dtype=torch.float64))
    x = torch.randn(2, 3, 2, 3, 4, dtype=torch.float64)
    y, f = reference.nerdnorm(x, *linears(norm)), norm.calibration((2, 3, 4))
    for k, i, j in itertools.product(range(2), range(3), range(4)):
        a, b = f[:, k, i, j].chunk(2)
        torch.testing.assert_close(y[:, :, k, i, j], x[:, :, k, i, j] * a + b)


def test_state_dict_and_copies():
    norm = randomise(NeRDNorm(4, hidden_channels=(8,)))
    assert set(norm.state_dict()) == {f"calibrator.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")}
    x = torch.randn(1, 4, 3, 3)
    for copied in (copy.deepcopy(norm), pickle.loads(pickle.dumps(norm))):
        assert torch.equal(copied(x), norm(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_leaves_the_calibrator_in_float32(dtype):
    norm, x = make(4), torch.randn(2, 4, 5, 6)
    with torch.autocast("cpu", dtype=dtype):
        inside, half = norm(x), norm(x.to(dtype))
    assert torch.equal(inside, norm(x))
    assert torch.equal(half, norm(x.to(dtype)))
    assert half.dtype == dtype


def test_one_graph_serves_every_size_and_gives_eagers_bits():
    torch._dynamo.reset()
    norm = make(4, hidden_channels=(8,))
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(norm, fullgraph=True, backend=counter, dynamic=True)

    def results(module, x):
        x = x.detach().requires_grad_()
        y = module(x)
        return [y, *torch.autograd.grad((y**2).sum(), [x, *norm.parameters()])]

    for b, h, w in [(2, 8, 10), (3, 9, 12), (5, 7, 16)]:
        x = torch.randn(b, 4, h, w)
        assert all(map(torch.equal, results(compiled, x), results(norm, x)))
    assert counter.frame_count == 1


def test_an_exported_norm_takes_every_batch_and_image_size(tmp_path):
    norm = make(4)
    sizes = {0: torch.export.Dim("B"), 2: torch.export.Dim("H"), 3: torch.export.Dim("W")}
    program = torch.export.export(norm, (torch.randn(2, 4, 5, 6),), dynamic_shapes={"x": sizes})
    torch.export.save(program, tmp_path / "norm.pt2")
    loaded, x = torch.export.load(tmp_path / "norm.pt2").module(), torch.randn(3, 4, 9, 4)
    assert torch.equal(loaded(x), norm(x))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0,), {}, "channels: expected a whole number"),
        ((4,), {"spatial_dims": 1}, "spatial_dims"),
        ((4,), {"hidden_channels": ()}, "hidden_channels"),
        ((4,), {"activation": "gelu"}, "activation"),
        ((4,), {"backend": "cuda"}, "backend"),
        ((4,), {"precision": "half"}, "precision"),
        ((4,), {"distance_scale": "pixel"}, "distance_scale"),
    ],
)
def test_the_constructor_refuses_what_no_norm_can_be(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        NeRDNorm(*arguments, **options)


@pytest.mark.parametrize("channels", [True, 4.0, "4", [4]])
def test_a_number_of_channels_that_is_no_whole_number_is_refused(channels):
    with pytest.raises(TypeError, match=r"channels: expected a whole number of at least 1.*, got"):
        NeRDNorm(channels)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": torch.randn(2, 4, 4, 5)}, ValueError, "x: expected 3 channels.*got 4"),
        ({"x": torch.randn(2, 3, 4, 5, 6)}, ValueError, r"x: expected \(B, C, H, W\), got 5"),
        ({"x": torch.ones(2, 3, 4, 5, dtype=torch.int64)}, TypeError, "x: .*int64"),
        ({"weights": [torch.randn(8, 4), torch.randn(5, 8)]}, ValueError, "weights: expected 2 C outputs.*got 5"),
        ({"weights": [], "biases": []}, ValueError, "weights: expected 2 C outputs.*got 0"),
        ({"weights": [torch.randn(8, 4), torch.tensor(1.0)]}, ValueError, "weights: expected 2 C outputs.*got 0"),
        ({"biases": [torch.randn(8)]}, ValueError, "weights, biases: expected as many"),
        ({"x": torch.randn(2, 3, 4, 5).double()}, TypeError, "weights: expected torch.float64"),
        ({"activation": "gelu"}, ValueError, "activation"),
        ({"backend": "cuda"}, ValueError, "backend"),
        ({"origin": (1, 1), "extent": (4, 5)}, ValueError, "origin: .*outside"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(changes, error, message):
    arguments = {
        "x": torch.randn(2, 3, 4, 5),
        "weights": [torch.randn(8, 4), torch.randn(6, 8)],
        "biases": [torch.randn(8), torch.randn(6)],
    }
    functional.nerdnorm(**arguments)
    with pytest.raises(error, match=message):
        functional.nerdnorm(**{**arguments, **changes})
