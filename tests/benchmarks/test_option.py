"""`pytest --benchmark` selects benchmarks/ and nothing else, plain pytest never does, bad input is one line."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import conftest, results
from benchmarks.device import ROOT
from benchmarks.selection import Selection
from tests.absent import TRAINER, python_without


def pytest_in_root(*arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def options(**given):
    names = ("device", "workloads", "peers", "trace", "results")
    defaults = {"suite_quick": False, **{f"suite_{name}": None for name in names}}
    return SimpleNamespace(**defaults | {f"suite_{name}": value for name, value in given.items()})


def test_plain_pytest_does_not_collect_the_suite_even_when_its_folder_is_named():
    done = pytest_in_root("--collect-only", "benchmarks", "tests/test_distances.py")
    assert "tests/test_distances.py" in done.stdout
    assert "benchmarks/" not in done.stdout


def test_benchmark_collects_the_suite_alone_and_the_named_peers_alone():
    done = pytest_in_root("--benchmark", "--collect-only", "--benchmark-device=cpu", "--benchmark-peer=fused,conv1x1")
    collected = [line for line in done.stdout.splitlines() if "::" in line]
    assert collected
    assert all(line.startswith("benchmarks/") for line in collected)
    assert any("wmh-float32-contiguous-32x32-training-fused" in line for line in collected)
    assert not any("-compiled]" in line and "test_head" in line for line in collected)


def test_benchmark_refuses_a_path_outside_the_suite():
    done = pytest_in_root("--benchmark", "tests")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--benchmark runs benchmarks/ alone, not tests" in done.stderr


def test_a_companion_option_without_benchmark_is_refused():
    done = pytest_in_root("--benchmark-workload=wmh")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "need --benchmark" in done.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workloads": "wmh,wm"}, "unknown workload 'wm'; expected one of wmh, "),
        ({"peers": "fussed"}, "unknown peer 'fussed'; expected one of conv1x1, "),
        ({"device": "tpu"}, "expected 'cpu' or 'cuda', got 'tpu'"),
        ({"results": "/no/such/folder/r.json"}, "there is no folder /no/such/folder"),
    ],
)
def test_bad_values_are_one_line_that_says_what_was_expected(given, message):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        Selection.from_options(options(**given))
    assert message in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_where_there_is_none_is_one_line_of_usage_error():
    done = pytest_in_root("--benchmark", "--benchmark-device=cuda")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "device cuda: PyTorch sees no CUDA device here" in done.stderr
    assert "Traceback" not in done.stderr


def test_quick_means_the_plain_case_of_wmh():
    assert [str(case) for case in Selection.from_options(options(quick=True, device="cpu")).cases()] == [
        "wmh-float32-contiguous-32x32"
    ]


@pytest.mark.slow
def test_a_quick_run_writes_results_json_and_traces_and_prints_the_table(tmp_path):
    done = pytest_in_root(
        "--benchmark-quick",
        "--benchmark-device=cpu",
        "--benchmark-workload=single",
        "--benchmark-peer=conv1x1,fused",
        f"--benchmark-results={tmp_path / 'results.json'}",
        f"--benchmark-json={tmp_path / 'library.json'}",
        f"--benchmark-trace={tmp_path / 'traces'}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "single: B 1, C 16, K 1, 160x224" in done.stdout
    rows = json.loads((tmp_path / "results.json").read_text())["heads"]
    assert [row["peer"] for row in rows] == ["conv1x1", "fused"]
    benches = json.loads((tmp_path / "library.json").read_text())["benchmarks"]
    assert len(benches) == 2 * 4  # peers, modes
    for bench in benches:
        info = bench["extra_info"]
        assert bench["stats"]["median"] * 1e3 == pytest.approx(info["median_ms"], rel=1e-3)
        assert {"device", "memory_mib", "gbps", "share", "parity_error"} <= info.keys()
    assert sorted(path.name for path in (tmp_path / "traces").iterdir()) == ["single-conv1x1.json", "single-fused.json"]


@pytest.mark.parametrize(("status", "is_written"), [("OK", True), ("TESTS_FAILED", True), ("INTERRUPTED", False)])
def test_a_run_that_was_interrupted_leaves_the_results_of_an_earlier_one(tmp_path, status, is_written):
    path, lines = tmp_path / "results.json", []
    path.write_text("earlier")
    found = results.read(Path(__file__).parent / "small.json")
    config = SimpleNamespace(suite=SimpleNamespace(results=found), suite_selection=SimpleNamespace(results=path))
    reporter = SimpleNamespace(section=lines.append, write_line=lines.append)
    conftest.pytest_terminal_summary(reporter, pytest.ExitCode[status], config)
    assert (path.read_text() != "earlier") == is_written
    assert ("no results file" in lines[-1]) != is_written


def test_the_suite_is_collected_without_the_trainer():
    collect = ["--benchmark", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = python_without(TRAINER, f"import pytest; sys.exit(pytest.main({collect!r}))")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "benchmarks/test_heads.py::" in done.stdout
