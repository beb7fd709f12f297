"""The plots of a results file, as PNG beside it."""

import math
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, StrMethodFormatter

from benchmarks import device, tables
from benchmarks.workloads import HIDDEN

# One colour per peer in every plot; ours is the one that stands out.
COLOURS = {
    "conv1x1": "#555555",
    "paper": "#c9b18b",
    "reference": "#e0a030",
    "compiled": "#7fb3d5",
    "compiled-folded": "#2471a3",
    "fused": "#c0392b",
}
MARKERS = {"conv1x1": "o", "reference": "s", "fused": "D"}


def draw(path, found):
    """Draws what the results hold next to their file and returns the paths of the plots."""
    drawn = []
    for name, plot in (("training", training), ("scaling", scaling)):
        figure = plot(found)
        if figure is not None:
            drawn.append(Path(path).with_name(f"{Path(path).stem}-{name}.png"))
            figure.savefig(drawn[-1], dpi=110, metadata={"Software": None})
    return drawn


def training(found):
    """Training time of every peer on every workload, relative to the convolution; None without rows.

    A point for each, and a line to it from the convolution's time: on a logarithmic axis, where a bar would have no
    foot, equal lengths are equal factors.
    """
    rows = [row for row in found["heads"] if _is_plain(row) and "training" in row["modes"]]
    workloads = list(dict.fromkeys(row["workload"] for row in rows))
    peers = [name for name in COLOURS if any(row["peer"] == name for row in rows)]
    if not workloads or "conv1x1" not in peers:
        return None
    milliseconds = {(row["workload"], row["peer"]): row["modes"]["training"]["median_ms"] for row in rows}
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots()
    width = 0.84 / len(peers)
    for number, peer in enumerate(peers):
        at = [i + (number - (len(peers) - 1) / 2) * width for i in range(len(workloads))]
        ratios = [_ratio(milliseconds, workload, peer) for workload in workloads]
        axes.vlines(at, 1, ratios, color=COLOURS[peer], linewidth=1.5)
        axes.plot(at, ratios, MARKERS.get(peer, "o"), markersize=6, label=peer, color=COLOURS[peer])
        if peer == "fused":
            for place, ratio in zip(at, ratios, strict=True):
                _write_at(axes, place, ratio)
    axes.axhline(1, color="#555555", linewidth=0.8, linestyle="--")
    _logarithmic(axes.yaxis, subs=(1, 2, 5))
    axes.set_xticks(range(len(workloads)), workloads)
    axes.set_ylabel("training time / time of conv1x1")
    axes.set_title(f"Training of one head, float32 ({device.title(found['device'])}); lower is better")
    axes.legend(ncols=len(peers), loc="upper center", bbox_to_anchor=(0.5, -0.08), frameon=False)
    axes.margins(y=0.1)  # room for the numbers
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    return figure


def scaling(found):
    """Time and memory against the batch and the positions, logarithmic axes; None without rows."""
    rows = [row for row in found["scaling"] if row["modes"]]
    if not rows:
        return None
    figure = Figure(figsize=(10, 7), layout="constrained")
    panels = figure.subplots(2, 2, sharex="col")
    titles = {row["axis"]: tables.axis_title(row) for row in rows}
    for column, axis in enumerate(("batch", "positions")):
        for peer, marker in MARKERS.items():
            points = [row for row in rows if (row["axis"], row["peer"]) == (axis, peer)]
            x = [row["batch"] if axis == "batch" else _positions(row) for row in points]
            times = [row["modes"]["training"]["median_ms"] for row in points]
            memory = [row["memory_mib"]["training"] for row in points]
            style = {"marker": marker, "markersize": 5, "color": COLOURS[peer], "label": peer}
            panels[0, column].plot(x, times, **style)
            panels[1, column].plot(x, memory, **style)
        panels[1, column].set_xlabel(titles.get(axis, axis))
        for panel in panels[:, column]:
            _logarithmic(panel.xaxis, base=4)
            _logarithmic(panel.yaxis)
            panel.grid(alpha=0.3)
    panels[0, 0].set_ylabel("training time, ms")
    panels[1, 0].set_ylabel("peak memory above inputs, MiB")
    panels[0, 0].legend(frameon=False)
    figure.suptitle(f"Training of one head, C 16, K 1, float32 ({device.title(found['device'])})")
    return figure


def _write_at(axes, place, ratio):
    """The number at the end of a line that begins at 1, readable over a neighbour's."""
    axes.annotate(
        f"{ratio:.2f}",
        (place, ratio),
        xytext=(0, 6 if ratio >= 1 else -6),
        textcoords="offset points",
        ha="center",
        va="bottom" if ratio >= 1 else "top",
        fontsize=8,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )


def _logarithmic(axis, base=10, subs=(1,)):
    """A logarithmic axis with its numbers written out."""
    {"x": axis.axes.set_xscale, "y": axis.axes.set_yscale}[axis.axis_name]("log", base=base)
    axis.set_major_locator(LogLocator(base, subs))
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))


def _is_plain(row):
    return (row["dtype"], row["layout"], row["hidden"]) == ("float32", "contiguous", list(HIDDEN))


def _ratio(milliseconds, workload, peer):
    own, floor = milliseconds.get((workload, peer)), milliseconds.get((workload, "conv1x1"))
    return own / floor if own and floor else math.nan  # which is not drawn


def _positions(row):
    total = 1
    for size in row["spatial"]:
        total *= size
    return total
