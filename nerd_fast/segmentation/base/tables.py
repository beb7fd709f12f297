"""Tables of a study, as Markdown, CSV and plain text, and the paper's own numbers to put beside them."""

import csv
import io
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Metric:
    """A column: the key of a metric in the rows of `evaluation`, its heading, and how its values are printed."""

    key: str
    heading: str
    scale: float = 1.0
    digits: int = 1


DICE = Metric("dice", "Dice (%) ↑", 100)
JACCARD = Metric("jaccard", "Jaccard (%) ↑", 100)
LDICE = Metric("ldice", "LDice (%) ↑", 100)
LFPR = Metric("lfpr", "LFPR (%) ↓", 100)
LTPR = Metric("ltpr", "LTPR (%) ↑", 100)
HD = Metric("hd_voxel", "HD (voxels) ↓")
HD95 = Metric("hd95_voxel", "95HD (voxels) ↓")
ASD = Metric("asd_voxel", "ASD (voxels) ↓")
WMH_METRICS = (DICE, LDICE, LFPR, LTPR)
LA_METRICS = (DICE, JACCARD, HD, HD95, ASD)

# The paper's Tables 1 and 2: mean and standard deviation over three runs, in the unit of the columns above.
PAPER_WMH = {
    "U-Net 256": {"dice": (76.7, 1.96), "ldice": (66.9, 5.37), "lfpr": (30.8, 4.95), "ltpr": (73.9, 4.15)},
    "NeRDc 256": {"dice": (78.4, 0.41), "ldice": (69.7, 1.84), "lfpr": (27.8, 3.52), "ltpr": (72.2, 0.94)},
    "NeRDm 256": {"dice": (77.4, 0.71), "ldice": (66.9, 2.82), "lfpr": (33.5, 3.71), "ltpr": (73.9, 0.86)},
    "U-Net 512": {"dice": (78.4, 0.82), "ldice": (69.8, 0.55), "lfpr": (29.2, 3.14), "ltpr": (76.2, 3.07)},
    "NeRDc 512": {"dice": (79.2, 0.05), "ldice": (72.0, 1.07), "lfpr": (27.1, 0.44), "ltpr": (77.7, 1.83)},
    "NeRDm 512": {"dice": (78.6, 0.37), "ldice": (72.3, 0.32), "lfpr": (27.7, 1.11), "ltpr": (77.6, 2.43)},
}
PAPER_LA = {
    model: dict(zip(("dice", "jaccard", "hd_voxel", "hd95_voxel", "asd_voxel"), values, strict=True))
    for model, values in {
        "U-Net 256": ((90.3, 0.51), (82.5, 0.81), (34.1, 3.09), (6.5, 0.52), (2.1, 0.13)),
        "NeRDc 256": ((90.6, 0.26), (82.9, 0.39), (32.1, 3.55), (6.4, 0.55), (2.1, 0.12)),
        "NeRDm 256": ((90.5, 0.16), (82.8, 0.25), (29.6, 2.62), (6.3, 0.03), (2.1, 0.12)),
        "U-Net 512": ((90.1, 0.14), (82.2, 0.24), (34.3, 0.36), (6.9, 0.10), (2.3, 0.08)),
        "NeRDc 512": ((90.7, 0.14), (83.1, 0.23), (30.6, 0.67), (6.3, 0.21), (2.1, 0.07)),
        "NeRDm 512": ((90.3, 0.21), (82.5, 0.37), (35.2, 2.49), (6.5, 0.31), (2.2, 0.06)),
    }.items()
}
PAPER_RUNS = 3
PAPER_NOTE = (
    "The paper states neither the unit of its distances nor how it counts lesions: here distances are between the "
    "surfaces in the whole scan, and a lesion is a component in 3-D, found when one voxel of it is."
)
FEW_CASES = 6  # a 95 % interval of a bootstrap misses the mean of normal values in 49 % of samples of 2, in 16 % of 5
SEED_NOTE = "Mean over seeds of the mean over cases (standard deviation over seeds, n - 1)."
UNDEFINED_NOTE = "[u/v]: u of v values over cases and seeds were undefined and are in no mean."


@dataclass(frozen=True)
class Table:
    """A title, headings, rows of cells, all strings, and notes under them."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def to_markdown(self):
        """A Markdown table under the title in bold, its notes below."""
        lines = [self.headings, ("---",) * len(self.headings), *self.rows]
        body = "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
        return "\n\n".join((f"**{self.title}**", body, *self.notes)) + "\n"

    def to_csv(self):
        """Headings and rows; neither the title nor the notes."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.headings, *self.rows])
        return text.getvalue()

    def to_text(self):
        """Aligned columns for a terminal."""
        widths = [max(map(len, column)) for column in zip(self.headings, *self.rows, strict=True)]
        lines = [self.headings, tuple("-" * width for width in widths), *self.rows]
        body = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        return "\n".join((self.title, "", *body, *(("", *self.notes) if self.notes else ()))) + "\n"


def results_table(title, results, metrics, *, paper=None):
    """Return the `Table` of a study: a row per model, the paper's row under it where it has one.

    Args:
        title: the table's title.
        results: {model: [summary of `evaluation.summarise`, one per seed]}; an empty list is a model not run yet.
        metrics: the `Metric` columns.
        paper: `PAPER_WMH`, `PAPER_LA` or None.
    """
    rows = []
    for model, summaries in results.items():
        runs = f"here, {len(summaries)} {'seed' if len(summaries) == 1 else 'seeds'}" if summaries else "here, not run"
        rows.append((model, runs, *(_over_seeds(summaries, metric) for metric in metrics)))
        if paper and model in paper:
            values = [paper[model].get(metric.key) for metric in metrics]
            cells = [f"{value[0]:.1f} ({value[1]:.2f})" if value else "" for value in values]
            rows.append((model, f"paper, {PAPER_RUNS} runs", *cells))
    notes = [SEED_NOTE]
    notes += [UNDEFINED_NOTE] if any("[" in cell for row in rows for cell in row[2:]) else []
    notes += [PAPER_NOTE] if paper else []
    missing = [model for model, summaries in results.items() if not summaries]
    notes += [f"Missing: {', '.join(missing)}."] if missing else []
    return Table(title, ("Model", "Source", *(metric.heading for metric in metrics)), tuple(rows), tuple(notes))


def _over_seeds(summaries, metric):
    entries = [summary[metric.key] for summary in summaries]
    if not entries:
        return ""
    means = np.array([entry["mean"] for entry in entries]) * metric.scale
    cell = "undefined"
    if np.isfinite(means).all():
        cell = f"{means.mean():.{metric.digits}f}"
        if len(means) > 1:
            cell += f" ({means.std(ddof=1):.{metric.digits + 1}f})"
    undefined = sum(entry["undefined"] for entry in entries)
    total = undefined + sum(entry["n"] for entry in entries)
    return f"{cell} [{undefined}/{total}]" if undefined else cell


def differences_table(title, differences, metrics, *, confidence=0.95):
    """Return the `Table` of paired differences: {model: {key: `statistics.PairedDifference`}}, a row per model."""
    rows = [
        (model, *(_difference(found.get(metric.key), metric) for metric in metrics))
        for model, found in differences.items()
    ]
    note = f"Mean of the differences within a seed and a case; [{confidence:.0%} interval of a bootstrap over cases]."
    cases = [difference.cases for found in differences.values() for difference in found.values()]
    notes = (note, *few_cases(min(cases, default=FEW_CASES)))
    return Table(title, ("Model", *(metric.heading for metric in metrics)), tuple(rows), notes)


def few_cases(cases):
    """A sentence for fewer than `FEW_CASES` cases, else nothing."""
    if cases < FEW_CASES:
        found = "1 test case proves" if cases == 1 else f"{cases} test cases prove"
        yield f"{found} nothing: an interval over so few is far too narrow."


def _difference(found, metric):
    if found is None:
        return ""
    if not np.isfinite(found.mean):
        return "undefined"
    mean, low, high = (value * metric.scale for value in (found.mean, found.low, found.high))
    interval = "one case" if np.isnan(low) else f"{low:+.{metric.digits}f}, {high:+.{metric.digits}f}"
    cell = f"{mean:+.{metric.digits}f} [{interval}]"
    return f"{cell}, {found.undefined} undefined" if found.undefined else cell
