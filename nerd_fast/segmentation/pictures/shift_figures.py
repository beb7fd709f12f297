"""Pictures of the shift: features against the distance to the border, and what a border that comes nearer changes."""

from itertools import cycle

import numpy as np

from nerd_fast.segmentation.pictures.drawing import COLOURS, save, sheet

MOST_LABELS = 6
STYLES = ("-", "--", ":")  # lines of runs that hardly differ lie on one another


def profile_figure(path, profiles, *, title=None):
    """Draw mean (above) and spread (below) of features against the distance to the nearest border.

    A thin line per channel, and a thick one over the channels: root mean square of the means, mean of the spreads.
    `profiles` is {name: `shift.Profile`}; panels of one row share their scale, so that they can be compared.
    """
    figure, axes = sheet(2, len(profiles), panel=(3.4, 2.6), extra=0.6)
    rows = (("mean", lambda mean: np.sqrt((mean**2).mean(axis=0))), ("spread", lambda spread: spread.mean(axis=0)))
    for row, (quantity, over_channels) in zip(axes, rows, strict=True):
        for axis, (name, found) in zip(row, profiles.items(), strict=True):
            values = getattr(found, quantity)
            axis.plot(found.distance, values.T, color=COLOURS[5], linewidth=0.8, alpha=0.7)
            axis.plot(found.distance, over_channels(values), color=COLOURS[1], linewidth=2.2)
            axis.axhline(0 if quantity == "mean" else 1, color="#999999", linewidth=0.8, linestyle=":")
            axis.set_title(name, fontsize=11)
            _style(axis, "distance to the border, pixels")
        low, high = (pick(axis.get_ylim()[side] for axis in row) for side, pick in ((0, min), (1, max)))
        for axis in row:
            axis.set_ylim(low, high)
        row[0].set_ylabel(f"{quantity}, standard deviations")
    _legend(figure)
    return save(figure, path, title)


def border_figure(path, borders, *, title=None):
    """Draw the border effect, {run: RMS change at each distance from a border that came nearer}, a line per run."""
    figure, axes = sheet(1, 1, panel=(5.2, 3.4), extra=0.3)
    (axis,) = axes[0]
    for colour, style, (name, values) in zip(cycle(COLOURS), cycle(STYLES), borders.items(), strict=False):
        axis.plot(np.arange(len(values)), values, style, color=colour, marker=".", label=name)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("RMS change / ordinary spread there")
    _style(axis, "distance to the new border, pixels")
    axis.legend(frameon=False, fontsize=9, ncols=1 + len(borders) // MOST_LABELS)
    return save(figure, path, title)


def _style(axis, label):
    axis.set_xlabel(label)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def _legend(figure):
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=COLOURS[5], linewidth=0.8, label="one channel"),
        Line2D([], [], color=COLOURS[1], linewidth=2.2, label="all channels: RMS of means, mean of spreads"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
