"""What the kernels do, counted from their PTX, is within budget; a kernel that is worse, or counts nothing, is told."""

import os
from dataclasses import replace

import pytest
import torch
import triton
import triton.language as tl

from nerd_fast.kernels.audit import counted, counting, gpus, model, reach, streams
from nerd_fast.kernels.audit.configurations import Configuration
from nerd_fast.kernels.audit.for_now import FOR_NOW
from nerd_fast.kernels.launch import Launch

pytestmark = [
    pytest.mark.ptx,
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter compiles nothing"),
]

PAPER = Configuration(True, 16, 1, (32, 32))
H100 = gpus.GPUS[-1]


@pytest.fixture(scope="module")
def papers_counts():
    return counting.count_configuration(PAPER, H100.architecture)


@pytest.mark.slow
def test_the_papers_head_is_within_budget(papers_counts):
    figures = [figure for count in papers_counts for figure in reach.figures(PAPER, count)]
    figures += reach.step_figures(H100, counted.steps(H100, PAPER, papers_counts))
    assert len(figures) >= 10
    assert not [figure.breach for figure in figures if figure.breach]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("configuration", "architecture", "kernel"),
    [
        (replace(PAPER, layout="channels_last"), 75, "apply_forward"),
        (replace(PAPER, modulates=False), 89, "apply_backward"),
        (Configuration(True, 32, 14, (32, 32), layout="channels_last"), 89, "apply_forward"),
        (Configuration(False, 32, 14, (32, 32)), 75, "apply_forward"),
    ],
    ids=str,
)
def test_other_heads_are_within_budget(configuration, architecture, kernel):
    (count,) = counting.count_configuration(configuration, architecture, (kernel,))
    figures = reach.figures(configuration, count)
    assert figures
    assert not [figure.breach for figure in figures if figure.breach]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "configuration"),
    [
        ("norm_forward", streams.Norm(16, (32, 32))),
        ("norm_backward", streams.Norm(32, (64, 64), layout="channels_last")),
        ("apply_forward", Configuration(True, 16, 1, (64, 64))),
        ("calibrator_backward", Configuration(True, 16, 1, (64, 64))),
    ],
    ids=str,
)
def test_shared_memory_is_read_without_conflicts(kernel, configuration):
    (count,) = counting.count_configuration(configuration, 75, (kernel,))
    conflicts = [figure for figure in reach.figures(configuration, count) if figure.key[2] == reach.CONFLICTS]
    assert [figure.breach for figure in conflicts] == [None]


@pytest.mark.slow
def test_the_report_says_all_that_was_counted(papers_counts):
    text = "\n".join([*counted.table(H100, papers_counts), *counted.modelled(H100, PAPER, papers_counts)])
    for told in ("shuffles", "wavefronts (ideal", "barriers", "on a multiprocessor", "DRAM", "issue", "Modelled, not"):
        assert told in text


def test_every_budget_that_is_not_yet_the_reach_is_of_something_counted():
    heads = {reach.name_of(configuration) for configuration in counting.cases()}
    steps = {f"batch {batch}" for batch in counted.BATCHES}
    assert {head for _, head, _ in FOR_NOW} <= heads | steps


@pytest.mark.parametrize(
    ("value", "for_now", "told"),
    [(900, None, None), (1001, None, "at most 1000 allowed"), (1500, 1600, None), (1601, 1600, "1600 allowed"),
     (900, 1600, "must go")],
)  # fmt: skip
def test_a_figure_is_held_to_its_entry_and_an_entry_to_its_reach(monkeypatch, value, for_now, told):
    key = ("apply_forward", "a head", reach.WARP)
    monkeypatch.setattr(reach, "FOR_NOW", {} if for_now is None else {key: {None: 9999, 90: for_now}})
    breach = reach.Figure(key, 90, value, 1000).breach
    assert breach is None if told is None else told in breach


@triton.jit
def does_nothing(out, N: tl.constexpr):
    pass


@triton.jit
def strides_apart(out, x, N: tl.constexpr):
    n = tl.arange(0, N)
    tl.store(out + n * 16, tl.load(x + n * 16))


def one_launch(kernel, **arguments):
    return Launch(kernel, 1, arguments, {"N": 128}, {"num_warps": 4, "num_stages": 1})


def test_a_kernel_that_counts_nothing_has_no_count():
    with pytest.raises(ValueError, match="counted nothing"):
        counting.count_launch("planted", one_launch(does_nothing, out=torch.empty(128)), 90)


def test_sectors_that_are_touched_for_four_bytes_each_are_counted():
    launch = one_launch(strides_apart, out=torch.empty(2048), x=torch.empty(2048))
    count = counting.count_launch("planted", launch, 90)
    assert count.sectors == {("x", "loads"): 8.0, ("out", "stores"): 8.0}
    assert count.dram_bytes == 2 * 128 * 32


@pytest.mark.parametrize(
    ("architecture", "warps", "registers", "shared", "resident"),
    [(90, 4, 104, 4096, 4), (90, 4, 80, 4096, 6), (75, 8, 255, 0, 1), (75, 4, 32, 32768, 2), (89, 4, 16, 0, 12),
     (75, 4, 32, 0, 8)],
)  # fmt: skip
def test_programs_that_fit_on_a_multiprocessor(architecture, warps, registers, shared, resident):
    assert gpus.resident_programs(architecture, warps, registers, shared) == resident


@pytest.mark.slow
def test_the_model_moves_with_what_was_counted(papers_counts):
    counts = {count.kernel: count for count in papers_counts}
    before = model.step(H100, PAPER, counts, 14)
    slower = {**counts, "apply_forward": replace(counts["apply_forward"], issue_slots=1e5)}
    after = model.step(H100, PAPER, slower, 14)
    assert after.kernels["apply_forward"] > 2 * before.kernels["apply_forward"]
    assert after.share < before.share
    assert model.step(H100, PAPER, counts, 128).share > before.share
    assert before.bounded_share <= before.share < 1
