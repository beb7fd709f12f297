"""`replace_head(model, NeRDNorm)`: a convolution of any kind that normalises what it reads, and stays what it was."""

import copy
import io

import pytest
import torch
from torch import nn

from nerd_fast import NeRDm, NeRDNorm, placed, replace_head
from tests.surgery.small import DeeplySupervised, norms_of, small_unet

CONVS = {
    "3x3": (nn.Conv2d, (4, 2, 3), {"padding": 1}),
    "strided, reflecting": (nn.Conv2d, (4, 2, 3), {"stride": 2, "padding": 1, "padding_mode": "reflect"}),
    "grouped, dilated, without bias": (nn.Conv2d, (4, 2, 3), {"groups": 2, "dilation": 2, "bias": False}),
    "1x1": (nn.Conv2d, (4, 2, 1), {}),
    "transposed": (nn.ConvTranspose2d, (4, 2, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "3-D": (nn.Conv3d, (4, 2, 3), {"padding": 1}),
    "transposed, 3-D": (nn.ConvTranspose3d, (4, 2, 2), {"stride": 2}),
}
each_conv = pytest.mark.parametrize("name", CONVS)


def with_norm(name, **options):
    """The convolution, in a network, as it was and with a norm; and features for it."""
    kind, sizes, arguments = CONVS[name]
    torch.manual_seed(0)
    conv = kind(*sizes, **arguments)
    model = replace_head(nn.Sequential(copy.deepcopy(conv)), NeRDNorm, path="0", **options)
    return conv, model[0], torch.randn(2, 4, *(8,) * (conv.weight.dim() - 2))


def moved(norm):
    """The norm after some training, as far as it matters here."""
    with torch.no_grad():
        last = norm.calibrator[-1]
        last.weight.normal_()
        last.bias.normal_()
    return norm


@each_conv
def test_the_output_is_the_same_and_then_that_of_normalised_features(name):
    conv, normed, x = with_norm(name)
    torch.testing.assert_close(normed(x), conv(x))
    moved(normed.norm)
    torch.testing.assert_close(normed(x), conv(normed.norm(x)))
    assert not torch.allclose(normed(x), conv(x))


@each_conv
def test_the_convolution_answers_as_before(name):
    conv, normed, _ = with_norm(name)
    assert isinstance(normed, type(conv))
    for attribute in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"):
        assert getattr(normed, attribute) == getattr(conv, attribute)
    torch.testing.assert_close(normed.weight, conv.weight, rtol=0, atol=0)
    names = [name for name, _ in normed.named_parameters() if not name.startswith("norm.")]
    assert names == [name for name, _ in conv.named_parameters()]


def test_the_convolution_stays_the_same_object_with_its_hooks_and_its_place_in_the_optimiser():
    model = small_unet(nn.Conv2d(4, 2, 3))
    conv, calls = model[3], []
    conv.register_forward_hook(lambda *_: calls.append(1))
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    replace_head(model, NeRDNorm, path="3")
    assert model[3] is conv
    model(torch.randn(2, 1, 8, 8)).sum().backward()
    before = conv.weight.clone()
    optimiser.step()
    assert calls == [1]
    assert not torch.equal(conv.weight, before)


def test_a_window_of_an_image_reaches_the_norm():
    conv, normed, x = with_norm("3x3")
    window = {"origin": (4, 0), "extent": (16, 8)}
    expected = conv(moved(normed.norm)(x, **window))
    torch.testing.assert_close(normed(x, **window), expected)
    assert not torch.allclose(normed(x), expected)


def test_a_placed_network_hands_each_norm_the_window_on_its_own_grid():
    down, up = nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ConvTranspose2d(4, 2, 2, stride=2)
    model, x = replace_head(nn.Sequential(down, up), NeRDNorm, path="1"), torch.randn(2, 1, 8, 8)
    moved(up.norm)
    with placed(model, (4, 0), (16, 8)):
        found = model(x)
    torch.testing.assert_close(found, up(down(x), origin=(2, 0), extent=(8, 4)))


def test_a_parametrization_may_follow_and_the_input_be_named():
    _, normed, x = with_norm("3x3")
    moved(normed.norm)
    before = normed(x)
    torch.testing.assert_close(nn.utils.parametrizations.weight_norm(normed)(input=x), before)
    refused(nn.Sequential(normed), "a NeRDNorm is in front of it already", path="0")


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_trace_and_an_exported_program_compute_the_same():
    _, normed, x = with_norm("transposed")
    moved(normed.norm)
    expected = normed(x)
    torch.testing.assert_close(torch.jit.trace(normed, x)(x), expected)
    torch.testing.assert_close(torch.export.export(normed, (x,)).module()(x), expected)


def test_the_output_size_of_a_transposed_convolution_reaches_it():
    conv, normed, x = with_norm("transposed, 3-D")
    torch.testing.assert_close(normed(x, output_size=(17, 16, 16)), conv(x, output_size=(17, 16, 16)))


@pytest.mark.parametrize("name", ["3x3", "transposed"])
def test_copies_and_pickles_compute_the_same(name):
    _, normed, x = with_norm(name)
    moved(normed.norm)
    file = io.BytesIO()
    torch.save(normed, file)
    file.seek(0)
    for other in (copy.deepcopy(normed), torch.load(file, weights_only=False)):
        torch.testing.assert_close(other(x), normed(x), rtol=0, atol=0)
        assert other.norm is not normed.norm


def test_its_own_checkpoint_loads():
    _, normed, x = with_norm("3x3")
    _, other, _ = with_norm("3x3")
    moved(normed.norm)
    other.load_state_dict(normed.state_dict())
    torch.testing.assert_close(other(x), normed(x), rtol=0, atol=0)


def test_a_checkpoint_from_before_the_swap_loads_strictly_and_the_norm_is_the_identity():
    _, normed, x = with_norm("3x3")
    moved(normed.norm)
    conv = nn.Conv2d(4, 2, 3, padding=1)
    state = conv.state_dict()
    assert normed.load_state_dict(state) == ([], [])
    assert list(state) == ["weight", "bias"]
    torch.testing.assert_close(normed(x), conv(x))


def test_a_checkpoint_from_before_the_swap_loads_into_a_network_on_the_meta_device():
    with torch.device("meta"):
        model = replace_head(small_unet(nn.Conv2d(4, 2, 3)), NeRDNorm, path="3")
    plain, x = small_unet(nn.Conv2d(4, 2, 3)).double(), torch.randn(2, 1, 8, 8, dtype=torch.float64)
    model.load_state_dict(plain.state_dict(), assign=True)
    torch.testing.assert_close(model.eval()(x), plain.eval()(x))
    assert {p.dtype for p in model[3].norm.parameters()} == {torch.float64}


@pytest.mark.parametrize("assign", [False, True])
def test_a_checkpoint_whose_weight_is_no_tensor_is_refused_by_name(assign):
    _, normed, _ = with_norm("3x3")
    with pytest.raises(RuntimeError, match=r'"weight", expected torch.Tensor .*<class .int.>') as refused:
        normed.load_state_dict({**nn.Conv2d(4, 2, 3).state_dict(), "weight": 3}, assign=assign)
    assert "norm" not in str(refused.value)


def test_a_checkpoint_that_has_part_of_a_norm_is_refused():
    _, normed, _ = with_norm("3x3")
    state = normed.state_dict()
    del state["norm.calibrator.2.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*norm\.calibrator\.2\.weight"):
        normed.load_state_dict(state)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_network_that_is_compiled_already_computes_with_the_norm(backend):
    model, x = small_unet(nn.Conv2d(4, 2, 3)).eval(), torch.randn(2, 1, 8, 8)
    compiled = torch.compile(model, backend=backend)
    before = compiled(x)
    replace_head(compiled, NeRDNorm, path="3")
    torch.testing.assert_close(compiled(x), before)
    moved(model[3].norm)
    torch.testing.assert_close(compiled(x), model(x))
    assert not torch.allclose(compiled(x), before)


@pytest.mark.parametrize("training", [True, False])
def test_device_dtype_mode_and_options_are_those_of_the_convolution(training):
    model = small_unet(nn.Conv2d(4, 2, 3)).double().train(training)
    norm = replace_head(model, NeRDNorm, path="3", hidden_channels=(8,), distance_scale=0.5)[3].norm
    assert {p.dtype for p in norm.parameters()} == {torch.float64}
    assert all(p.requires_grad for p in norm.parameters())
    assert (norm.training, norm.hidden_channels, norm.distance_scale) == (training, (8,), 0.5)


def test_several_paths_get_a_norm_each():
    model = replace_head(DeeplySupervised(), NeRDNorm, path=["coarse", "fine"])
    assert norms_of(model) == ["coarse.norm", "fine.norm"]


def test_watching_finds_a_convolution_of_any_kernel():
    model = nn.Sequential(small_unet(nn.Conv2d(4, 2, 3)), nn.Softmax(1))
    assert norms_of(replace_head(model, NeRDNorm, example_input=torch.randn(1, 1, 8, 8))) == ["0.3.norm"]


def refused(model, match, head_class=NeRDNorm, error=ValueError, **options):
    before = [(name, type(module)) for name, module in model.named_modules()]
    with pytest.raises(error, match=match):
        replace_head(model, head_class, **options)
    assert [(name, type(module)) for name, module in model.named_modules()] == before


def test_what_has_a_norm_or_is_a_head_is_refused_by_either():
    normed = replace_head(small_unet(), NeRDNorm, path="3")
    refused(normed, "a NeRDNorm is in front of it already", path="3")
    refused(normed, "a NeRDNorm is in front of it already", NeRDm, path="3")
    refused(normed, "a NeRDNorm is in front of it already", example_input=torch.randn(1, 1, 8, 8))
    refused(normed, "is a NeRDNorm already", path="3.norm")
    refused(replace_head(small_unet(), NeRDm, path="3"), "is a NeRDm already", path="3")


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (nn.Linear(4, 2), "it is a Linear, not an nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d"),
        (nn.Conv1d(4, 2, 3), "it is a Conv1d"),
        (type("StandardisedConv", (nn.Conv2d,), {})(4, 2, 3), "it is a StandardisedConv"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 2, 3)), "parametrized"),
        (nn.LazyConv2d(2, 3), "LazyConv2d"),
    ],
)
def test_what_is_no_plain_convolution_is_refused_with_the_last_ones_there_are(head, reason):
    refused(small_unet(head), rf"cannot put a NeRDNorm in front of '3'.*{reason}.*last convolutions: 0\.0", path="3")


def test_what_would_pass_the_norm_by_is_refused():
    patched, held = small_unet(nn.Conv2d(4, 2, 3)), small_unet(nn.Conv2d(4, 2, 3))
    patched[3].forward = patched[3].forward
    refused(patched, "'3': it has a forward of its own, which would pass the norm by", path="3")
    held[0].heads = {"fine": [held[3].forward]}
    refused(held, r"'3': 0\.heads holds a method of it, which would pass the norm by", path="3")
    held[0].heads = [held[3]]  # the same object, which changes its class in place
    assert norms_of(replace_head(held, NeRDNorm, path="3")) == ["3.norm"]


def test_a_path_that_fails_leaves_the_others_untouched():
    refused(small_unet(nn.Conv2d(4, 2, 3)), "'2'.*ReLU", path=["3", "2"])
    refused(small_unet(nn.Conv2d(4, 2, 3)), "no module 'nowhere'", path=["3", "nowhere"])


@pytest.mark.parametrize("options", [{"hidden": 8}, {"channels": 4}, {"spatial_dims": 2}, {"bias": True}])
def test_an_option_that_a_norm_does_not_take_is_refused(options):
    refused(small_unet(), f"'3'.*{next(iter(options))}", error=TypeError, path="3", **options)


def test_a_convolution_that_is_the_whole_model_is_refused_with_what_to_do():
    refused(nn.Conv2d(4, 2, 3), r"nn\.Sequential\(NeRDNorm", path="")
