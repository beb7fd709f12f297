"""The shortest answer, as `make gpu` calls it: a file, a table, and an exit code that says whether parity held."""

from dataclasses import replace

import pytest

from benchmarks import bandwidth, heads, peers, quick, results, workloads


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(workloads.WORKLOADS, "wmh", replace(workloads.WORKLOADS["wmh"], batch=2, spatial=(8, 6)))
    monkeypatch.setattr(quick.timings, "__defaults__", (("wmh",), quick.PEERS, heads.Effort(0.01, 3, 2)))
    monkeypatch.setitem(bandwidth.COPY_BYTES, "cpu", 1 << 16)


def twice_the_logits(head):
    return peers.Peer("fused", lambda x: 2 * head.module(x), head.parameters)


def test_fused_conv_and_eager_are_timed_and_kept(tiny, tmp_path, capsys):
    assert quick.main(["--device", "cpu", "--out", str(tmp_path / "timings.json")]) == 0
    found = results.read(tmp_path / "timings.json")
    assert [row["peer"] for row in found["heads"]] == ["conv1x1", "reference", "fused"]
    assert all(row["modes"]["training"]["median_ms"] > 0 for row in found["heads"])
    assert "t/conv" in capsys.readouterr().out


def test_a_peer_that_fails_parity_is_an_exit_code(tiny, monkeypatch, capsys):
    monkeypatch.setitem(peers.PEERS, "fused", twice_the_logits)
    assert quick.main(["--device", "cpu"]) == 1
    assert "fails the parity gate" in capsys.readouterr().out
