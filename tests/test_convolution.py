"""A head where code expects the convolution it stands for: its attributes, its checkpoint, its initialisation."""

import copy
import inspect

import numpy as np
import pytest
import torch
from torch import nn

import nerd_fast
from tests.exactness import randomise

HEADS = [nerd_fast.NeRDm, nerd_fast.NeRDc]
CONVS = {2: nn.Conv2d, 3: nn.Conv3d}
both = pytest.mark.parametrize("head_class", HEADS)
CONVOLUTION_ATTRIBUTES = [
    *("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    *("padding_mode", "transposed", "output_padding"),
]
in_both_dimensions = pytest.mark.parametrize("spatial_dims", [2, 3])


def features(spatial_dims):
    return torch.randn(2, 4, *(5, 6, 3)[:spatial_dims])


@both
@in_both_dimensions
def test_a_head_answers_what_code_asks_of_a_convolution(head_class, spatial_dims):
    conv = CONVS[spatial_dims](4, 3, 1)
    head = head_class.from_conv(conv)
    for name in CONVOLUTION_ATTRIBUTES:
        assert getattr(head, name) == getattr(conv, name), name


@in_both_dimensions
def test_the_weight_of_nerdm_is_its_classifier_and_can_be_written_to(spatial_dims):
    conv = CONVS[spatial_dims](4, 3, 1)
    head = nerd_fast.NeRDm.from_conv(conv)
    assert torch.equal(head.weight, conv.weight)
    nn.init.constant_(head.weight, 2.0)
    assert torch.equal(head.classifier, torch.full((3, 4), 2.0))
    assert "weight" not in head.state_dict()
    assert not hasattr(nerd_fast.NeRDc.from_conv(conv), "weight")


@both
@in_both_dimensions
@pytest.mark.parametrize("bias", [True, False])
def test_a_checkpoint_of_the_convolution_sets_the_start(head_class, spatial_dims, bias):
    conv = CONVS[spatial_dims](4, 3, 1, bias=bias)
    model = nn.Sequential(nn.Identity(), randomise(head_class(4, 3, spatial_dims=spatial_dims, bias=bias)))
    hidden = copy.deepcopy(model[1].calibrator[0])
    checkpoint = nn.Sequential(nn.Identity(), conv).state_dict()
    before = list(checkpoint)
    model.load_state_dict(checkpoint)
    assert list(checkpoint) == before
    assert torch.equal(model[1].calibrator[0].weight, hidden.weight)
    x = features(spatial_dims)
    torch.testing.assert_close(model(x), conv(x), rtol=1e-6, atol=1e-6)


@both
def test_a_head_alone_loads_the_checkpoint_too(head_class):
    conv = nn.Conv2d(4, 3, 1)
    head = randomise(head_class(4, 3, bias=True))
    head.load_state_dict(conv.state_dict())
    x = features(2)
    torch.testing.assert_close(head(x), conv(x), rtol=1e-6, atol=1e-6)


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_checkpoint_is_assigned_to_a_head_without_values(head_class, dtype):
    conv = nn.Conv2d(4, 3, 1).to(dtype)
    with torch.device("meta"):
        head = head_class(4, 3, bias=True)
    head.load_state_dict(conv.state_dict(), assign=True)
    assert {parameter.dtype for parameter in head.parameters()} == {dtype}
    assert all(parameter.requires_grad for parameter in head.parameters())
    assert head.calibrator[0].weight.isfinite().all()
    assert head.calibrator[0].weight.std() > 0.1
    x = features(2).to(dtype)
    torch.testing.assert_close(head(x), conv(x))


@both
def test_the_checkpoint_of_a_head_still_loads_as_one(head_class):
    trained = randomise(head_class(4, 3, bias=True))
    head = head_class(4, 3, bias=True)
    head.load_state_dict(trained.state_dict())
    x = features(2)
    assert torch.equal(head(x), trained(x))


@both
@pytest.mark.parametrize(
    ("conv", "message"),
    [
        (nn.Conv2d(4, 3, 3), r"size mismatch for 0\.weight: expected \(3, 4, 1, 1\).*got \(3, 4, 3, 3\)"),
        (nn.Conv2d(4, 5, 1), r"size mismatch for 0\.weight: expected \(3, 4, 1, 1\).*got \(5, 4, 1, 1\)"),
        (nn.Conv3d(4, 3, 1), r"size mismatch for 0\.weight: .*got \(3, 4, 1, 1, 1\)"),
        (nn.Conv2d(4, 3, 1, bias=False), r"Missing key.*0\.bias"),
    ],
)
def test_the_checkpoint_of_another_convolution_is_refused_and_changes_nothing_else(head_class, conv, message):
    model = nn.Sequential(randomise(head_class(4, 3, bias=True)))
    before = copy.deepcopy(model[0].calibrator.state_dict())
    with pytest.raises(RuntimeError, match=message) as refused:
        model.load_state_dict(nn.Sequential(conv).state_dict())
    assert "calibrator" not in str(refused.value)
    if "size mismatch" in message:
        torch.testing.assert_close(model[0].calibrator.state_dict(), before, rtol=0, atol=0)


@both
@pytest.mark.parametrize("weight", [3, None, np.zeros((3, 4, 1, 1))])
def test_a_weight_that_is_no_tensor_is_refused_by_name(head_class, weight):
    model = nn.Sequential(randomise(head_class(4, 3)))
    before = copy.deepcopy(model.state_dict())
    expected = rf"no tensor for 0\.weight: expected \(3, 4, 1, 1\).*got {type(weight).__name__}"
    with pytest.raises(RuntimeError, match=expected) as refused:
        model.load_state_dict({"0.weight": weight})
    assert "calibrator" not in str(refused.value)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def materialised(module, order):
    """`module` without values, then with those that `reset_parameters` of each of its modules gives, in some order."""
    module = module.to("meta")
    for part in order(list(module.modules())):
        if next(part.parameters(recurse=False), None) is not None:  # as FSDP has it
            part.to_empty(device="cpu", recurse=False)
            for parameter in part.parameters(recurse=False):
                nn.init.constant_(parameter, torch.nan)
            part.reset_parameters()
    return module


@both
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("order", [list, lambda modules: modules[::-1]], ids=["parents first", "children first"])
def test_a_head_initialised_module_by_module_keeps_its_start(head_class, bias, order):
    model = materialised(nn.Sequential(head_class(4, 3, bias=bias)), order)
    head = model[0]
    f = head.calibration((5, 6))
    assert torch.equal(f, f[:, :1, :1].expand_as(f))
    weight, beta = head.position_map((5, 6))
    assert torch.equal(beta, torch.zeros_like(beta))
    assert 0.05 < weight.std() < 0.5  # uniform in +- 1 / sqrt(C), as nn.Conv2d draws: 0.29
    assert head.calibrator[0].weight.std() > 0.1


@pytest.mark.parametrize("order", [list, lambda modules: modules[::-1]], ids=["parents first", "children first"])
def test_a_norm_initialised_module_by_module_is_the_identity(order):
    norm, x = materialised(nn.Sequential(nerd_fast.NeRDNorm(4)), order), features(2)
    assert torch.equal(norm(x), x)


@both
def test_dynamic_quantisation_leaves_the_calibrator_alone(head_class):
    model = nn.Sequential(nn.Flatten(2), nn.Linear(30, 30), nn.Unflatten(2, (5, 6)), randomise(head_class(4, 3)))
    quantised = torch.ao.quantization.quantize_dynamic(model)
    assert type(quantised[1]) is not nn.Linear
    x = torch.randn(2, 4, 30).view(2, 4, 5, 6)
    assert torch.equal(quantised[3](x), model[3](x))


@pytest.mark.parametrize(
    ("hidden_channels", "error", "message"),
    [
        (32, TypeError, r"hidden_channels: .*such as \(32, 32\), got 32; for one hidden layer, \(32,\)"),
        (None, TypeError, "hidden_channels: .*got None"),
        ("32", TypeError, "hidden_channels: .*got '32'"),
        (np.int64(32), TypeError, r"hidden_channels: .*for one hidden layer, \(32,\)"),
        (np.array(32), TypeError, r"hidden_channels: .*for one hidden layer, \(32,\)"),
        ({32, 16}, TypeError, "hidden_channels: .*got {"),
        ((32, 1.5), TypeError, r"hidden_channels\[1\]: expected a whole number of at least 1.*, got 1.5"),
        ((32, True), TypeError, r"hidden_channels\[1\]: .*, got True"),
        (np.array([32.0]), TypeError, r"hidden_channels\[0\]: .*32.0"),
        ((32, 0), ValueError, r"hidden_channels\[1\]: .*, got 0"),
        ((2**70,), ValueError, r"hidden_channels\[0\]: .*below 2\^31"),
        ((), ValueError, r"hidden_channels: .*, got \(\)"),
    ],
)
def test_what_are_no_widths_is_refused_by_name(hidden_channels, error, message):
    for head_class in HEADS:
        with pytest.raises(error, match=message):
            head_class(4, hidden_channels=hidden_channels)


@both
@pytest.mark.parametrize("widths", [np.array([8, 6]), [np.int32(8), 6], torch.tensor([8, 6]), range(8, 5, -2)])
def test_widths_come_as_any_sequence_of_whole_numbers(head_class, widths):
    head = head_class(np.int64(4), np.int64(3), spatial_dims=np.int64(2), hidden_channels=widths)
    assert (head.in_channels, head.out_channels, head.spatial_dims, head.hidden_channels) == (4, 3, 2, (8, 6))
    assert {type(width) for width in (head.in_channels, head.out_channels, *head.hidden_channels)} == {int}


@both
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 4.0}, "in_channels: expected a whole number.*, got 4.0"),
        ({"out_channels": True}, "out_channels: .*, got True"),
        ({"spatial_dims": 2.0}, "spatial_dims: expected 2 or 3, got 2.0"),
        ({"bias": "no"}, "bias: expected True or False, got 'no'"),
        ({"dtype": torch.int64}, "dtype: expected one of .*, got torch.int64"),
        ({"dtype": torch.complex64}, "dtype: expected one of .*, got torch.complex64"),
        ({"dtype": "float32"}, "dtype: expected one of .*, got 'float32'"),
    ],
)
def test_an_argument_of_the_wrong_type_is_refused_by_name(head_class, options, message):
    with pytest.raises(TypeError, match=message):
        head_class(**{"in_channels": 4, **options})


@both
def test_editors_can_complete_the_keywords_of_a_constructor(head_class):
    parameters = inspect.signature(head_class).parameters.values()
    assert all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters)
    assert {"hidden_channels", "activation", "distance_scale", "backend"} <= {p.name for p in parameters}
