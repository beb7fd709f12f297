"""What Triton's launcher hands to the driver is what the kernels declare and what the launches mean."""

import dataclasses

import pytest
import torch

import nerd_fast
from nerd_fast.kernels import launch
from tests.launch import stub

pytestmark = pytest.mark.launch


@pytest.fixture
def checked(driver, monkeypatch):
    """Runs every Launch twice and compares what the driver received with its tensors and integers: the Launches."""
    seen, run = [], launch.Launch.run

    def checking(self):
        driver.expect([])  # not as many as the kernel before had: this one may have fewer
        compiled = run(self)
        declared = stub.parameter_sizes(compiled.asm["ptx"])
        driver.expect(declared)
        assert run(self) is compiled
        received, expected = driver.received(), expected_arguments(self, compiled)
        scratch = len(declared) - len(expected)  # pointers of Triton's own at the end, null
        assert received.arguments == (*(value for _, value, _ in expected), *[0] * scratch), self.kernel.__name__
        assert declared == [*(size for *_, size in expected), *[8] * scratch], self.kernel.__name__
        assert received.programs == self.programs
        assert received.threads == 32 * self.options["num_warps"]
        assert received.shared == compiled.metadata.shared
        seen.append((self, compiled))
        return compiled

    monkeypatch.setattr(launch.Launch, "run", checking)
    return seen


def expected_arguments(step, compiled):
    """(name, value as a raw integer, bytes) of each argument that the kernel was compiled to take, in its order."""
    found = []

    def add(name, kind, value):
        if isinstance(kind, tuple):
            for index, (one, element) in enumerate(zip(kind, value, strict=True)):
                add(f"{name}[{index}]", one, element)
        elif kind.startswith("*"):
            found.append((name, value.data_ptr(), 8))
        elif kind != "constexpr":
            size = {"i32": 4, "i64": 8}[kind]
            found.append((name, value % 2 ** (8 * size), size))

    for name, kind in compiled.src.signature.items():
        if name in step.arguments:
            add(name, kind, step.arguments[name])
    return found


def step(head, x, wanted=None):
    """A forward and a backward that wants the gradients of the named tensors, by default of all."""
    tensors = {"x": x, **dict(head.named_parameters())}
    for name, tensor in tensors.items():
        tensor.requires_grad_(wanted is None or name in wanted)
    grad = torch.randn(x.shape[0], head.out_channels, *x.shape[2:], dtype=x.dtype)
    head(x).backward(grad)


HEADS = [nerd_fast.NeRDm, nerd_fast.NeRDc]
last = torch.channels_last
CASES = {
    "the paper's": ({"in_channels": 16}, torch.empty(2, 16, 160, 224)),
    "channels last": ({"in_channels": 16, "bias": True}, torch.empty(2, 16, 16, 24).contiguous(memory_format=last)),
    "a volume of one voxel in half": (
        {"in_channels": 3, "out_channels": 2, "spatial_dims": 3, "hidden_channels": (8,), "bias": True},
        torch.empty(1, 3, 1, 1, 1, dtype=torch.float16),
    ),
    "bfloat16, one layer, pixels": (
        {"in_channels": 5, "hidden_channels": (8,), "distance_scale": 0.25},
        torch.empty(3, 5, 7, 3, dtype=torch.bfloat16),
    ),
    "half precision parameters": (
        {"in_channels": 4, "hidden_channels": (8,), "dtype": torch.float16, "bias": True},
        torch.empty(2, 4, 5, 6, dtype=torch.float16),
    ),
    "sliced features": (
        {"in_channels": 4, "hidden_channels": (8, 8, 8, 8)},
        torch.empty(3, 9, 5, 13)[::2, 1::2, :, ::2],
    ),
}


@pytest.mark.parametrize("head_class", HEADS)
@pytest.mark.parametrize("case", CASES)
def test_the_driver_receives_what_the_kernels_declare(head_class, case, checked):
    options, x = CASES[case]
    step(head_class(**options, backend="triton"), x)
    assert [launched.kernel.__name__.removesuffix("_narrow") for launched, _ in checked] == [
        "apply_forward",
        "apply_backward",
        "calibrator_backward",
        "sum_rows",
    ]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, last])
def test_the_driver_receives_what_the_kernels_of_maps_and_normalisations_declare(memory_format, checked):
    x = torch.empty(3, 16, 5, 7).contiguous(memory_format=memory_format).requires_grad_()
    norm = nerd_fast.NeRDNorm(16, hidden_channels=(8,), backend="triton")
    norm(x).backward(torch.empty(3, 16, 5, 7))
    weight, beta = torch.empty(2, 16, 5, 7, requires_grad=True), torch.empty(2, 5, 7, requires_grad=True)
    for planes in (beta, None):
        logits = nerd_fast.functional.apply_position_map(x, weight, planes, backend="triton")
        logits.backward(torch.empty(3, 2, 5, 7))
    names = [launched.kernel.__name__.removesuffix("_narrow") for launched, _ in checked]
    norms = ["norm_forward", "norm_backward", "calibrator_backward", "sum_rows"]
    assert names == [*norms, *2 * ["map_forward", "map_backward"]]


@pytest.mark.parametrize("head_class", HEADS)
def test_each_gradient_alone_and_all_reach_the_driver_and_one_kernel_sums_them(head_class, checked):
    """One for every head whose last layer is not folded, one more for NeRDm with one class."""
    head = head_class(4, 2, hidden_channels=(8,), bias=True, backend="triton")
    names = ["x", "bias", "classifier" if head_class is nerd_fast.NeRDm else "calibrator.2.weight", "calibrator.0.bias"]
    for wanted in (*({name} for name in names), None):
        step(head, torch.empty(2, 4, 5, 6), wanted)
    step(head_class(3, 2, hidden_channels=(8, 9), backend="triton"), torch.empty(2, 3, 5, 6))
    assert len(kernels_of("sum_rows", checked)) == 1
    for channels in (3, 4):
        step(head_class(channels, hidden_channels=(8,), backend="triton"), torch.empty(2, channels, 5, 6))
    assert len(kernels_of("sum_rows", checked)) == (2 if head_class is nerd_fast.NeRDm else 1)


def kernels_of(name, checked):
    return {id(compiled) for launched, compiled in checked if launched.kernel.__name__ == name}


def test_an_argument_in_the_place_of_another_is_noticed(checked, monkeypatch):
    def swapped(self, launched):
        there = launched.arguments
        swapped = {**there, "x_stride_batch": there["x_stride_channel"], "x_stride_channel": there["x_stride_batch"]}
        return dataclasses.replace(launched, given=swapped).compile_and_launch()

    monkeypatch.setattr(launch.Step, "run", swapped)
    with pytest.raises(AssertionError, match="apply_forward"):
        nerd_fast.NeRDm(4, hidden_channels=(8,), backend="triton")(torch.empty(2, 4, 5, 6))


def test_what_differs_from_launch_to_launch_is_not_compiled_in(checked):
    """A Step repeats the kernel of its first launch: another window must not be of another kernel's."""
    step(nerd_fast.NeRDm(4, hidden_channels=(8,), backend="triton"), torch.empty(2, 4, 5, 6))
    given = {name for launched, _ in checked for name in launched.given}
    integers = {name for launched, _ in checked for name in given if isinstance(launched.arguments.get(name), int)}
    assert {"height", "origin_h", "extent_w"} <= integers
    for launched, _ in checked:
        assert integers & set(launched.kernel.arg_names) <= set(launched.kernel.do_not_specialize)
