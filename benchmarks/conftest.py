"""Fixtures of the suite, its tests' parameters, and the tables at the end."""

import pytest

from benchmarks import peers, results, scaling, tables, training_step
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
    if "whole" in metafunc.fixturenames:
        chosen = [
            pytest.param(head, whole, id=f"{head}{'-whole-compiled' if whole else ''}")
            for head, whole in training_step.VARIANTS
            if head in selection.peers
        ]
        metafunc.parametrize(("head", "whole"), chosen)
    if "point" in metafunc.fixturenames:
        chosen = [
            pytest.param(axis, case, id=f"{axis}-{getattr(case.workload, axis)}")
            for axis, case in scaling.points(selection.device.type)
        ]
        metafunc.parametrize(("axis", "point"), chosen)


def pytest_collection_modifyitems(config, items):
    """Beyond the heads, what stands on the wmh workload: not in a quick run, nor without that workload."""
    selection = getattr(config, "suite_selection", None)  # None where plain pytest was given this folder
    if selection is None or (not selection.quick and "wmh" in selection.workloads):
        return
    kept = [item for item in items if "mode" in item.fixturenames]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


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
    """The measured row, and the tape of its times, None where it failed the gate."""
    row = suite.row(case, peer)
    seconds = suite.seconds(case, peer, mode) if mode in row["modes"] else None
    return row, _recorded(request.node, seconds, f"{case} {mode}")


@pytest.fixture
def step(request, suite, head, whole):
    """The measured row of a U-Net step, and the tape of its times, None where it failed the gate."""
    row, seconds = suite.step(head, whole)
    return row, _recorded(request.node, seconds, "U-Net step")


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    suite = getattr(config, "suite", None)
    if suite is None:
        return
    terminalreporter.section("benchmarks")
    terminalreporter.write_line(tables.text(suite.results))
    if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        terminalreporter.write_line("no results file: the run did not reach its end")
        return
    path = results.write(suite.results, config.suite_selection.results)
    terminalreporter.write_line(f"results: {path}")


def _recorded(node, seconds, group):
    """A tape of these times, set as the clock that pytest-benchmark will read in this test."""
    if seconds is None:
        return None
    tape = Tape(seconds)
    node.add_marker(pytest.mark.benchmark(timer=tape, group=group))
    return tape
