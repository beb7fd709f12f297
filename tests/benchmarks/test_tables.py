"""The closing tables hold every section of a run, with its ratios."""

from pathlib import Path

from benchmarks import results, tables

SMALL = Path(__file__).parent / "small.json"


def test_every_section_of_a_run_has_its_table():
    found = results.read(SMALL)
    found["limits"] = [{"cap_gib": 11, "head": "fused", "largest_batch": 77}]
    text = tables.text(found)
    for part in (
        "wmh: B 14, C 16, K 1, 160x224",
        "large-batch: B 32, C 16, K 1, 160x224 (large-batch training); cut to fit a CPU: batch 128 -> 32",
        "bfloat16, contiguous, hidden 32x32",
        "float32, contiguous, hidden 64x64",
        "Training step of the U-Net",
        "11 GiB, fused: 77",
        "Training against the positions",
        "Triton cache none: 0.31 s",
    ):
        assert part in text


def test_ratios_are_to_conv1x1_and_to_fused():
    rows = [row for row in results.read(SMALL)["heads"] if row["workload"] == "wmh"][:7]
    lines = {line.split()[0]: line.split() for line in tables._workload_table(rows).splitlines()[3:]}
    time = {row["peer"]: row["modes"]["training"]["median_ms"] for row in rows if "training" in row["modes"]}
    assert f"{time['paper'] / time['conv1x1']:.2f}" in lines["paper"]
    assert f"{time['paper'] / time['fused']:.2f}" in lines["paper"]
    assert lines["fused"].count("1.00") == 1


def test_rows_and_steps_tell_their_spread_and_the_uncertainty_of_their_median():
    found = results.read(SMALL)
    row, step = found["heads"][0], found["steps"][0]
    row["modes"]["training"] |= {"median_ms": 10.0, "q20_ms": 9.0, "q80_ms": 12.0, "uncertainty": 0.034}
    step |= {"median_ms": 10.0, "q20_ms": 9.0, "q80_ms": 12.0, "uncertainty": 0.034}
    for line in (tables._workload_table([row]).splitlines()[-1], tables._steps([step]).splitlines()[-1]):
        assert "30%   3.4%" in line


def test_a_step_that_fails_its_gate_tells_the_error_and_no_time():
    steps = results.read(SMALL)["steps"]
    steps[1] |= {"parity": {"first_loss": 0.5, "passed": False}, "median_ms": None}
    assert "first loss off by 5.0e-01, no figures" in tables._steps(steps)
