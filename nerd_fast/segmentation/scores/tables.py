"""Tables of metrics: the columns, the results of models over seeds, and the differences between models."""

from dataclasses import dataclass

import numpy as np

from nerd_fast.segmentation.base.tables import Table


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

FEW_CASES = 6  # a 95 % interval of a bootstrap misses the mean of normal values in 49 % of samples of 2, in 16 % of 5
SEED_NOTE = "Mean over seeds of the mean over cases (standard deviation over seeds, n - 1)."
UNDEFINED_NOTE = "[u/v]: u of v values over cases and seeds were undefined and are in no mean."


@dataclass(frozen=True)
class Published:
    """What others report, to put beside our results.

    `values` are {model: {key of a metric: (mean, standard deviation)}} in the unit of the columns, `source` is what a
    row says of where they come from, `note` a sentence under the table.
    """

    source: str
    values: dict[str, dict[str, tuple[float, float]]]
    note: str


def results_table(title, results, metrics, *, paper=None):
    """Return the `Table` of a study: a row per model, under it what the paper reports of it.

    Args:
        title: the table's title.
        results: {model: [summary of `evaluation.summarise`, one per seed]}; an empty list is a model not run yet.
        metrics: the `Metric` columns.
        paper: the `Published` results, or None.
    """
    rows = []
    for model, summaries in results.items():
        runs = f"here, {len(summaries)} {'seed' if len(summaries) == 1 else 'seeds'}" if summaries else "here, not run"
        rows.append((model, runs, *(_over_seeds(summaries, metric) for metric in metrics)))
        if paper and model in paper.values:
            values = [paper.values[model].get(metric.key) for metric in metrics]
            cells = [f"{value[0]:.1f} ({value[1]:.2f})" if value else "" for value in values]
            rows.append((model, paper.source, *cells))
    notes = [SEED_NOTE]
    notes += [UNDEFINED_NOTE] if any("[" in cell for row in rows for cell in row[2:]) else []
    notes += [paper.note] if paper else []
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
