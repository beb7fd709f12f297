"""Sheets of panels, without a window and without global state of matplotlib, saved whole or not at all."""

from pathlib import Path

from nerd_fast.segmentation.base.files import whole_file

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")  # Okabe and Ito


def sheet(rows, columns, *, panel, extra):
    """A figure and its axes (rows, columns), a panel being (width, height) inches; `extra` inches go to titles."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * panel[0], rows * panel[1] + extra), dpi=130, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def save(figure, path, title):
    """Write the figure in the format of the path's ending, whole or not at all, and return the path."""
    if title:
        figure.suptitle(title, fontsize=13)
    path = Path(path)
    with whole_file(path) as temporary:
        figure.savefig(temporary, bbox_inches="tight", pad_inches=0.1)
    return path
