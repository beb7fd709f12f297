"""The runner of `make gpu`, with parts that need no GPU."""

import sys
import tarfile

import pytest
import torch

from tests.absent import TRAINER, python_without
from tests.gpu import lane


@pytest.mark.parametrize(("code", "expected"), [("print('done')", 0), ("raise SystemExit(3)", 3)])
def test_a_part_ends_with_its_exit_code_and_its_output_in_its_log(tmp_path, code, expected):
    ended = lane.run("part", [sys.executable, "-c", f"print('seen'); {code}"], 30, tmp_path)
    assert ended["exit_code"] == expected
    assert "seen" in (tmp_path / "part.log").read_text()


def test_a_part_past_its_limit_is_stopped_and_said_so(tmp_path):
    ended = lane.run("part", [sys.executable, "-c", "import time; time.sleep(60)"], 0.5, tmp_path)
    assert ended["exit_code"] == 124
    assert ended["seconds"] < 30


def test_without_a_gpu_the_lane_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["lane", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="needs a CUDA GPU"):
        lane.main()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments", [["tests/test_functional.py", "-k", "triton"], ["tests/gpu"]], ids=["parity", "device"]
)
def test_the_lane_needs_neither_the_trainer_nor_hypothesis(arguments):
    collect = ["--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments]
    done = python_without((*TRAINER, "hypothesis"), f"import pytest; sys.exit(pytest.main({collect!r}))")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "::" in done.stdout


@pytest.mark.parametrize("module", ["benchmarks.quick", "tests.gpu.small_cases", "nerd_fast.doctor"])
def test_what_the_lane_runs_imports_without_the_trainer(module):
    done = python_without(TRAINER, f"import {module}")
    assert done.returncode == 0, done.stderr


def test_the_logs_of_all_parts_are_one_file(tmp_path):
    for part in ("first", "second"):
        lane.run(part, [sys.executable, "-c", f"print({part!r})"], 30, tmp_path)
        (tmp_path / f"{part}.xml").write_text("<testsuite/>")
        lane.put_away(part, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["logs.tar"]
    with tarfile.open(tmp_path / "logs.tar") as archive:
        assert sorted(archive.getnames()) == ["first.log", "first.xml", "second.log", "second.xml"]
        assert archive.extractfile("second.log").read() == b"second\n"


def test_a_lane_leaves_at_most_eight_files_and_its_summary_grows_with_it(monkeypatch, tmp_path):
    seen = []

    def parts(out):
        for name in ("doctor", "timings", "device"):
            seen.append(len(list(out.iterdir())))
            yield name, [sys.executable, "-c", "import sys; sys.exit(2)"], 30
        (out / "timings.json").write_text("{}")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    monkeypatch.setattr(lane, "parts", parts)
    monkeypatch.setattr(sys, "argv", ["lane", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        lane.main()
    assert ended.value.code == 1
    assert seen == [0, 2, 2]  # the archive and the summary are there after each part
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs.tar", "summary.json", "timings.json"]


def test_the_parts_fit_into_the_whole_or_the_last_go_short(tmp_path):
    limits = [limit for _, _, limit in lane.parts(tmp_path)]
    assert sum(limits[:3]) <= lane.WHOLE_LANE_S <= sum(limits)
