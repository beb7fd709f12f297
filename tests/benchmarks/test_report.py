"""The README's section and plots come from the files alone, twice the same."""

import shutil
from pathlib import Path

import pytest

from benchmarks import plots, report, results

SMALL = Path(__file__).parent / "small.json"
PNG = b"\x89PNG"


@pytest.fixture
def place(tmp_path):
    """A README with the markers, and a folder with one file."""
    folder = tmp_path / "results"
    folder.mkdir()
    shutil.copy(SMALL, folder / "a-cpu.json")
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{report.BEGIN}\nwhat was here\n{report.END}\n\nAfter.\n")
    return readme, folder


def run(readme, folder):
    return report.main(["--results", str(folder), "--readme", str(readme)])


def test_table_and_plots_are_made_and_the_rest_is_kept(place):
    readme, folder = place
    assert run(readme, folder) == 0
    text = readme.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("\n\nAfter.\n")
    assert "what was here" not in text
    wmh = {row["peer"]: row for row in results.read(SMALL)["heads"] if row["workload"] == "wmh" and _is_plain(row)}
    ratio = wmh["fused"]["modes"]["training"]["median_ms"] / wmh["conv1x1"]["modes"]["training"]["median_ms"]
    assert f"| A CPU, 2 threads | 2026-11-22 | {ratio:.2f} |" in text
    assert "† cut to fit a CPU: large-batch batch 128 -> 32" in text
    for plot in ("training", "scaling"):
        assert f"(results/a-cpu-{plot}.png)" in text
        assert (folder / f"a-cpu-{plot}.png").read_bytes().startswith(PNG)


def test_times_on_a_logarithmic_axis_are_points_and_not_bars():
    found = results.read(SMALL)
    axes = plots.training(found).axes[0]
    assert axes.get_yscale() == "log"
    assert not axes.patches
    (ours,) = (line for line in axes.lines if line.get_label() == "fused")
    rows = {row["peer"]: row for row in found["heads"] if row["workload"] == "wmh" and _is_plain(row)}
    times = {name: rows[name]["modes"]["training"]["median_ms"] for name in ("fused", "conv1x1")}
    assert ours.get_ydata()[0] == pytest.approx(times["fused"] / times["conv1x1"])


@pytest.mark.parametrize(("median", "told"), [(0.51234, "0.512"), (34.04, "34"), (1031.3, "1031")])
def test_times_have_three_digits_and_no_exponent(median, told):
    assert report._time({"modes": {"training": {"median_ms": median}}}) == told


def test_a_device_without_a_file_reads_not_measured_yet(place):
    readme, folder = place
    (folder / "a-cpu.json").unlink()
    assert run(readme, folder) == 0
    for name in report.EXPECTED:
        assert f"| {name} | not measured yet |" in readme.read_text()


def test_the_same_files_give_the_same_text_and_plots(place):
    readme, folder = place
    made = []
    for _ in range(2):
        run(readme, folder)
        made.append([readme.read_bytes(), *(path.read_bytes() for path in sorted(folder.glob("*.png")))])
    assert made[0] == made[1]


def test_the_newest_file_of_a_device_is_told(place):
    readme, folder = place
    newer = (folder / "a-cpu.json").read_text().replace("2026-11-22", "2026-12-01")
    (folder / "0-newer.json").write_text(newer)
    run(readme, folder)
    assert "2026-12-01" in readme.read_text()
    assert "2026-11-22" not in readme.read_text()


def test_a_row_without_figures_says_why(place):
    readme, folder = place
    found = results.read(SMALL)
    for row in found["heads"]:
        if row["peer"] == "paper":
            row |= {"modes": {}, "error": "out of memory"}
    results.write(found, folder / "a-cpu.json")
    run(readme, folder)
    assert "out of memory" in readme.read_text()


@pytest.mark.parametrize("text", ["no markers", f"{report.END} {report.BEGIN}", report.BEGIN])
def test_a_readme_without_the_markers_is_refused_and_kept(place, capsys, text):
    readme, folder = place
    readme.write_text(text)
    assert run(readme, folder) == 2
    assert "expected one <!-- benchmarks:begin -->" in capsys.readouterr().err
    assert readme.read_text() == text


def _is_plain(row):
    return (row["dtype"], row["layout"], row["hidden"]) == ("float32", "contiguous", [32, 32])
