"""One window for a batch, or one for each of its samples."""

import numpy as np
import pytest
import torch

from nerd_fast import NeRDc, NeRDm, NeRDNorm, boundary_distances
from nerd_fast.windows import apply_in_windows
from tests.exactness import randomise

MODULES = {
    "NeRDm": lambda **options: randomise(NeRDm(5, 2, bias=True, hidden_channels=(8,), **options)),
    "NeRDc": lambda **options: randomise(NeRDc(5, 2, bias=True, hidden_channels=(8,), **options)),
    "NeRDNorm": lambda **options: randomise(NeRDNorm(5, hidden_channels=(8,), **options)),
}
ORIGINS = [(0, 0), (2, 3), (0, 0), (7, 1)]
EXTENTS = [(20, 21), (20, 21), (20, 21), (11, 30)]


def each_alone(module, x, origins, extents):
    calls = zip(x.split(1), origins, extents, strict=True)
    return torch.cat([module(sample, origin=origin, extent=extent) for sample, origin, extent in calls])


def results(run, module, x, grad):
    x = x.detach().requires_grad_()
    y = run(x)
    return [y, *torch.autograd.grad(y, [x, *module.parameters()], grad)]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_window_for_each_sample_gives_the_values_and_gradients_of_separate_calls(name, layout, backend, device):
    module = MODULES[name](backend=backend, device=device)
    x = torch.randn(4, 5, 4, 6, device=device).contiguous(memory_format=layout)
    grad = torch.randn(4, 5 if name == "NeRDNorm" else 2, 4, 6, device=device)
    together = results(lambda x: module(x, origin=ORIGINS, extent=EXTENTS), module, x, grad)
    apart = results(lambda x: each_alone(module, x, ORIGINS, EXTENTS), module, x, grad)
    assert torch.equal(together[0], apart[0])
    assert together[0].is_contiguous(memory_format=layout)
    for ours, theirs in zip(together, apart, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODULES)
def test_one_origin_in_images_of_several_sizes_and_the_reverse(name):
    module, x = MODULES[name](), torch.randn(4, 5, 4, 6)
    for origins, extents in (((0, 1), EXTENTS), (ORIGINS, (30, 30)), (ORIGINS, None)):
        whole = [tuple(o + s for o, s in zip(origin, (4, 6), strict=True)) for origin in ORIGINS]
        each = (
            [origins] * 4 if isinstance(origins, tuple) else origins,
            whole if extents is None else [extents] * 4 if isinstance(extents, tuple) else extents,
        )
        assert torch.equal(module(x, origin=origins, extent=extents), each_alone(module, x, *each))


def test_positions_come_as_lists_tensors_and_arrays_in_three_dimensions_too():
    head, x = randomise(NeRDm(3, 2, spatial_dims=3)), torch.randn(2, 3, 2, 3, 4)
    positions, extent = [(0, 1, 2), (3, 0, 1)], (6, 7, 8)
    expected = each_alone(head, x, positions, [extent] * 2)
    for kind in (list, torch.tensor, np.array, lambda p: [list(q) for q in p], lambda p: [torch.tensor(q) for q in p]):
        assert torch.equal(head(x, origin=kind(positions), extent=kind([extent] * 2)), expected)
        assert torch.equal(head(x, origin=kind(positions), extent=extent), expected)
    alone = head(x, origin=(0, 1, 2), extent=extent)
    assert torch.equal(head(x, origin=torch.tensor([0, 1, 2]), extent=np.array(extent)), alone)


@pytest.mark.parametrize(
    ("origins", "batches"),
    [
        ([(1, 1)] * 4, [4]),
        ((1, 1), [4]),
        ([(1, 1), (1, 1), (0, 0), (0, 0)], [2, 2]),
        ([(1, 1), (0, 0), (1, 1), (2, 2)], [2, 1, 1]),
        ([(1, 1), (0, 0), (0, 0), (1, 1)], [2, 2]),
    ],
)
def test_samples_of_equal_windows_are_one_call_and_come_back_in_their_places(origins, batches):
    x, seen = torch.randn(4, 2, 3, 3), []

    def apply(x, origin, extent):
        seen.append(len(x))
        return x + 100 * origin[0]

    result = apply_in_windows(apply, x, origins, (9, 9))
    assert seen == batches
    of_samples = [origins] * 4 if isinstance(origins, tuple) else origins
    assert torch.equal(result, x + torch.tensor([100.0 * origin[0] for origin in of_samples]).view(4, 1, 1, 1))


def test_features_of_neighbouring_samples_are_not_copied():
    x, pointers = torch.randn(4, 2, 3, 3), []

    def apply(x, origin, extent):
        pointers.append(x.data_ptr())
        return x.clone()

    apply_in_windows(apply, x, [(0, 0), (1, 1), (1, 1), (2, 2)], (9, 9))
    assert pointers == [x[sample].data_ptr() for sample in (0, 1, 3)]


def test_an_empty_batch_has_no_windows():
    head, x = NeRDm(5, 2), torch.randn(0, 5, 4, 6)
    for none in ([], torch.zeros(0, 2, dtype=torch.int64)):
        assert head(x, origin=none).shape == (0, 2, 4, 6)


def test_windows_of_samples_go_through_one_graph():
    module, x = MODULES["NeRDm"](backend="torch"), torch.randn(3, 5, 4, 6)
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for origins in ([(0, 0), (2, 3), (0, 0)], [(1, 0), (2, 2), (5, 5)], [(4, 4)] * 3):
        arguments = {"origin": origins, "extent": (20, 21)}
        assert torch.equal(compiled(x, **arguments), module(x, **arguments))
    with pytest.raises(Exception, match=r"values of a tensor are not known.*origin\.tolist"):
        compiled(x, origin=torch.tensor(origins), extent=(20, 21))


EXPECTED = r"expected one position \(r, c\) for the whole batch, or one for each of the 3 samples of x"


@pytest.mark.parametrize(
    ("window", "error", "message"),
    [
        ({"origin": [(0, 0), (32, 32)]}, ValueError, f"origin: {EXPECTED}.*got 2 positions"),
        ({"extent": [(64, 64)] * 4}, ValueError, f"extent: {EXPECTED}.*got 4 positions"),
        ({"origin": torch.zeros(2, 2, dtype=torch.int64)}, ValueError, f"origin: {EXPECTED}.*got 2 positions"),
        ({"origin": 5}, TypeError, f"origin: {EXPECTED}.*got 5"),
        ({"origin": torch.tensor(5)}, TypeError, f"origin: {EXPECTED}.*got 5"),
        ({"origin": [(0, 0), 3, (1, 1)]}, TypeError, f"origin: {EXPECTED}"),
        ({"origin": "ab"}, TypeError, f"origin: {EXPECTED}"),
        ({"origin": (1.5, 2)}, TypeError, r"origin: expected 2 whole numbers, .*, got \(1.5, 2\)"),
        ({"origin": (2**70, 2)}, ValueError, r"origin: .* at most 2\^62 pixels"),
        ({"extent": (True, 9)}, TypeError, r"extent: expected 2 whole numbers, .*, got \(True, 9\)"),
        ({"origin": torch.zeros(3, 2)}, TypeError, r"origin\[0\]: expected 2 whole numbers"),
        (
            {"origin": [(0, 0), (0,), (0, 0)]},
            ValueError,
            r"origin\[1\]: expected 2 whole numbers, one per spatial axis, got 1",
        ),
        ({"origin": [(0, 0), (0, 0), (9, 0)], "extent": (10, 10)}, ValueError, r"origin\[2\]: the window \[9, 13\)"),
    ],
)
def test_what_is_no_position_for_the_batch_and_none_for_its_samples_is_refused(window, error, message):
    for make in MODULES.values():
        with pytest.raises(error, match=message):
            make()(torch.randn(3, 5, 4, 6), **window)


def test_a_map_to_look_at_has_one_window():
    for look in (NeRDm(5).calibration, NeRDm(5).position_map, boundary_distances):
        with pytest.raises(TypeError, match="origin: expected 2 whole numbers, one per spatial axis"):
            look((4, 6), origin=[(0, 0), (1, 1)])
