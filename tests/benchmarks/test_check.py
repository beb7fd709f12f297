"""Every figure that must be reached is a line, and one that falls short is an exit code."""

import copy
from pathlib import Path

import pytest

from benchmarks import check, results

SMALL = Path(__file__).parent / "small.json"


@pytest.fixture
def small():
    return results.read(SMALL)


def run(found, tmp_path, capsys):
    code = check.main([str(results.write(found, tmp_path / "file.json"))])
    return code, capsys.readouterr()


def slow_down(found, workload, peer, factor):
    for row in found["heads"]:
        if (row["workload"], row["peer"]) == (workload, peer):
            for figures in row["modes"].values():
                figures["median_ms"] *= factor


def test_a_file_that_holds_every_figure_passes(small, tmp_path, capsys):
    code, told = run(small, tmp_path, capsys)
    assert code == 0
    assert [line.split()[0] for line in told.out.splitlines()] == ["ok"] * 5


@pytest.mark.parametrize(
    ("workload", "peer", "factor", "short"),
    [
        ("wmh", "fused", 1.5, "fused / conv1x1, wmh"),
        ("wmh", "reference", 0.5, "reference / fused, wmh, hidden 64x64"),
        ("wmh", "paper", 0.5, "paper / fused, wmh, hidden 64x64"),
        ("wmh", "compiled-folded", 0.5, "compiled-folded / fused, wmh"),
        ("single", "frozen", 9, "frozen / conv1x1, single"),
    ],
)
def test_a_figure_that_falls_short_is_named(small, tmp_path, capsys, workload, peer, factor, short):
    slow_down(small, workload, peer, factor)
    code, told = run(small, tmp_path, capsys)
    assert code == 1
    assert any(line.startswith("SHORT") and short in line for line in told.out.splitlines())


def test_a_row_that_failed_parity_or_is_missing_falls_short(small, tmp_path, capsys):
    small["heads"] = [row for row in small["heads"] if row["workload"] != "single"]
    for row in small["heads"]:
        if row["peer"] == "compiled-folded":
            row["modes"] = {}
    code, told = run(small, tmp_path, capsys)
    assert code == 1
    short = [line for line in told.out.splitlines() if line.startswith("SHORT")]
    assert len(short) == 2
    assert all("not in the file" in line for line in short)


def gpu_file(found):
    """The small file as a GPU's that reaches everything: every workload a copy of wmh, ours much faster."""
    found["device"] |= {"type": "cuda", "name": "NVIDIA Test"}
    plain = [row for row in found["heads"] if row["workload"] == "wmh" and row["hidden"] == [32, 32]]
    found["heads"] = []
    for workload in (*check.PAPER_SIZES, *check.LARGE):
        rows = copy.deepcopy([row for row in plain if row["dtype"] == "float32"])
        for row in rows:
            row["workload"] = workload
            figures = row["modes"].get("training")
            if figures and row["peer"] == "fused":
                figures |= {"median_ms": 0.25 * figures["median_ms"], "share": 0.85}
        found["heads"] += rows
    found["cold_start"] = [{"cache": "empty", "seconds": 4.0}, {"cache": "warm", "seconds": 0.2}]
    return found


def test_a_gpu_file_is_held_against_the_gpu_figures(small, tmp_path, capsys):
    code, told = run(gpu_file(small), tmp_path, capsys)
    assert code == 0, told.out
    assert len(told.out.splitlines()) == 21


@pytest.mark.parametrize("key", ["median_ms", "memory_mib"])
def test_a_slower_or_larger_step_falls_short_on_a_gpu(small, tmp_path, capsys, key):
    found = gpu_file(small)
    for row in found["steps"]:
        if row["head"] == "fused":
            row[key] *= 1.03
    code, told = run(found, tmp_path, capsys)
    assert code == 1
    assert next(line for line in told.out.splitlines() if line.startswith("SHORT")).startswith("SHORT  U-Net step")


def test_a_file_that_cannot_be_judged_is_one_line(tmp_path, capsys):
    path = tmp_path / "old.json"
    path.write_text('{"version": 0}')
    assert check.main([str(path)]) == 2
    assert "results of version 0, expected 1" in capsys.readouterr().err
