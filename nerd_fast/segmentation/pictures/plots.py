"""Curves of training and the results of a study as pictures."""

import csv
from itertools import cycle

import numpy as np

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.pictures.drawing import COLOURS, save, sheet

PANEL_TITLES = {"loss": "Loss", "dice": "Dice", "lr": "Learning rate"}
LINE_STYLES = {"train": "-", "val": "--", "test": ":"}


def curves_figure(path, runs, *, quantities=("loss", "dice", "lr"), title=None):
    """Draw what training logged against the epoch, several runs in one picture; curves that are equal as one line.

    Args:
        path: the file to write.
        runs: {name: metrics.csv of the run}: a column `epoch` and one per value, cells empty where nothing was logged.
            A column belongs to every quantity whose name is a part of its own.
        quantities: one panel each, left out where no run logged it.
        title: a line above the panels.

    Raises DataError for a file that cannot be read, has no `epoch` or none of the quantities.
    """
    from matplotlib.ticker import MaxNLocator

    curves = {name: read_curves(file) for name, file in runs.items()}
    panels = [word for word in quantities if any(word in column for run in curves.values() for column in run)]
    if not panels:
        raise DataError(f"{', '.join(map(str, runs.values()))}: none of the columns {', '.join(quantities)} to draw")
    figure, axes = sheet(1, len(panels), panel=(4.4, 3.4), extra=0.5)
    for axis, word in zip(axes[0], panels, strict=True):
        lines = {}
        for colour, (name, columns) in zip(cycle(COLOURS), curves.items(), strict=False):
            for column, curve in columns.items():
                if word in column:
                    same = lines.setdefault((column, np.array(curve).tobytes()), (colour, curve, []))
                    same[2].append(name)
        for (column, _), (colour, curve, names) in lines.items():
            style = next((style for part, style in LINE_STYLES.items() if part in column), "-")
            whose = "all" if len(names) == len(curves) > 1 else ", ".join(names)
            axis.plot(*curve, style, marker=".", color=colour, label=f"{whose}, {column}")
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.set_title(PANEL_TITLES.get(word, word), fontweight="bold")
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=8, frameon=False)
    return save(figure, path, title)


def losses_figure(path, runs, *, title=None):
    """Draw the training loss against the epoch, a line per model: the mean over its runs, of epochs that all have.

    `runs` is {model: [metrics.csv of a run, one per seed]}; models of one head, the first word of their name, share a
    colour. The loss has a logarithmic axis, on which a loss that is a quarter of another is always as far below it.
    """
    from matplotlib.ticker import LogFormatter, MaxNLocator

    figure, axes = sheet(1, 1, panel=(5.6, 3.8), extra=0.4)
    (axis,) = axes[0]
    heads = list(dict.fromkeys(model.split()[0] for model in runs))
    drawn = []
    for model, files in runs.items():
        curves = [read_curves(file)["train_loss"] for file in files]
        epochs, _ = min(curves, key=lambda curve: len(curve[0]))
        means = np.mean([values[: len(epochs)] for _, values in curves], axis=0)
        colour = COLOURS[heads.index(model.split()[0]) % len(COLOURS)]
        style = ("-", "--", ":")[drawn.count(colour) % 3]
        drawn.append(colour)
        axis.plot(epochs, means, style, marker=".", color=colour, label=model)
    axis.set_yscale("log")
    for level in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
        level(LogFormatter(labelOnlyBase=False))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.set_xlabel("epoch")
    axis.set_ylabel("training loss")
    axis.grid(alpha=0.3, which="both")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=9, frameon=False)
    return save(figure, path, title)


def read_curves(file):
    """Read a metrics.csv as {column: (epochs, values)}; the mean of what was logged within an epoch."""
    try:
        with open(file, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        found = {}
        for row in rows:
            for column, cell in row.items():
                if column not in ("epoch", "step") and cell:
                    found.setdefault(column, {}).setdefault(int(row["epoch"]), []).append(float(cell))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: cannot be read as logged metrics with a column epoch ({error!r})") from error
    return {
        column: (np.array(list(epochs)), np.array([np.mean(values) for values in epochs.values()]))
        for column, epochs in found.items()
    }


def scores_figure(path, results, metrics, *, paper=None, title=None):
    """Draw the table of a study: a panel per metric, a line per model, a dot per seed, a bar at their mean.

    The paper's mean and standard deviation stand as a hollow diamond with whiskers, under ours of the same model.
    Arguments as for `tables.results_table`; models of one head, the first word of their name, share a colour.
    """
    figure, axes = sheet(1, len(metrics), panel=(2.9, 0.55 * len(results) + 0.6), extra=0.9)
    heads = list(dict.fromkeys(model.split()[0] for model in results))
    for axis, metric in zip(axes[0], metrics, strict=True):
        for height, (model, summaries) in enumerate(results.items()):
            colour = COLOURS[heads.index(model.split()[0]) % len(COLOURS)]
            in_paper = metric.key in (paper or {}).get(model, {})
            above, below = (0.12, 0.22) if in_paper and summaries else (0, 0)
            means = np.array([summary[metric.key]["mean"] for summary in summaries]) * metric.scale
            axis.plot(means, np.full(len(means), height - above), "o", color=colour, markersize=5, alpha=0.7)
            if len(means):
                axis.plot(means.mean(), height - above, "|", color=colour, markersize=16, markeredgewidth=2.5)
            if in_paper:
                mean, deviation = paper[model][metric.key]
                style = {"fmt": "D", "color": "#555555", "markerfacecolor": "white", "markersize": 5, "capsize": 2}
                axis.errorbar(mean, height + below, xerr=deviation, linewidth=1, **style)
        axis.set_title(metric.heading, fontsize=11)
        axis.set_ylim(len(results) - 0.4, -0.6)
        axis.set_yticks(range(len(results)), list(results) if axis is axes[0][0] else [""] * len(results))
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
    _scores_legend(figure, with_paper=bool(paper))
    return save(figure, path, title)


def _scores_legend(figure, with_paper):
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", color="#333333", linestyle="", alpha=0.7, label="one seed"),
        Line2D([], [], marker="|", color="#333333", linestyle="", markersize=13, markeredgewidth=2.5, label="mean"),
    ]
    if with_paper:
        style = {"marker": "D", "color": "#555555", "markerfacecolor": "white", "linewidth": 1, "markersize": 5}
        handles.append(Line2D([], [], label="paper, mean and standard deviation of 3 runs", **style))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
