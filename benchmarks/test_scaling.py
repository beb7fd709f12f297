"""Time and memory against the batch and against the positions."""


def test_scaling(suite, axis, point):
    rows = suite.measure_scaling(axis, point)
    assert all(row["parity"]["passed"] for row in rows if row["parity"])


def test_cold_start(suite):
    suite.measure_cold_start()
    assert all(row["seconds"] > 0 for row in suite.results["cold_start"])
