"""The audit passes the shipped kernels and catches a kernel that spills, one with an atomic, one with narrow loads."""

import json
import os

import pytest
import torch
import triton
import triton.language as tl

from nerd_fast.kernels import limits
from nerd_fast.kernels.audit import findings
from nerd_fast.kernels.audit.configurations import Budget, Configuration, corners, paper
from nerd_fast.kernels.launch import Launch

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter compiles nothing: needs TRITON_INTERPRET unset"
)

OPTIONS = {"num_warps": 4, "num_stages": 1, "enable_fp_fusion": True}


@triton.jit
def streams(out, x, batch, stride, N: tl.constexpr):
    n = tl.arange(0, N)
    for b in range(batch):
        offset = tl.full([], 1, tl.int64) * b * stride
        tl.store(out + offset + n, tl.load(x + offset + n) * 2)


@triton.jit
def streams_in_single_words(out, x, batch, stride, N: tl.constexpr):
    n = tl.arange(0, N)
    for b in range(batch):
        offset = tl.full([], 1, tl.int64) * b * stride
        tl.store(out + offset + n, tl.load(x + offset + n * stride) * 2)


@triton.jit
def spills(out, x, batch, stride, N: tl.constexpr):
    rows = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    a = tl.load(x + rows)
    for _ in range(batch):
        a = tl.dot(a, a, input_precision="ieee")
    tl.store(out + rows + tl.full([], 1, tl.int64) * stride * batch, a)


@triton.jit
def adds_atomically(out, x, batch, stride, N: tl.constexpr):
    n = tl.arange(0, N)
    for b in range(batch):
        tl.atomic_add(out + n, tl.load(x + tl.full([], 1, tl.int64) * b * stride + n))


@triton.jit
def has_32_bit_offsets(out, x, batch, stride, N: tl.constexpr):
    n = tl.arange(0, N)
    for b in range(batch):
        tl.store(out + b * stride + n, tl.load(x + b * stride + n) * 2)


def breaches(kernel, n=1024, allowed=None):
    memory = torch.empty(n, device="meta")
    arguments = {"out": memory, "x": memory, "batch": 7, "stride": 4096}
    launch = Launch(kernel, 1, arguments, {"N": n}, OPTIONS)
    allowed = allowed or Budget(loaded=n * 4 // 128, stored=n * 4 // 128)
    return " | ".join(findings.examine("planted", launch, 90, allowed).breaches)


def test_a_sound_kernel_has_no_breach():
    assert breaches(streams) == ""


def test_narrow_loads_are_caught():
    assert "in loads of 16 bytes" in breaches(streams_in_single_words)


def test_a_spill_is_caught():
    assert "bytes of stack" in breaches(spills, n=128, allowed=Budget())


def test_an_atomic_is_caught():
    assert "atomic" in breaches(adds_atomically, allowed=Budget())


def test_32_bit_offsets_are_caught():
    assert "64-bit" in breaches(has_32_bit_offsets)


def test_exit_status_and_report_tell_a_breach(monkeypatch, tmp_path, capsys):
    found = findings.Finding(
        "head", "kernel", 90, 4, 255, 64, 0, 2, {16: 64}, {}, 0, 1, 0, 0, 0, True, ("64 bytes of stack",)
    )

    class InOrder:
        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def map(self, function, *arguments):
            return [[found]]

    monkeypatch.setattr(findings, "ProcessPoolExecutor", InOrder)
    assert findings.main(["--architectures", "90", "--json", str(tmp_path / "findings.json")]) == 1
    assert "64 bytes of stack" in capsys.readouterr().out
    assert json.loads((tmp_path / "findings.json").read_text())[0]["stack"] == 64


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [75, 80, 90, 120])
@pytest.mark.parametrize(
    "configuration",
    [
        Configuration(True, 16, 1, (32, 32)),
        Configuration(False, 16, 1, (32, 32), layout="channels_last"),
        Configuration(True, 32, 1, (64, 64)),
    ],
    ids=str,
)
def test_the_papers_kernels_are_within_budget(configuration, architecture):
    found = findings.examine_configuration(configuration, architecture)
    assert [finding.kernel.removesuffix("_narrow") for finding in found] == [
        "apply_forward",
        "apply_backward",
        "calibrator_backward",
        "sum_rows",
    ]
    assert not [(finding.kernel, finding.breaches) for finding in found if finding.breaches]


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [(64,), (128, 128)], ids=str)
def test_the_forward_of_256_channels_can_be_launched_on_turing(hidden):
    (finding,) = findings.examine_configuration(Configuration(True, 256, 1, hidden), 75, which=[0])
    assert finding.shared <= 1024 * findings.SHARED_KIB[75]
    assert finding.resident >= 1


@pytest.mark.slow
def test_products_of_the_same_units_spill_nothing():
    """Laid out once for all products of the last layer, the units took 1,328 bytes of stack."""
    configuration = Configuration(False, 32, 16, (64, 64), layout="channels_last")
    found = findings.examine_configuration(configuration, 90, which=[0, 1])
    assert [(finding.kernel, finding.stack) for finding in found] == [("apply_forward", 0), ("apply_backward", 0)]


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [(8,), (24, 8, 16), (8, 8, 8, 8)], ids=str)
def test_a_calibrator_of_any_depth_compiles(hidden):
    found = findings.examine_configuration(Configuration(True, 16, 2, hidden), 90)
    assert not [(finding.kernel, finding.breaches) for finding in found if finding.breaches]


@pytest.mark.parametrize("classes", [1, 14])
@pytest.mark.parametrize("modulates", [True, False], ids=["nerdm", "nerdc"])
def test_the_batch_loop_of_the_backward_needs_no_barrier(modulates, classes):
    configuration = Configuration(modulates, 16, classes, (8,))
    (finding,) = findings.examine_configuration(configuration, 80, which=[1])
    assert finding.kernel == "apply_backward"
    assert finding.barriers == 0


def test_the_paper_and_the_ends_of_every_range_are_audited():
    assert {(c.in_channels, c.hidden_channels) for c in paper()} >= {(16, (32, 32)), (32, (64, 64))}
    found = corners()
    assert {c.in_channels for c in found} >= {1, 256}
    assert {c.out_channels for c in found} >= {1, 14, 64}
    assert {(len(c.hidden_channels), c.hidden_channels[0]) for c in found} >= {(1, 8), (4, 128)}
    assert {c.activation for c in found} == set(limits.ACTIVATIONS)
    assert {c.precision for c in found} == set(limits.PRECISIONS)
    assert {getattr(torch, c.dtype) for c in found} == set(limits.DTYPES)
    assert {(c.layout, len(c.spatial)) for c in found} >= {("channels_last", 3), ("strided", 3), ("contiguous", 2)}


def test_every_corner_is_one_that_the_kernels_run():
    for c in corners():
        assert (
            limits.supports(
                variant="nerdm" if c.modulates else "nerdc",
                spatial_dims=len(c.spatial),
                in_channels=c.in_channels,
                out_channels=c.out_channels,
                hidden_channels=c.hidden_channels,
                activation=c.activation,
                dtype=getattr(torch, c.dtype),
                precision=c.precision,
                capability=(7, 5),
            )
            is None
        )


def test_what_compiles_alike_is_compiled_once():
    jobs = list(findings.jobs([80]))
    heads = [job for job in jobs if isinstance(job[0], Configuration)]
    assert {configuration for configuration, *_ in heads} == set(paper())
    assert [which for configuration, _, which in heads if configuration.layout == "channels_last"] == 8 * [[0, 1]]
