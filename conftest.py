"""The `--benchmark` option: it turns a pytest run into a run of benchmarks/, which plain pytest never collects."""

from pathlib import Path

import pytest

SUITE = Path(__file__).resolve().parent / "benchmarks"
LIBRARY_DISPLAY_OPTIONS = ("compare", "columns", "histogram", "verbose")
# Before it reads this file, pytest takes a folder that follows an option of ours for tests to collect.
WITH_EQUALS = "write it with ="


def pytest_addoption(parser):
    group = parser.getgroup("throughput and memory of the heads (benchmarks/)")
    group.addoption("--benchmark", action="store_true", dest="suite", help="run the benchmark suite and nothing else")
    group.addoption(
        "--benchmark-quick",
        action="store_true",
        dest="suite_quick",
        help="the benchmark suite in under a minute: the wmh workload, float32, contiguous, fewer rounds",
    )
    group.addoption("--benchmark-device", dest="suite_device", help="cpu or cuda; by default cuda where there is one")
    group.addoption(
        "--benchmark-workload",
        dest="suite_workloads",
        metavar="NAMES",
        help="workloads to measure, separated by commas; by default all of benchmarks/workloads.py",
    )
    group.addoption(
        "--benchmark-peer",
        dest="suite_peers",
        metavar="NAMES",
        help="peers to measure, separated by commas; by default all of benchmarks/peers.py",
    )
    group.addoption(
        "--benchmark-trace",
        dest="suite_trace",
        metavar="FOLDER",
        help=f"also write a torch profiler trace of one training step per workload and peer to FOLDER; {WITH_EQUALS}",
    )
    group.addoption(
        "--benchmark-results",
        dest="suite_results",
        metavar="PATH",
        help=f"file or folder (for <device>-<date>.json) of the results, by default .benchmarks/; {WITH_EQUALS}",
    )


def pytest_configure(config):
    option = config.option
    if option.suite_quick:
        option.suite = True
    if not option.suite:
        _refuse_companions(option)
        return
    if not config.pluginmanager.hasplugin("benchmark"):
        raise pytest.UsageError("--benchmark needs pytest-benchmark; install it with: pip install -e '.[dev]'")
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args[:] = [str(SUITE)]
    elif outside := [arg for arg in config.args if not _is_in_suite(config.invocation_params.dir / arg.split("::")[0])]:
        raise pytest.UsageError(f"--benchmark runs {SUITE.name}/ alone, not {outside[0]}; leave the path out")
    _quieten_library(option)
    from benchmarks.selection import Selection

    try:
        config.suite_selection = Selection.from_options(option)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_ignore_collect(collection_path, config):
    return True if _is_in_suite(collection_path) and not config.option.suite else None


def _refuse_companions(option):
    for name in ("device", "workloads", "peers", "trace", "results"):
        if getattr(option, f"suite_{name}") is not None:
            raise pytest.UsageError("--benchmark-device, -workload, -peer, -trace and -results need --benchmark")


def _is_in_suite(path):
    return Path(path).resolve().is_relative_to(SUITE)


def _quieten_library(option):
    """pytest-benchmark's own table, hundreds of rows, shows when one of its display options asks for it."""
    if not any(getattr(option, f"benchmark_{name}") for name in LIBRARY_DISPLAY_OPTIONS):
        option.benchmark_quiet = True
