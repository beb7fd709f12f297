"""One training step of the U-Net with each head, and what batch fits a smaller card."""

import importlib.util

import pytest

from benchmarks.training_step import NETWORK

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec(NETWORK) is None, reason=f"{NETWORK} is not installed: the heads are measured, no U-Net"
)


def test_step(suite, step, benchmark):
    row, tape = step
    if tape is None:
        pytest.fail(
            f"the first loss with the head {row['head']} is not that of conv1x1: {row['parity']}", pytrace=False
        )
    figures = {name: row[name] for name in ("memory_mib", "images_per_s", "head_ms", "head_share")}
    benchmark.extra_info |= suite.extra_info(row) | figures
    benchmark.pedantic(tape.play, rounds=tape.rounds)


def test_largest_batch(suite):
    if suite.selection.device.type != "cuda":
        pytest.skip("the largest batch under a memory cap is a GPU's figure")
    suite.measure_limits()
    assert all(row["largest_batch"] > 0 for row in suite.results["limits"])
