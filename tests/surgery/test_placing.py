"""`placed`: every head inside of a network sees the window that the network is given, on its own grid."""

import copy
import pickle
import threading

import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn

import nerd_fast
from nerd_fast import NeRDc, NeRDm, NeRDNorm, placed
from tests.exactness import randomise

HEADS = [NeRDm, NeRDc]
both = pytest.mark.parametrize("head_class", HEADS)


class Pointwise(nn.Module):
    """A network that sees one pixel at a time, at two resolutions: in a window it computes what it does in the image.

    In 3-D the lower resolution halves height and width alone, as networks for thick slices do.
    """

    def __init__(self, head_class, dims=2):
        super().__init__()
        conv, self.pool = (nn.Conv2d, nn.AvgPool2d(4)) if dims == 2 else (nn.Conv3d, nn.AvgPool3d((1, 2, 2)))
        self.body, self.out = conv(1, 4, 1), randomise(head_class(4, 2, spatial_dims=dims, hidden_channels=(8,)))
        self.norm = randomise(NeRDNorm(4, spatial_dims=dims, hidden_channels=(8,)))
        self.low = randomise(head_class(4, 3, spatial_dims=dims, hidden_channels=(8,)))

    def forward(self, image):
        features = self.body(image)
        return self.out(self.norm(features)), self.low(self.pool(features))


def assert_window(found, whole, origin, sizes):
    places = tuple(slice(start, start + size) for start, size in zip(origin, sizes, strict=True))
    torch.testing.assert_close(found, whole[(..., *places)], rtol=1e-5, atol=1e-5)


@both
def test_every_head_and_norm_sees_its_window_on_the_grid_of_its_own_resolution(head_class):
    net, image = Pointwise(head_class), torch.randn(2, 1, 32, 24)
    high, low = net(image)
    with placed(net, (8, 4), (32, 24)) as within:
        found = within(image[..., 8:24, 4:20])
    assert_window(found[0], high, (8, 4), (16, 16))
    assert_window(found[1], low, (2, 1), (4, 4))
    assert torch.equal(net(image)[0], high)
    assert not (found[0] - net(image[..., 8:24, 4:20])[0]).abs().max() < 1e-3


@both
def test_resolutions_that_differ_by_axis_and_windows_that_differ_by_sample(head_class):
    net, image = Pointwise(head_class, 3), torch.randn(2, 1, 5, 8, 12)
    high, low = net(image)
    origins = torch.tensor([(1, 2, 4), (3, 0, 8)])
    windows = [image[i, :, d : d + 2, r : r + 4, c : c + 4] for i, (d, r, c) in enumerate(origins.tolist())]
    with placed(net, origins, (5, 8, 12)):
        found = net(torch.stack(windows))
    for sample, (d, r, c) in enumerate(origins.tolist()):
        assert_window(found[0][sample], high[sample], (d, r, c), (2, 4, 4))
        assert_window(found[1][sample], low[sample], (d, r // 2, c // 2), (2, 2, 2))


@both
def test_gradients_are_those_of_the_window_in_the_image(head_class):
    net, image = Pointwise(head_class).out, torch.randn(1, 4, 8, 8)
    with placed(net, (2, 3), (8, 8)):
        net(image[..., 2:6, 3:7]).square().sum().backward()
    gradients = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    net(image)[..., 2:6, 3:7].square().sum().backward()
    for found, parameter in zip(gradients, net.parameters(), strict=True):
        torch.testing.assert_close(found, parameter.grad, rtol=1e-4, atol=1e-4)


def test_an_exception_ends_the_window_and_an_inner_one_gives_way_to_the_outer():
    net, x = Pointwise(NeRDm), torch.randn(1, 1, 16, 16)
    outside = net(x)[0]
    with placed(net, (4, 4), (32, 32)):
        outer = net(x)[0]
        with placed(net, (8, 8), (32, 32)):
            inner = net(x)[0]
        assert torch.equal(net(x)[0], outer)
        with pytest.raises(ZeroDivisionError), placed(net, (8, 8), (32, 32)):
            raise ZeroDivisionError
        with pytest.raises(RuntimeError, match="channels"):
            net(torch.randn(1, 3, 16, 16))  # the network fails: its call is over all the same
        assert torch.equal(net(x)[0], outer)
    assert not torch.equal(inner, outer)
    assert torch.equal(net(x)[0], outside)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_made_within_sees_no_window(copied):
    net, x = Pointwise(NeRDm), torch.randn(1, 1, 16, 16)
    outside = net(x)[0]
    with placed(net, (8, 8), (32, 32)):
        twin = copied(net)
        assert torch.equal(twin(x)[0], outside)
        assert not torch.equal(net(x)[0], outside)
    assert torch.equal(twin(x)[0], outside)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(twin, backend="eager")(x)[0], outside)
    with placed(twin, (8, 8), (32, 32)):
        assert not torch.equal(twin(x)[0], outside)


def test_a_trace_within_is_refused():
    net, x = Pointwise(NeRDm), torch.randn(1, 1, 16, 16)
    with placed(net, (8, 8), (32, 32)), pytest.raises(RuntimeError, match="not traced within"):
        torch.jit.trace(net, (x,))


def test_threads_do_not_see_each_others_windows():
    net, x = Pointwise(NeRDm), torch.randn(1, 1, 16, 16)
    alone = net(x)[0]
    with placed(net, (8, 8), (32, 32)):
        expected = net(x)[0]
    inside, other_is_done, found = threading.Event(), threading.Event(), {}

    def in_the_image():
        inside.wait()
        found["other"] = net(x)[0]
        with placed(net, (8, 8), (32, 32)):
            found["placed"] = net(x)[0]
        other_is_done.set()

    thread = threading.Thread(target=in_the_image)
    thread.start()
    with placed(net, (4, 4), (32, 32)):
        inside.set()
        other_is_done.wait()
        mine = net(x)[0]
    thread.join()
    assert torch.equal(found["other"], alone)
    assert torch.equal(found["placed"], expected)
    assert not torch.equal(mine, expected)
    assert torch.equal(net(x)[0], alone)


@pytest.mark.parametrize("wrap", [torch.compile, lambda net, **options: net.compile(**options) or net])
def test_a_compiled_network_does_not_miss_its_window(wrap):
    net, x = Pointwise(NeRDm), torch.randn(1, 1, 16, 16)
    with placed(net, (8, 8), (32, 32)):
        expected = net(x)[0]
    torch._dynamo.reset()
    compiled = wrap(net, backend="aot_eager", fullgraph=True)
    outside = compiled(x)[0]
    with placed(compiled, (8, 8), (32, 32)):
        torch.testing.assert_close(compiled(x)[0], expected)
    torch.testing.assert_close(compiled(x)[0], outside)
    assert not torch.allclose(outside, expected)


@pytest.mark.parametrize(
    ("origin", "extent", "error", "message"),
    [
        ((8, 2), (32, 32), ValueError, "low cannot hold the window: its features are 4 long where the input is 16; "),
        ((8, 4), (32, 30), ValueError, "low cannot hold.*expected extent to be a multiple of 4, got 30"),
        ([(8, 4), (8, 3)], (32, 32), ValueError, "low cannot hold.*expected origin to be a multiple of 4, got 3"),
        ((24, 0), (32, 32), ValueError, r"origin: the window \[24, 40\)"),
        ((8, 8, 8), (32, 32), ValueError, "origin: expected 2 whole numbers"),
        ([(0, 0)] * 3, (32, 32), ValueError, "origin: expected one position.*each of the 2 samples.*3 positions"),
        (None, (32, 32), TypeError, "origin: expected a position, got None"),
        ((0, 0), None, TypeError, "extent: expected a position, got None"),
    ],
)
def test_a_window_that_a_grid_cannot_hold_is_refused(origin, extent, error, message):
    net = Pointwise(NeRDm)
    with pytest.raises(error, match=message), placed(net, origin, extent):
        net(torch.randn(2, 1, 16, 16))


def test_features_that_are_no_whole_fraction_of_the_input_are_refused():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), NeRDm(4))
    with pytest.raises(ValueError, match=r"1 cannot hold.*features are 14 long where the input is 16"):  # noqa: SIM117
        with placed(net, (0, 0), (32, 32)):
            net(torch.randn(2, 1, 16, 16))


def test_what_runs_outside_of_the_call_of_what_was_placed_is_refused():
    net, x = Pointwise(NeRDm), torch.randn(1, 1, 16, 16)
    with placed(net, (0, 0), (32, 32)):
        with pytest.raises(RuntimeError, match="norm runs outside of a call of Pointwise"):
            net.forward(x)
        with pytest.raises(ValueError, match="found no batch of images among the arguments of Pointwise"):
            net(x[0])


def test_a_network_in_data_parallel_is_refused_and_one_without_heads_is_left_alone():
    with (
        pytest.raises(ValueError, match=r"DataParallel.*pass its \.module"),
        placed(nn.DataParallel(Pointwise(NeRDm)), (0, 0), (8, 8)),
    ):
        pass
    conv, x = nn.Conv2d(1, 2, 1), torch.randn(1, 1, 4, 4)
    with placed(conv, (0, 0), (8, 8)) as same:
        assert torch.equal(same(x), conv(x))


def in_windows(model, extent):
    """The predictor that docs/windows.md writes for MONAI's sliding windows."""

    def predictor(windows, places):
        origins = [[part.start for part in place[2:]] for place in places]
        with placed(model, origins, extent):
            return model(windows)

    return predictor


@both
@pytest.mark.parametrize("dims", [2, 3])
def test_monais_sliding_windows_give_the_logits_of_the_whole_image(head_class, dims):
    conv = nn.Conv2d if dims == 2 else nn.Conv3d
    body = [conv(1, 4, 1), nn.ReLU(), conv(4, 4, 1)]
    model = nn.Sequential(*body, conv(4, 2, 1)).eval()
    image = torch.randn(2, 1, *(12, 16, 6)[:dims])
    nerd_fast.replace_head(model, head_class, path="3")
    randomise(model[3])
    expected = model(image)
    roi = (8, 12, 4)[:dims]
    found = sliding_window_inference(
        image, roi, 3, in_windows(model, image.shape[2:]), overlap=0.5, mode="gaussian", with_coord=True
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    plain = sliding_window_inference(image, roi, 3, model, overlap=0.5, mode="gaussian")
    assert (plain - expected).abs().max() > 0.1
