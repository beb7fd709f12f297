"""How the kernels are called: how often, what they write, what they leave alone."""

import itertools

import pytest
import torch

from nerd_fast.kernels import plan
from tests.kernels.heads import Case, backward, by_kernels, by_reference, forward, tensors

pytestmark = pytest.mark.interpreter

VARIANTS = ("nerdm", "nerdc")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_forward_is_one_launch_and_a_backward_three(variant, launches):
    case = Case(variant=variant, bias=True)
    t = tensors(case)
    forward(case, t)
    assert len(launches) == 1
    backward(case, t)
    assert len(launches) == 1 + 3


@pytest.mark.parametrize(("only", "count"), [("x", 1), ("bias", 3), ("classifier", 3), ("weights[0]", 3)])
def test_a_backward_launches_only_what_is_wanted(only, count, launches):
    """With one class the gradients of classifier and bias follow from the map's, which the calibrator's pass sums."""
    case = Case(bias=True)
    t = tensors(case)
    backward(case, t, tuple(name == only for name in t.names))
    assert len(launches) == count


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_subset_of_gradients_is_the_same_bits(variant):
    case = Case(variant=variant, bias=True, spatial=(3, 3))
    t = tensors(case)
    everything = dict(
        zip((n for n, o in zip(t.names, t.owners, strict=True) if o is not None), backward(case, t), strict=True)
    )
    groups = {"x": ("x",), "classifier": ("classifier",), "bias": ("bias",), "calibrator": ("weights[1]", "biases[0]")}
    for chosen in itertools.product((False, True), repeat=len(groups)):
        names = {n for group, on in zip(groups.values(), chosen, strict=True) if on for n in group} & everything.keys()
        gradients = backward(case, t, tuple(name in names for name in t.names))
        assert len(gradients) == len(names)
        for name, gradient in zip((n for n in t.names if n in names), gradients, strict=True):
            assert torch.equal(gradient, everything[name]), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_empty_batch_launches_nothing(variant, launches):
    case = Case(variant=variant, batch=0, classes=3, bias=True)
    t = tensors(case)
    assert forward(case, t).shape == (0, 3, *case.spatial)
    gradients = backward(case, t)
    assert not launches
    for gradient, owner in zip(gradients, (o for o in t.owners if o is not None), strict=True):
        assert gradient.shape == owner.shape
        assert not gradient.count_nonzero()


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_inputs_give_the_same_bits(variant):
    case = Case(variant=variant, batch=5, classes=2, spatial=(6, 7), bias=True)
    t = tensors(case)
    first = by_kernels(case, t)
    for name, value in by_kernels(case, t).items():
        assert torch.equal(first[name], value), name


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed"])
def test_results_take_dtype_and_strides_from_what_they_belong_to(layout):
    case = Case(layout=layout, dtype=torch.float16, classes=2, bias=True)
    t = tensors(case)
    t.weights[0] = t.weights[0].half()
    t.weights[1] = t.weights[1].t().contiguous().t()
    logits = forward(case, t)
    assert logits.dtype == torch.float16
    assert logits.is_contiguous(memory_format=torch.channels_last) == (layout == "channels_last")
    gradients = backward(case, t)
    for gradient, owner in zip(gradients, (o for o in t.owners if o is not None), strict=True):
        assert (gradient.dtype, gradient.stride()) == (owner.dtype, owner.stride())


def test_gradients_share_no_memory():
    case = Case(bias=True)
    storages = [gradient.untyped_storage().data_ptr() for gradient in backward(case, tensors(case))]
    assert len(set(storages)) == len(storages)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_features_in_both_memory_formats_are_not_copied(layout, launches):
    case = Case(layout=layout)
    t = tensors(case)
    forward(case, t)
    backward(case, t)
    assert [launched.arguments["x"].data_ptr() for launched in launches[:2]] == [t.x.data_ptr()] * 2


@pytest.mark.parametrize("variant", VARIANTS)
def test_splitting_the_batch_over_programs_changes_no_result(variant, monkeypatch):
    case = Case(variant=variant, batch=7, classes=2, spatial=(3, 5), bias=True)
    t = tensors(case)
    shared = by_kernels(case, t)
    monkeypatch.setattr(plan.tiling, "shares", lambda tiles, batch: 1)
    forget_plans()
    for name, value in by_kernels(case, t).items():
        torch.testing.assert_close(shared[name], value, msg=name)
    forget_plans()


def forget_plans():
    plan.forward.cache_clear()
    plan.backward.cache_clear()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("place", [(0, 0), (2, 3), (5, 6)])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_a_nan_stays_in_its_pixel(place, variant, layout):
    case = Case(variant=variant, channels=3, spatial=(6, 7), layout=layout, batch=2, classes=2)
    t = tensors(case)
    clean = by_kernels(case, t)
    t.x[1, 1, *place] = torch.nan
    dirty = by_kernels(case, t)
    spoilt = torch.zeros(2, 6, 7, dtype=torch.bool)
    spoilt[1, *place] = True
    assert dirty["logits"].isnan().all(1).equal(spoilt)
    assert torch.equal(dirty["logits"].nan_to_num().movedim(1, -1)[~spoilt], clean["logits"].movedim(1, -1)[~spoilt])
    assert torch.equal(dirty["x"], clean["x"])
    assert dirty["weights[0]"].isnan().any()


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "silu", "tanh"])
def test_a_nan_in_the_calibrator_reaches_what_it_reaches_in_the_reference(activation):
    case = Case(activation=activation)
    t = tensors(case)
    t.biases[0][3] = torch.nan
    ours, reference = by_kernels(case, t), by_reference(case, t, torch.float32)
    assert ours["logits"].isnan().all()
    for name, value in reference.items():
        assert torch.equal(ours[name].isnan(), value.isnan()), name


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("classes", [1, 3])
def test_tf32_stays_close_to_ieee(classes, variant):
    case = Case(variant=variant, classes=classes, hidden=(8, 40), bias=True)
    t = tensors(case)
    exact = by_kernels(case, t)
    for name, value in by_kernels(case(precision="tf32"), t).items():
        torch.testing.assert_close(value, exact[name], rtol=0, atol=1e-2 * exact[name].abs().max().item(), msg=name)
