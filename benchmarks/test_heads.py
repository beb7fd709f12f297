"""Every head in every case and mode. The times were taken with all peers in turn; here each gets its row."""

import pytest


def test_head(suite, row, mode, benchmark):
    row, tape = row
    if row["error"]:
        pytest.skip(row["error"])
    if tape is None:
        pytest.fail(f"{row['peer']} fails the parity gate: {row['parity']}", pytrace=False)
    memory = row["memory_mib"]["inference" if mode == "inference" else "training"]
    benchmark.extra_info |= {**suite.extra_info(row), "memory_mib": memory, **row["modes"][mode]}
    benchmark.pedantic(tape.play, rounds=tape.rounds)
