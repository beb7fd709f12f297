"""Holds a results file against what must be reached: `python -m benchmarks.check FILE`, a line per figure.

Exit code 0 where every figure of the file's kind of device holds, 1 where one falls short or is not in the file,
2 for a file that cannot be read. The figures are those of the plain case (float32, contiguous, hidden (32, 32))
unless a line says otherwise; the range over the other dtypes and layouts stands beside them.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import results
from benchmarks.workloads import HIDDEN, WIDE_HIDDEN

PAPER_SIZES = ("wmh", "wmh-wide", "la")
LARGE = ("large-batch", "large-batch-wide")


@dataclass(frozen=True)
class Figure:
    """A number that a file must hold: `value(results, dtype, layout)`, at most or at least `bound`."""

    device: str
    name: str
    value: Callable
    bound: float
    at_most: bool = True

    def holds(self, value):
        return value <= self.bound if self.at_most else value >= self.bound


def time_ratio(device, workload, over, under, bound, *, at_most=False, mode="training", hidden=HIDDEN):
    """Time of one peer over that of another."""
    name = f"{mode} time, {over} / {under}, {workload}"
    name += f", hidden {'x'.join(map(str, hidden))}" if hidden != HIDDEN else ""

    def value(found, dtype, layout):
        over_ms, under_ms = (
            _head(found, workload, peer, dtype, layout, hidden)["modes"][mode]["median_ms"] for peer in (over, under)
        )
        return over_ms / under_ms

    return Figure(device, name, value, bound, at_most)


def memory_ratio(workload, bound):
    """Peak memory of a training step, fused over conv1x1."""

    def value(found, dtype, layout):
        ours, floor = (_head(found, workload, peer, dtype, layout)["memory_mib"] for peer in ("fused", "conv1x1"))
        return ours["training"] / floor["training"]

    return Figure("cuda", f"peak memory, fused / conv1x1, {workload}", value, bound)


def bandwidth_share(workload, bound):
    """Share of the copy bandwidth that fused reaches in training."""

    def value(found, dtype, layout):
        return _head(found, workload, "fused", dtype, layout)["modes"]["training"]["share"]

    return Figure("cuda", f"share of copy bandwidth, training, {workload}", value, bound, at_most=False)


def step_ratio(key, name, bound):
    """A figure of the U-Net's training step with the fused head over that with conv1x1, nothing compiled."""

    def value(found, dtype, layout):
        _plain_only(dtype, layout)
        steps = {
            row["head"]: row[key] for row in found["steps"] if not row["whole_compiled"] and row["parity"]["passed"]
        }
        return steps["fused"] / steps["conv1x1"]

    return Figure("cuda", f"U-Net step, {name}, fused / conv1x1 head", value, bound)


def cold_start(cache, bound):
    """Seconds of the first call of a fresh process."""

    def value(found, dtype, layout):
        _plain_only(dtype, layout)
        return {row["cache"]: row["seconds"] for row in found["cold_start"]}[cache]

    return Figure("cuda", f"first call in seconds, {cache} Triton cache", value, bound)


FIGURES = (
    *(time_ratio("cuda", name, "fused", "conv1x1", 1.0, at_most=True) for name in (*PAPER_SIZES, *LARGE)),
    *(memory_ratio(name, 1.01) for name in LARGE),
    *(memory_ratio(name, 1.10) for name in PAPER_SIZES),
    *(bandwidth_share(name, 0.80) for name in LARGE),
    time_ratio("cuda", "large-batch", "compiled", "fused", 3),
    time_ratio("cuda", "large-batch", "reference", "fused", 5),
    time_ratio("cuda", "large-batch", "paper", "fused", 30),
    time_ratio("cuda", "large-batch", "compiled-folded", "fused", 1.1),
    time_ratio("cuda", "wmh", "compiled-folded", "fused", 1.5),
    step_ratio("median_ms", "time", 1.02),
    step_ratio("memory_mib", "memory", 1.00),
    cold_start("empty", 5),
    cold_start("warm", 0.3),
    time_ratio("cpu", "wmh", "fused", "conv1x1", 0.6, at_most=True),
    time_ratio("cpu", "wmh", "reference", "fused", 2, hidden=WIDE_HIDDEN),
    time_ratio("cpu", "wmh", "paper", "fused", 20, hidden=WIDE_HIDDEN),
    time_ratio("cpu", "wmh", "compiled-folded", "fused", 1.0),
    time_ratio("cpu", "single", "frozen", "conv1x1", 1.0, at_most=True, mode="inference"),
)


def check(found):
    """[(holds, line)] of every figure for the device of these results."""
    return [_judged(figure, found) for figure in FIGURES if figure.device == found["device"]["type"]]


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__.splitlines()[0])
    parser.add_argument("file", help="a results file that `pytest --benchmark` wrote")
    try:
        judged = check(results.read(parser.parse_args(arguments).file))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(line for _, line in judged))
    return int(not all(holds for holds, _ in judged))


def _judged(figure, found):
    bound = f"{'at most' if figure.at_most else 'at least'} {figure.bound:g}"
    value = _value(figure, found, "float32", "contiguous")
    if value is None:
        return False, f"SHORT  {figure.name}: not in the file ({bound})"
    kinds = {(row["dtype"], row["layout"]) for row in found["heads"]} - {("float32", "contiguous")}
    others = [other for kind in kinds if (other := _value(figure, found, *kind)) is not None]
    beside = f"; other dtypes and layouts {min(others):.3g} to {max(others):.3g}" if others else ""
    holds = figure.holds(value)
    return holds, f"{'ok   ' if holds else 'SHORT'}  {figure.name}: {value:.3g} ({bound}{beside})"


def _value(figure, found, dtype, layout):
    try:
        return figure.value(found, dtype, layout)
    except (KeyError, TypeError, ZeroDivisionError):  # a row that is not there, or has no figures
        return None


def _head(found, workload, peer, dtype, layout, hidden=HIDDEN):
    wanted = {"workload": workload, "peer": peer, "dtype": dtype, "layout": layout, "hidden": list(hidden)}
    for row in found["heads"]:
        if all(row[key] == value for key, value in wanted.items()):
            return row
    raise KeyError(wanted)


def _plain_only(dtype, layout):
    if (dtype, layout) != ("float32", "contiguous"):
        raise KeyError((dtype, layout))


if __name__ == "__main__":
    sys.exit(main())
