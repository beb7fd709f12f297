"""`nerd-fast report` on tiny evaluated runs."""

import re
import shutil
from html import escape

import numpy as np
import pytest
import torch

from nerd_fast.segmentation.pictures.page import page_begins
from nerd_fast.segmentation.pictures.report import TITLE
from nerd_fast.segmentation.pictures.report_tables import case_table, difference_table, metric_table
from nerd_fast.segmentation.scores.evaluation import read_results
from tests.segmentation.images import write_case
from tests.segmentation.pictures.test_page import assert_sound
from tests.segmentation.runs_for_tests import arguments, command

KEYS = ("dice", "jaccard", "hd95_mm", "assd_mm", "ldice", "ltpr", "lfpr", "wmh_avd_percent")


def document(*dices, prefix=""):
    """An evaluation of cases c0, c1, ... with these Dice, every other metric half of it."""
    rows = [
        {
            "case": f"c{number}",
            f"{prefix}truth_ml": 1.5,
            **{f"{prefix}{key}": dice / 2 for key in KEYS},
            f"{prefix}dice": dice,
        }
        for number, dice in enumerate(dices)
    ]
    entry = {"mean": float(np.mean(dices)), "std": 0.1, "n": len(dices), "undefined": 0}
    return {"cases": rows, "summary": {f"{prefix}{key}": entry for key in KEYS}}


@pytest.fixture(scope="module")
def written(tiny_runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    out, foreign = folder / "report.html", shutil.copytree(tiny_runs.nerdm, folder / "nerdm")
    checkpoint = torch.load(foreign / "last.ckpt", weights_only=True)
    checkpoint["environment"] = {"torch": "9.8.7+elsewhere", "device": "NVIDIA Abacus"}
    torch.save(checkpoint, foreign / "last.ckpt")
    code, _, message = command("report", "--run", tiny_runs.conv, foreign, tiny_runs.nerdc, "--out", out)
    assert code == 0, message
    return out.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_report_is_known_as_ours(written):
    assert written.startswith(page_begins(TITLE))


@pytest.mark.slow
def test_the_report_holds_everything_it_shows(written):
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', written)
    assert all(source.startswith(("data:image/", "#part")) for source in sources)
    assert "@import" not in written
    assert "url(" not in written
    assert_sound(written)


@pytest.mark.slow
def test_the_report_has_its_parts(written):
    headings = re.findall(r"<h2>([^<]*)</h2>", written)
    assert headings == [
        *("Result", "Training", "Where they err", "What the heads learned", "Every case", "How it was made")
    ]
    assert written.count("data:image/svg+xml") == 1, "the curves"
    assert written.count("data:image/png") >= 3, "an overlay or two, and the maps of both heads"
    assert "<h1>Segmentation report: conv, nerdm and nerdc</h1>" in written
    assert "case04" in written


@pytest.mark.slow
def test_the_versions_are_those_each_run_was_trained_with(written):
    here = escape(str(torch.__version__))
    assert f"<tr><td>torch</td><td>{here}</td><td>9.8.7+elsewhere</td><td>{here}</td></tr>" in written
    assert re.search(r"<tr><td>device</td><td>[^<]+</td><td>NVIDIA Abacus</td>", written)
    assert re.search(r"<tr><td>python</td><td>[^<]+</td><td>-</td>", written), "the run that did not record it"


def test_the_best_run_is_marked_by_the_direction_of_the_metric():
    documents = {"a": document(0.5, 0.6), "b": document(0.8, 0.9)}
    rows = re.findall(r"<tr>(<td>[ab]<.*?)</tr>", metric_table(documents, "", KEYS))
    marked = [[column for column, cell in enumerate(row.split("<td")[2:]) if 'class="best"' in cell] for row in rows]
    assert marked == [[2, 3, 6, 7], [0, 1, 4, 5]]


def test_runs_that_are_alike_have_no_best():
    assert 'class="best"' not in metric_table({"a": document(0.5), "b": document(0.5)}, "", KEYS)


def test_cases_are_sorted_from_the_worst():
    text = case_table({"a": document(0.9, 0.2, 0.5)}, "", KEYS)
    assert re.findall(r"<td>(c\d)</td>", text) == ["c1", "c2", "c0"]


def test_differences_are_to_the_first_run():
    text = difference_table({"a": document(0.5, 0.6), "b": document(0.6, 0.7)}, "", KEYS)
    assert "+10.0 [+10.0, +10.0]" in text


def test_runs_evaluated_on_other_cases_are_not_compared():
    text = difference_table({"a": document(0.5, 0.6), "b": document(0.6)}, "", KEYS)
    assert "b: evaluated on other cases than a" in text


def test_one_case_makes_no_interval():
    assert "One case" in difference_table({"a": document(0.5), "b": document(0.6)}, "", KEYS)


def columns(text):
    return re.findall(r">([A-Z][A-Za-z0-9]+ \([^)]*\)) [↑↓]<", text)


def test_an_organ_has_no_columns_of_lesions_or_of_the_challenge():
    chosen, runs = ("dice", "jaccard", "hd95_mm", "assd_mm"), {"a": document(0.5, 0.6), "b": document(0.6, 0.7)}
    assert columns(metric_table(runs, "", chosen)) == ["Dice (%)", "Jaccard (%)", "HD95 (mm)", "ASSD (mm)"]
    for table in (difference_table, case_table):
        assert columns(table(runs, "", chosen)) == ["Dice (%)", "HD95 (mm)"]


def test_the_report_has_the_columns_that_evaluate_prints(tiny_runs, tmp_path):
    summary = read_results(tiny_runs.conv / "metrics_test.json")["summary"]
    _, printed, _ = command("evaluate", "--run", tiny_runs.conv, "--data", tiny_runs.data, "--out", tmp_path / "m.json")
    assert summary["truth_lesions"]["mean"] > 2
    assert "ltpr " in printed
    assert "wmh_" not in printed
    out = tmp_path / "report.html"
    assert command("report", "--run", tiny_runs.conv, "--out", out)[0] == 0
    text = out.read_text(encoding="utf-8")
    assert "LTPR (%)" in text
    assert "AVD (%)" not in text


def refused(code, says, out, *words):
    found, _, message = command("report", "--out", out, *words)
    assert found == code, message
    assert says in message
    assert not out.exists()


def test_a_run_that_was_not_evaluated_is_a_usage_error_that_says_how(tiny_runs, tmp_path):
    run = shutil.copytree(tiny_runs.conv, tmp_path / "run")
    (run / "metrics_test.json").unlink()
    says = (
        f"the run is not there or has not been evaluated. Run: nerd-fast evaluate --run {run} --data DIR --subset test"
    )
    refused(2, says, tmp_path / "out.html", "--run", run)


def test_a_missing_run_is_a_usage_error(tmp_path):
    refused(2, "nowhere/metrics_test.json: no such file", tmp_path / "out.html", "--run", tmp_path / "nowhere")


def test_data_of_other_cases_are_a_data_error(tiny_runs, tmp_path):
    for name in ("a", "b", "c"):
        write_case(tmp_path / "data" / name)
    words = ("--run", tiny_runs.conv, "--data", tmp_path / "data")
    refused(3, "no case case04; expected the data that the run was trained on", tmp_path / "out.html", *words)


def test_runs_of_different_data_are_a_usage_error(tiny_runs, tmp_path):
    other = tmp_path / "other"
    for words in (
        arguments(tiny_runs.data, other, epochs=1, size=[48, 48]),
        ("evaluate", "--run", other, "--data", tiny_runs.data),
    ):
        assert command(*words)[0] == 0
    says = "was not trained on the data of"
    refused(2, says, tmp_path / "out.html", "--run", tiny_runs.conv, other)


def test_a_report_needs_a_run_and_a_file(tiny_runs):
    assert command("report", "--run", tiny_runs.conv)[0] == 2
