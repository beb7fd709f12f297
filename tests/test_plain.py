"""What goes through the equations in plain PyTorch: higher derivatives, transforms, traces, ONNX."""

import io
import warnings

import pytest
import torch
from torch import nn

from nerd_fast import NeRDc, NeRDm, NeRDNorm
from tests.exactness import randomise, results

MODULES = [NeRDm, NeRDc, NeRDNorm]
every = pytest.mark.parametrize("module_class", MODULES)


def make(module_class, spatial_dims=2, **options):
    arguments = (4,) if module_class is NeRDNorm else (4, 3)
    options = {"hidden_channels": (8, 8), "spatial_dims": spatial_dims, **options}
    return randomise(module_class(*arguments, **options | ({} if module_class is NeRDNorm else {"bias": True})))


def twins(module_class, **options):
    """The same parameters on the reference and on the torch backend."""
    plain = make(module_class, backend="reference", **options)
    fast = make(module_class, backend="torch", **options)
    fast.load_state_dict(plain.state_dict())
    return plain, fast


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("window", [{}, {"origin": [(1, 2), (0, 0)], "extent": (9, 9)}])
def test_the_equations_give_the_values_and_gradients_of_the_other_backends(module_class, dtype, window):
    plain, fast = twins(module_class, dtype=torch.float64 if dtype == torch.float64 else None)
    x = torch.randn(2, 4, 5, 6, dtype=dtype)
    grad = torch.randn(2, 4 if module_class is NeRDNorm else 3, 5, 6, dtype=dtype)
    found, expected = (results(lambda module, x: module(x, **window), module, x, grad) for module in (plain, fast))
    tolerance = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float64: 1e-10}[dtype]
    for name, value in expected.items():
        scale = value.abs().max().item()
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance * scale, msg=name)


@every
def test_autocast_leaves_the_calibrator_of_the_equations_in_float32(module_class):
    plain, _ = twins(module_class)
    x = torch.randn(2, 4, 5, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(plain(x), plain(x.clone()))
        inside = plain(x)
    assert torch.equal(inside, plain(x))


@every
def test_a_double_backward_is_that_of_the_equations(module_class):
    module = make(module_class, backend="reference", dtype=torch.float64, activation="tanh", hidden_channels=(8,))
    x = torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(module, (x,))


@every
def test_forward_mode_and_transforms_agree_with_differences_and_loops(module_class):
    module = make(module_class, backend="reference", dtype=torch.float64, activation="tanh")
    x, tangent = torch.randn(2, 2, 4, 3, 5, dtype=torch.float64)
    value, found = torch.func.jvp(module, (x,), (tangent,))
    step = 1e-6
    expected = (module(x + step * tangent) - module(x - step * tangent)) / (2 * step)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(value, module(x))
    stacked = torch.stack([x, tangent])
    looped = torch.stack([module(x), module(tangent)])
    torch.testing.assert_close(torch.func.vmap(module)(stacked), looped)
    parameters = dict(module.named_parameters())

    def loss(parameters, sample):
        return torch.func.functional_call(module, parameters, (sample[None],)).square().sum()

    of_samples = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    for name, parameter in parameters.items():
        for sample, gradient in zip(x, of_samples[name], strict=True):
            torch.testing.assert_close(gradient, torch.autograd.grad(loss(parameters, sample), parameter)[0])


def test_the_equations_compile_in_one_graph():
    torch._dynamo.reset()
    module = make(NeRDm, backend="reference")
    compiled, x = torch.compile(module, fullgraph=True, backend="aot_eager"), torch.randn(2, 4, 5, 6)
    torch.testing.assert_close(compiled(x), module(x))


def test_a_precision_beside_the_equations_is_refused():
    with pytest.raises(ValueError, match=r"precision: backend='reference' is plain PyTorch.*'ieee'"):
        NeRDm(4, backend="reference", precision="ieee")(torch.randn(1, 4, 3, 3))


SIZES = {2: [(1, 5, 6), (5, 5, 6), (3, 9, 1)], 3: [(1, 5, 6, 3), (5, 5, 6, 3), (3, 1, 7, 4)]}


def network(module_class, spatial_dims):
    conv = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
    return nn.Sequential(conv(1, 4, 3, padding=1), nn.ReLU(), make(module_class, spatial_dims)).eval()


def assert_same_at_other_sizes(run, net, spatial_dims):
    for batch, *sizes in SIZES[spatial_dims]:
        x = torch.randn(batch, 1, *sizes)
        torch.testing.assert_close(run(x), net(x).detach(), rtol=1e-4, atol=1e-4)


@every
@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_a_trace_computes_other_batches_and_sizes_too(module_class, spatial_dims):
    net = network(module_class, spatial_dims)
    traced = torch.jit.trace(net, torch.randn(2, 1, *(5, 6, 3)[:spatial_dims]))
    assert "nerd_fast::" not in str(traced.inlined_graph)
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    assert_same_at_other_sizes(torch.jit.load(file), net, spatial_dims)


def test_an_exported_program_keeps_the_operator():
    program = torch.export.export(NeRDm(4), (torch.randn(2, 4, 5, 6),))
    assert "nerd_fast.head_forward" in str(program.graph)


def session(net, x, **options):
    """`net` exported to ONNX and loaded by onnxruntime."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="the ONNX tests need: pip install -e '.[onnx]'")
    pytest.importorskip("onnxscript")
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (x,), file, input_names=["x"], verbose=False, **options)
    loaded = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(loaded.run(None, {"x": x.numpy()})[0])


@pytest.mark.parametrize(
    ("module_class", "spatial_dims", "exporter"),
    [
        pytest.param(NeRDm, 2, "torch.export", marks=pytest.mark.slow),
        pytest.param(NeRDc, 3, "torch.export", marks=pytest.mark.slow),
        (NeRDm, 3, "TorchScript"),
        (NeRDc, 2, "TorchScript"),
        (NeRDNorm, 2, "TorchScript"),
    ],
)
def test_an_onnx_file_computes_what_the_network_does_at_any_batch_and_size(module_class, spatial_dims, exporter):
    net, x = network(module_class, spatial_dims), torch.randn(2, 1, *(5, 6, 3)[:spatial_dims])
    axes = [0, *range(2, x.dim())]
    if exporter == "torch.export":
        dynamic = {"dynamo": True, "dynamic_shapes": (dict.fromkeys(axes, torch.export.Dim.DYNAMIC),)}
    else:
        dynamic = {"dynamo": False, "dynamic_axes": {"x": {axis: f"axis{axis}" for axis in axes}}}
    assert_same_at_other_sizes(session(net, x, **dynamic), net, spatial_dims)
