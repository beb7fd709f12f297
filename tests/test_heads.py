import copy

import pytest
import torch
from torch import nn

import nerd_fast
from nerd_fast import functional
from tests.exactness import assert_as_exact_as_eager, randomise, reference_logits

HEADS = [nerd_fast.NeRDm, nerd_fast.NeRDc]
CONVS = {2: nn.Conv2d, 3: nn.Conv3d}
both = pytest.mark.parametrize("head_class", HEADS)


@both
@pytest.mark.parametrize("spatial", [(5, 6), (3, 4, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_head_from_a_convolution_computes_what_it_computed(head_class, spatial, bias):
    conv = CONVS[len(spatial)](6, 3, 1, bias=bias)
    head = head_class.from_conv(conv)
    assert (head.bias is not None) == bias
    x = torch.randn(2, 6, *spatial)
    torch.testing.assert_close(head(x), conv(x), rtol=1e-6, atol=1e-6)


@both
def test_a_fresh_head_is_a_convolution_until_training_moves_it(head_class):
    head = head_class(4, 2)
    f = head.calibration((5, 6))
    assert torch.equal(f, f[:, :1, :1].expand_as(f))
    weight, _ = head.position_map((5, 6))
    x = torch.randn(2, 4, 5, 6)
    torch.testing.assert_close(head(x), nn.functional.conv2d(x, weight[:, :, :1, :1]))
    optimizer = torch.optim.SGD(head.parameters(), lr=1e-4)
    for _ in range(2):
        optimizer.zero_grad()
        (head(x) * torch.arange(6.0)).sum().backward()
        optimizer.step()
    moved = head.calibration((5, 6))
    assert not torch.equal(moved, moved[:, :1, :1].expand_as(moved))


@both
def test_conversion_keeps_dtype_mode_and_frozen_parameters(head_class):
    conv = nn.Conv2d(4, 2, 1, dtype=torch.float64).eval()
    conv.weight.requires_grad_(False)
    head = head_class.from_conv(conv, hidden_channels=(8,), activation="silu", distance_scale=0.5, backend="torch")
    assert {p.dtype for p in head.parameters()} == {torch.float64}
    assert not head.training
    assert head.hidden_channels == (8,)
    assert head.bias.requires_grad
    holder = head.classifier if head_class is nerd_fast.NeRDm else head.calibrator[-1].bias
    assert not holder.requires_grad
    with torch.no_grad():
        conv.weight.zero_()
    assert holder.abs().max() > 0


def test_conversion_works_on_the_meta_device():
    head = nerd_fast.NeRDc.from_conv(nn.Conv2d(4, 2, 1, device="meta"))
    assert head(torch.empty(1, 4, 8, 8, device="meta")).shape == (1, 2, 8, 8)


@pytest.mark.parametrize(
    ("conv", "error", "message"),
    [
        (nn.Linear(4, 2), TypeError, "Linear"),
        (nn.ConvTranspose2d(4, 2, 1), TypeError, "ConvTranspose2d"),
        (nn.Conv1d(4, 2, 1), TypeError, "Conv1d"),
        (nn.Conv2d(4, 2, 3, padding=1), ValueError, "kernel_size"),
        (nn.Conv2d(4, 2, 1, stride=2), ValueError, "stride"),
        (nn.Conv2d(4, 2, 1, groups=2), ValueError, "groups"),
        (nn.Conv2d(4, 2, 1, padding=1), ValueError, "padding"),
        (nn.LazyConv2d(2, 1), ValueError, "forward pass"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 2, 1)), ValueError, "parametrized"),
    ],
)
def test_what_is_not_a_plain_1x1_convolution_is_refused(conv, error, message):
    with pytest.raises(error, match=message):
        nerd_fast.NeRDm.from_conv(conv)


class Scaled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


def patched():
    conv = nn.Conv2d(4, 2, 1)
    conv.forward = lambda x: nn.Conv2d.forward(conv, 2 * x)
    return conv


def hooked():
    conv = nn.Conv2d(4, 2, 1)
    conv.register_forward_hook(lambda module, inputs, output: 2 * output)
    return conv


@pytest.mark.parametrize(
    ("conv", "message"),
    [(Scaled(4, 2, 1), "Scaled has a forward of its own"), (patched(), "forward of its own"), (hooked(), "hooks")],
)
def test_a_convolution_that_computes_something_else_is_refused(conv, message):
    with pytest.raises(ValueError, match=message):
        nerd_fast.NeRDm.from_conv(conv)
    model = nn.Sequential(conv)
    with pytest.raises(ValueError, match=f"cannot replace '0': .*{message}.* Nothing was changed"):
        nerd_fast.replace_head(model, nerd_fast.NeRDm, path="0")
    assert model[0] is conv


@pytest.mark.parametrize("padding", ["same", "valid", 0])
def test_a_1x1_convolution_with_any_word_for_no_padding_is_taken(padding):
    nerd_fast.NeRDm.from_conv(nn.Conv2d(4, 2, 1, padding=padding))


@pytest.mark.parametrize("name", ["in_channels", "out_channels", "bias", "spatial_dims"])
def test_conversion_refuses_options_that_the_convolution_decides(name):
    conv, message = nn.Conv2d(4, 2, 1), f"{name}: it is taken from the convolution"
    with pytest.raises(TypeError, match=f"^{message}"):
        nerd_fast.NeRDm.from_conv(conv, **{name: 2})
    with pytest.raises(TypeError, match=f"cannot replace '0': {message}"):
        nerd_fast.replace_head(nn.Sequential(conv), nerd_fast.NeRDm, path="0", **{name: 2})


@pytest.mark.parametrize("look", ["calibration", "position_map"])
@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        (5, TypeError, "size: expected 2 whole numbers, one per spatial axis, got 5"),
        ((5, 6.0), TypeError, r"size: .*got \(5, 6.0\)"),
        ((5, 6, 7), ValueError, r"size: expected 2 whole numbers.*got 3: \(5, 6, 7\)"),
        ((5, 0), ValueError, "size: expected sizes of at least 1"),
    ],
)
def test_a_map_of_what_is_no_size_is_refused(look, size, error, message):
    with pytest.raises(error, match=message):
        getattr(nerd_fast.NeRDm(4), look)(size)


@both
@pytest.mark.parametrize("bias", [True, False])
def test_state_dict_has_the_names_that_are_promised(head_class, bias):
    keys = {f"calibrator.{i}.{kind}" for i in (0, 2, 4) for kind in ("weight", "bias")}
    keys |= {"classifier"} if head_class is nerd_fast.NeRDm else set()
    keys |= {"bias"} if bias else set()
    assert set(head_class(4, 2, bias=bias).state_dict()) == keys


def test_parameters_have_the_shapes_that_are_promised():
    head = nerd_fast.NeRDm(5, 3, spatial_dims=3, hidden_channels=(8, 9), bias=True)
    shapes = {name: tuple(p.shape) for name, p in head.named_parameters()}
    assert shapes["classifier"] == (3, 5)
    assert shapes["calibrator.0.weight"] == (8, 6)
    assert shapes["calibrator.4.weight"] == (10, 9)
    assert nerd_fast.NeRDc(5, 3).calibrator[-1].out_features == 15


@both
@pytest.mark.parametrize("spatial", [(5, 6), (3, 4, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_position_map_gives_the_logits_of_the_head(head_class, spatial, bias):
    head = randomise(head_class(4, 3, spatial_dims=len(spatial), bias=bias, hidden_channels=(8,)))
    x = torch.randn(2, 4, *spatial)
    weight, beta = head.position_map(spatial)
    assert weight.shape == (3, 4, *spatial)
    assert beta.shape == (3, *spatial)
    ours = functional.apply_position_map(x, weight, beta)
    assert_as_exact_as_eager(ours, head(x), reference_logits(copy.deepcopy(head).double(), x.double()))


@both
def test_the_position_map_of_a_window_is_the_window_of_the_map(head_class):
    head = randomise(head_class(4, 2))
    whole, _ = head.position_map((9, 8))
    part, _ = head.position_map((3, 4), origin=(2, 1), extent=(9, 8))
    torch.testing.assert_close(part, whole[:, :, 2:5, 1:5])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("classes", [1, 3])
def test_gradients_of_an_applied_map_are_as_exact_as_eager(layout, dtype, classes):
    x = torch.randn(3, 5, 4, 6, dtype=dtype).contiguous(memory_format=layout)
    weight, beta, grad = torch.randn(classes, 5, 4, 6), torch.randn(classes, 4, 6), torch.randn(3, classes, 4, 6)

    def eager(x, weight, beta):
        return (torch.einsum("kchw,bchw->bkhw", weight, x.to(weight.dtype)) + beta).to(x.dtype)

    def gradients(apply, *tensors):
        tensors = [t.detach().requires_grad_() for t in tensors]
        logits = apply(*tensors)
        return [logits.detach(), *torch.autograd.grad(logits, tensors, grad.to(dtype).to(logits.dtype))]

    ours = gradients(functional.apply_position_map, x, weight, beta)
    expected = gradients(eager, x.double(), weight.double(), beta.double())
    for mine, theirs, oracle in zip(ours, gradients(eager, x, weight, beta), expected, strict=True):
        assert_as_exact_as_eager(mine, theirs, oracle)
    assert ours[1].stride() == x.stride()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 4, 5, 6), (3, 5, 5, 6), (3, 5, 6)), "x: expected 5 channels"),
        (((2, 4, 5, 6), (3, 4, 5, 5), (3, 5, 6)), "weight: expected positions"),
        (((2, 4, 5, 6), (3, 4, 5, 6), (2, 5, 6)), "beta"),
        (((2, 4, 5, 6), (4, 5, 6), (3, 5, 6)), "weight"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        functional.apply_position_map(*(torch.randn(shape) for shape in shapes))


@both
def test_calibration_shows_what_the_calibrator_yields(head_class):
    head = randomise(head_class(4, 2))
    f = head.calibration((5, 6))
    v = nerd_fast.boundary_distances((5, 6))
    torch.testing.assert_close(f[:, 2, 3], head.calibrator(v[:, 2, 3]))


@both
def test_float64_heads_compute_in_float64(head_class):
    head = randomise(head_class(4, 2, dtype=torch.float64))
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(head(x), reference_logits(head, x), rtol=1e-12, atol=1e-12)


@both
def test_autocast_leaves_the_calibrator_in_float32(head_class):
    head = randomise(head_class(4, 2))
    x = torch.randn(2, 4, 5, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(x), head(x.clone()))
        inside = head(x)
        half = head(x.bfloat16())
    assert torch.equal(inside, head(x))
    assert half.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0,), {}, "in_channels"),
        ((4, 0), {}, "out_channels"),
        ((4,), {"spatial_dims": 1}, "spatial_dims"),
        ((4,), {"hidden_channels": ()}, "hidden_channels"),
        ((4,), {"hidden_channels": (32, 0)}, "hidden_channels"),
        ((4,), {"activation": "gelu"}, "activation"),
        ((4,), {"backend": "cuda"}, "backend"),
        ((4,), {"precision": "half"}, "precision"),
        ((4,), {"distance_scale": "pixel"}, "distance_scale"),
    ],
)
def test_constructors_refuse_what_no_head_can_be(arguments, options, message):
    for head_class in HEADS:
        with pytest.raises(ValueError, match=message):
            head_class(*arguments, **options)


@both
def test_a_head_refuses_features_of_another_rank_or_width(head_class):
    with pytest.raises(ValueError, match="expected 4 channels"):
        head_class(4)(torch.randn(1, 3, 5, 5))
    with pytest.raises(ValueError, match=r"expected \(B, C, H, W\)"):
        head_class(4)(torch.randn(1, 4, 5, 5, 5))
    with pytest.raises(ValueError, match="size: expected 2"):
        head_class(4).calibration((4, 4, 4))


@both
def test_training_moves_a_head_to_a_task_that_no_convolution_can_do(head_class):
    torch.manual_seed(1)
    head = head_class(3, 1, hidden_channels=(16,), activation="tanh", bias=True)
    x = torch.randn(8, 3, 12, 12)
    side = torch.where(torch.arange(12) < 6, 1.0, -1.0)
    target = (x[:, :1] * side > 0).float()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(80):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(head(x), target)
        loss.backward()
        optimizer.step()
    assert loss < 0.3
