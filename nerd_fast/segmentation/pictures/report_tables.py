"""The numbers of evaluated runs as tables of a page."""

import numpy as np

from nerd_fast.segmentation.pictures.page import note_html, table_html
from nerd_fast.segmentation.scores.statistics import compare
from nerd_fast.segmentation.scores.tables import DICE, JACCARD, LDICE, LFPR, LTPR, Metric, differences_table, few_cases

# Of these columns a table has those whose metrics matter for the data, as `evaluate` chooses them.
CLASS_METRICS = (
    DICE,
    JACCARD,
    Metric("hd95_mm", "HD95 (mm) ↓"),
    Metric("assd_mm", "ASSD (mm) ↓", digits=2),
    LDICE,
    LTPR,
    LFPR,
    Metric("wmh_avd_percent", "AVD (%) ↓"),
)
DIFFERENCE_METRICS = (DICE, Metric("hd95_mm", "HD95 (mm) ↓"), LDICE, LTPR, LFPR)
CASE_METRICS = (DICE, Metric("hd95_mm", "HD95 (mm) ↓"), LTPR, LFPR)


def metric_table(documents, prefix, chosen):
    """Mean ± deviation over the cases, a row per run; the best mean of a column of several runs is marked.

    `prefix` is that of the class, `chosen` are the metrics that matter (`choice.metrics_that_matter`).
    """
    metrics = _columns(CLASS_METRICS, prefix, chosen)
    rows, means = [], []
    for name, document in documents.items():
        entries = [document["summary"][metric.key] for metric in metrics]
        rows.append((name, *(_mean(entry, metric) for entry, metric in zip(entries, metrics, strict=True))))
        means.append(
            [entry["mean"] * (1 if "↑" in m.heading else -1) for entry, m in zip(entries, metrics, strict=True)]
        )
    headings = ("Run", *(metric.heading for metric in metrics))
    return table_html(headings, rows, best=_best(np.array(means)) if len(rows) > 1 else ())


def difference_table(documents, prefix, chosen):
    """Each run minus the first, over the cases, with a bootstrap; a note where the runs have different cases."""
    (name, first), *others = documents.items()
    metrics = _columns(DIFFERENCE_METRICS, prefix, chosen)
    cases = {row["case"] for row in first["cases"]}
    different = [other for other, document in others if {row["case"] for row in document["cases"]} != cases]
    if different:
        return note_html(
            f"{', '.join(different)}: evaluated on other cases than {name}, so there is nothing to compare."
        )
    if len(cases) < 2:
        return note_html("One case: what differs here may be otherwise in any other.")
    found = {
        other: {metric.key: compare({0: document["cases"]}, {0: first["cases"]}, metric.key) for metric in metrics}
        for other, document in others
    }
    table = differences_table("", found, metrics)
    return table_html(("Run", *table.headings[1:]), table.rows) + note_html(
        f"Over {len(cases)} cases: mean of the differences within a case, [95% interval of a bootstrap over cases]. "
        + "".join(few_cases(len(cases)))
    )


def case_table(documents, prefix, chosen):
    """A row per case, worst Dice of the first run first, with a few metrics of every run."""
    first, *_ = documents.values()
    metrics = _columns(CASE_METRICS, prefix, chosen)
    rows = {name: {row["case"]: row for row in document["cases"]} for name, document in documents.items()}
    order = sorted(first["cases"], key=lambda row: row[f"{prefix}dice"])
    groups = (("", 2), *((metric.heading, len(documents)) for metric in metrics))
    headings = ("Case", "Volume (ml)", *(list(documents) * len(metrics)))
    body = []
    for row in order:
        values = (
            _value(rows[name].get(row["case"], {}).get(metric.key), metric) for metric in metrics for name in documents
        )
        body.append((row["case"], f"{row[f'{prefix}truth_ml']:.1f}", *values))
    return table_html(headings, body, groups=groups) + note_html(
        "Sorted by the Dice of the first run, the worst case first."
    )


def _columns(metrics, prefix, chosen):
    """Those of the columns that were chosen, of the class of that prefix."""
    return [Metric(prefix + m.key, m.heading, m.scale, m.digits) for m in metrics if prefix + m.key in chosen]


def _mean(entry, metric):
    undefined = f" [{entry['undefined']}/{entry['undefined'] + entry['n']}]" if entry["undefined"] else ""
    if not entry["n"]:
        return f"undefined{undefined}"
    cell = f"{entry['mean'] * metric.scale:.{metric.digits}f}"
    if entry["n"] > 1:
        cell += f" ± {entry['std'] * metric.scale:.{metric.digits}f}"
    return cell + undefined


def _value(value, metric):
    if value is None:
        return ""
    return f"{value * metric.scale:.{metric.digits}f}" if np.isfinite(value) else "undefined"


def _best(means):
    """(row, column) of the best mean of each column; none where all are alike or one is undefined."""
    columns = [column for column in range(means.shape[1]) if np.isfinite(means[:, column]).all()]
    best = {(int(means[:, column].argmax()), column + 1) for column in columns if np.ptp(means[:, column]) > 0}
    return frozenset(best)
