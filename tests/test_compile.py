"""The heads under `torch.compile` and `torch.export`: eager's bits, no more graphs than a convolution needs."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from nerd_fast import NeRDc, NeRDm, functional

HEADS = [NeRDm, NeRDc]
SIZES = [(2, 8, 10), (3, 9, 12), (5, 7, 16), (1, 8, 9)]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def trained(head_class, spatial_dims=2, **options):
    """A head whose calibrator varies with the position."""
    torch.manual_seed(0)
    head = head_class(4, 2, spatial_dims=spatial_dims, hidden_channels=(8, 8), bias=True, **options)
    nn.init.normal_(head.calibrator[-1].weight)
    return head


def results(module, parameters, x, *arguments, **options):
    """Logits and the gradients of x and the parameters, for a gradient of logits drawn from a fixed seed."""
    x = x.detach().requires_grad_()
    logits = module(x, *arguments, **options)
    grad = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)).to(logits.dtype)
    return [logits, *torch.autograd.grad(logits, [x, *parameters], grad)]


def same_bits(module, compiled, *arguments, **options):
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    eager, traced = (results(run, parameters, *arguments, **options) for run in (module, compiled))
    return all(map(torch.equal, eager, traced))


def compiled_with_counter(module, **options):
    counter = CompileCounterWithBackend("aot_eager")
    return torch.compile(module, fullgraph=True, backend=counter, **options), counter


def graphs(module, inputs, **options):
    """How many graphs a module needs for a sequence of inputs."""
    torch._dynamo.reset()
    compiled, counter = compiled_with_counter(module, **options)
    for x in inputs:
        compiled(x).sum().backward()
    return counter.frame_count


@pytest.mark.parametrize("head_class", HEADS)
def test_every_size_gives_eagers_bits(head_class):
    head = trained(head_class)
    compiled, _ = compiled_with_counter(head, dynamic=True)
    assert all(same_bits(head, compiled, torch.randn(b, 4, h, w)) for b, h, w in [*SIZES, (2, 1, 5), (0, 4, 5)])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("head_class", HEADS)
def test_a_head_recompiles_no_more_often_than_the_convolution(head_class, memory_format):
    inputs = [torch.randn(b, 4, h, w).to(memory_format=memory_format) for b, h, w in SIZES]
    assert graphs(trained(head_class), inputs) <= graphs(nn.Conv2d(4, 2, 1), inputs)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("head_class", HEADS)
def test_one_graph_serves_every_batch_and_image_size_marked_dynamic(head_class, spatial_dims):
    head = trained(head_class, spatial_dims)
    compiled, counter = compiled_with_counter(head)
    for size in (5, 8, 6, 13):
        x = torch.randn(size // 2, 4, *range(size, size + spatial_dims))
        for axis in (0, *range(2, x.dim())):
            torch._dynamo.mark_dynamic(x, axis)
        with torch.no_grad():
            assert torch.equal(compiled(x), head(x))
    assert counter.frame_count == 1


@pytest.mark.parametrize("head_class", HEADS)
def test_one_graph_serves_every_window_of_every_image(head_class):
    head = trained(head_class)
    compiled, counter = compiled_with_counter(head, dynamic=True)
    for origin, extent in [((2, 3), (20, 30)), ((5, 4), (20, 30)), ((7, 2), (44, 21))]:
        assert same_bits(head, compiled, torch.randn(2, 4, 8, 9), origin=origin, extent=extent)
    assert counter.frame_count == 1


@pytest.mark.parametrize("head_class", HEADS)
def test_a_window_outside_the_image_is_refused_in_a_graph_too(head_class):
    compiled, _ = compiled_with_counter(trained(head_class), dynamic=True)
    with pytest.raises(Exception, match="outside an image"):
        compiled(torch.randn(1, 4, 8, 9), origin=(15, 0), extent=(20, 30))


@pytest.mark.parametrize("head_class", HEADS)
def test_a_network_around_the_head_stays_one_graph(head_class):
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), trained(head_class), nn.Sigmoid())
    compiled, counter = compiled_with_counter(network, dynamic=True)
    for b, h, w in [(2, 8, 10), (3, 9, 12)]:
        assert same_bits(network, compiled, torch.randn(b, 1, h, w))
    assert counter.frame_count == 1


@pytest.mark.parametrize("head_class", HEADS)
def test_a_frozen_head_and_one_without_bias_compile(head_class):
    head = trained(head_class).requires_grad_(False)
    head.bias = None
    compiled, _ = compiled_with_counter(head)
    assert same_bits(head, compiled, torch.randn(2, 4, 6, 7))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("head_class", HEADS)
def test_autocast_around_and_inside_a_graph_gives_eagers_bits(head_class, dtype):
    network = nn.Sequential(nn.Conv2d(1, 4, 1), trained(head_class))

    def under_autocast(x):
        with torch.autocast("cpu", dtype):
            return network(x)

    x, parameters = torch.randn(2, 1, 6, 7), list(network.parameters())
    expected = results(under_autocast, parameters, x)
    assert expected[0].dtype == dtype
    inside, _ = compiled_with_counter(under_autocast)
    assert all(map(torch.equal, results(inside, parameters, x), expected))
    around, _ = compiled_with_counter(network)
    with torch.autocast("cpu", dtype):
        assert all(map(torch.equal, results(around, parameters, x), expected))


def test_a_position_map_compiles():
    head = trained(NeRDm)
    compiled, counter = compiled_with_counter(functional.apply_position_map, dynamic=True)
    for size in ((6, 7), (9, 5)):
        weight, beta = (tensor.detach().requires_grad_() for tensor in head.position_map(size))
        x = torch.randn(2, 4, *size)
        eager = results(functional.apply_position_map, [weight, beta], x, weight, beta)
        assert all(map(torch.equal, results(compiled, [weight, beta], x, weight, beta), eager))
    assert counter.frame_count == 1


@pytest.mark.slow
@pytest.mark.parametrize("head_class", HEADS)
def test_inductor_computes_what_eager_computes(head_class):
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), trained(head_class), nn.Sigmoid())
    compiled = torch.compile(network, fullgraph=True, dynamic=True)
    for b, h, w in [(2, 8, 10), (3, 9, 12)]:
        x, parameters = torch.randn(b, 1, h, w), list(network.parameters())
        torch.testing.assert_close(results(compiled, parameters, x), results(network, parameters, x))


def exported(head, spatial_dims):
    dim = torch.export.Dim
    names = ("D", "H", "W")[-spatial_dims:]
    sizes = {0: dim("B", min=1), **{2 + axis: dim(name, min=1) for axis, name in enumerate(names)}}
    example = torch.randn(2, 4, *(5, 6, 7)[:spatial_dims])
    return torch.export.export(head, (example,), dynamic_shapes={"x": sizes})


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("head_class", HEADS)
def test_an_exported_head_takes_every_batch_and_image_size(head_class, spatial_dims, tmp_path):
    head = trained(head_class, spatial_dims)
    torch.export.save(exported(head, spatial_dims), tmp_path / "head.pt2")
    loaded = torch.export.load(tmp_path / "head.pt2").module()
    for sizes in ((1, 9, 4, 6), (5, 16, 16, 3)):
        x = torch.randn(sizes[0], 4, *sizes[1 : 1 + spatial_dims])
        assert torch.equal(loaded(x), head(x))


def test_a_gradient_of_an_exported_head_is_warned_about():
    program, x = exported(trained(NeRDm), 2).module(), torch.randn(2, 4, 5, 6, requires_grad=True)
    with pytest.warns(UserWarning, match="nerd_fast::head_forward: an autograd kernel was not registered"):
        program(x).sum().backward()
    assert x.grad is None


def test_an_exported_head_runs_in_another_process(tmp_path):
    head, x = trained(NeRDm), torch.randn(3, 4, 9, 5)
    torch.export.save(exported(head, 2), tmp_path / "head.pt2")
    torch.save((x, head(x).detach()), tmp_path / "expected.pt")
    script = (
        "import torch, nerd_fast.ops; x, logits = torch.load('expected.pt'); "
        "assert torch.equal(torch.export.load('head.pt2').module()(x), logits)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
