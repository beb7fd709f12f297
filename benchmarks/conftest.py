"""Fixtures of the suite, its tests' parameters, and the tables at the end."""

import pytest

from benchmarks import peers, results, tables
from benchmarks.replay import Tape
from benchmarks.suite import Suite


def pytest_generate_tests(metafunc):
    selection = metafunc.config.suite_selection
    if "mode" in metafunc.fixturenames:
        chosen = [
            pytest.param(case, mode, peer, id=f"{case}-{mode}-{peer}")
            for case in selection.cases()
            for mode in peers.MODES
            for peer in selection.peers_of(case)
            if mode in peers.modes_of(peer)
        ]
        metafunc.parametrize(("case", "mode", "peer"), chosen)


@pytest.fixture(scope="session")
def suite(request):
    wanted = {}
    for item in request.session.items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if "mode" in parameters and parameters["peer"] not in wanted.setdefault(parameters["case"], []):
            wanted[parameters["case"]].append(parameters["peer"])
    request.config.suite = Suite(request.config.suite_selection, wanted)
    return request.config.suite


@pytest.fixture
def row(request, suite, case, mode, peer):
    """The measured row; where it has times, pytest-benchmark's clock is set to tell them."""
    row = suite.row(case, peer)
    if mode in row["modes"]:
        tape = Tape(suite.seconds(case, peer, mode))
        request.node.add_marker(pytest.mark.benchmark(timer=tape, group=f"{case} {mode}"))
        return row, tape
    return row, None


def pytest_terminal_summary(terminalreporter, config):
    suite = getattr(config, "suite", None)
    if suite is None:
        return
    terminalreporter.section("benchmarks")
    terminalreporter.write_line(tables.text(suite.results))
    path = results.write(suite.results, config.suite_selection.results)
    terminalreporter.write_line(f"results: {path}")
