"""Metrics of a test set: one row per case, a summary with the counts of undefined values, and the files of both.

Undefined values are kept per case and counted, never dropped in silence. A mean runs over the finite values alone and
stands beside how many there were (`n`) and how many there were not (`undefined`):

| masks | dice, jaccard | hd, hd95, asd, assd | ltpr, ldice | lppv, lfpr | wmh_dice | wmh_hd95 | wmh_avd | wmh_recall |
|---|---|---|---|---|---|---|---|---|
| both empty | 1 | NaN | NaN | NaN | NaN | NaN | NaN | 1 |
| prediction empty | 0 | inf | 0 | NaN | 0 | NaN | 100 | 0 |
| truth empty | 0 | inf | NaN, 0 | 0, 1 | 0 | NaN | NaN | 1 |

In JSON, NaN is `null` and infinity is the string `"inf"`; in CSV they are `nan` and `inf`.
"""

import csv
import json
import math
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.base.files import begins_with, check_outputs, is_json_with, whole_file
from nerd_fast.segmentation.scores.metrics import overlap, wmh2017
from nerd_fast.segmentation.scores.metrics.lesions import count_lesions
from nerd_fast.segmentation.scores.metrics.masks import check_masks, check_steps, foreground_box
from nerd_fast.segmentation.scores.metrics.surface import distances_between, surface

FORMAT_VERSION = 1


def evaluate_case(prediction, truth, spacing, *, ignore=None, slice_axis=2, connectivity=26):
    """Return every metric of one scan by its name.

    Args:
        prediction, truth: masks of one label, (X, Y, Z), bool or 0 and 1.
        spacing: mm, one number per axis, or the (3, 3) matrix whose columns are the steps along the axes.
        ignore: mask of voxels that are background in both masks, as label 2 of the WMH challenge is.
        slice_axis: the axis across the slices, which the challenge's surface is taken within.
        connectivity: 6, 18 or 26 neighbours make a lesion of the paper's metrics; the challenge's are always 26.

    `both_empty` is 1 for a scan whose Dice of 1 says no more than that there was nothing to find, else 0.
    Keys ending in `_mm` and `_voxel` are distances, `truth_ml` and `predicted_ml` volumes, `truth_lesions`,
    `predicted_lesions`, `found_lesions` and `false_lesions` counts; `wmh_` marks the challenge's definitions
    (`metrics.wmh2017`), the other lesion-wise metrics are the paper's (`metrics.lesions`).

    Raises ValueError for different shapes, for values other than 0 and 1, and for an impossible spacing.
    """
    prediction, truth = check_masks(prediction, truth)
    if prediction.ndim != 3:
        raise ValueError(f"prediction and truth must be volumes (X, Y, Z); found the shape {prediction.shape}")
    steps = check_steps(spacing, 3)
    if ignore is not None:
        prediction, truth = wmh2017.remove_ignored(prediction, truth, ignore)
    # One voxel of margin keeps the surfaces what they are in the whole volume: erosion looks one voxel far.
    box = foreground_box(prediction | truth, margin=1)
    prediction, truth = prediction[box], truth[box]
    counts = count_lesions(prediction, truth, connectivity)
    challenge = wmh2017.evaluate(
        prediction, truth, steps, slice_axis=slice_axis, counts=counts if connectivity == 26 else None
    )
    millilitres = abs(float(np.linalg.det(steps))) / 1000
    return {
        "dice": overlap.dice(prediction, truth),
        "jaccard": overlap.jaccard(prediction, truth),
        **_distances(prediction, truth, steps),
        "ldice": counts.ldice(),
        "ldice_printed": counts.ldice_printed(),
        "ltpr": counts.ltpr(),
        "lppv": counts.lppv(),
        "lfpr": counts.lfpr(),
        **{f"wmh_{name}": value for name, value in challenge.items()},
        "both_empty": int(counts.truth == counts.predicted == 0),
        "truth_lesions": counts.truth,
        "predicted_lesions": counts.predicted,
        "found_lesions": counts.truth_found,
        "false_lesions": counts.predicted - counts.predicted_true,
        "truth_ml": int(np.count_nonzero(truth)) * millilitres,
        "predicted_ml": int(np.count_nonzero(prediction)) * millilitres,
    }


def evaluate_labels(prediction, truth, spacing, labels, **options):
    """Return the metrics of each label value of two label maps, in one row.

    With one label the keys are those of `evaluate_case`; with several, each is prefixed by its label, as in
    `label2_dice`. Arguments and options as for `evaluate_case`, but label maps for masks.
    """
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    rows = {label: evaluate_case(prediction == label, truth == label, spacing, **options) for label in labels}
    if len(rows) == 1:
        return next(iter(rows.values()))
    return {f"label{label}_{name}": value for label, row in rows.items() for name, value in row.items()}


def _distances(prediction, truth, steps):
    points = np.argwhere(surface(prediction)), np.argwhere(surface(truth))
    result = {}
    for unit, step in (("mm", steps), ("voxel", np.eye(3))):
        distances = distances_between(*points, step)
        result[f"hd_{unit}"] = distances.hausdorff()
        result[f"hd95_{unit}"] = distances.hausdorff_percentile(95)
        result[f"asd_{unit}"] = distances.average()
        result[f"assd_{unit}"] = distances.average_symmetric()
    return result


def summarise(rows, expected=None):
    """Return {metric: {"mean", "std", "n", "undefined"}} over the cases.

    Mean and sample standard deviation (n - 1 in the denominator) are over the `n` finite values; `undefined` counts the
    NaN and infinite ones. The mean is NaN where n = 0, the deviation where n < 2. A value that is no number (a case's
    name) is no metric.

    Raises DataError where cases are named twice, where rows do not have the same metrics, and, with `expected`, the
    names of the cases there should be, where one is missing or too many: part of a test set has another mean.
    """
    _check_rows(rows, expected)
    metrics = [name for name, value in rows[0].items() if _is_number(value)]
    return {name: _summary([row[name] for row in rows]) for name in metrics}


def _is_number(value):
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _summary(values):
    values = np.asarray(values, dtype=float)
    finite = values[np.isfinite(values)]
    return {
        "mean": float(finite.mean()) if finite.size else math.nan,
        "std": float(finite.std(ddof=1)) if finite.size > 1 else math.nan,
        "n": int(finite.size),
        "undefined": int(values.size - finite.size),
    }


def _check_rows(rows, expected):
    if not rows:
        raise DataError("no case was evaluated; expected one row or more")
    names = [row.get("case", f"row {index}") for index, row in enumerate(rows)]
    problems = [f"evaluated twice: {name}" for name in sorted({name for name in names if names.count(name) > 1})]
    if expected is not None:
        problems += [f"missing: {name}" for name in expected if name not in names]
        problems += [f"not in the test set: {name}" for name in names if name not in expected]
    problems += [
        f"{name}: its metrics differ from those of {names[0]} in {sorted(row.keys() ^ rows[0].keys())}"
        for name, row in zip(names, rows, strict=True)
        if row.keys() != rows[0].keys()
    ]
    if problems:
        raise DataError("the cases do not make a complete test set:\n  " + "\n  ".join(problems))


def check_destination(destination):
    """Raise UsageError unless `write_results` can write there, in place of nothing or of what it wrote before."""
    json_file = result_file(destination)
    check_outputs([json_file], lambda path: is_json_with(path, format=..., summary=..., cases=...), "metrics")
    # A manifest begins with `case,` too, and the log of a run is called metrics.csv.
    heads = ("case,dice,jaccard,", "case,label1_dice,label1_jaccard,")
    csv_file = json_file.with_suffix(".csv")
    check_outputs([csv_file], lambda path: any(begins_with(path, head) for head in heads), "metrics")


def write_results(destination, rows, summary, header):
    """Write the rows as CSV, and header, summary and rows as JSON, both whole or not at all.

    `destination` is the JSON file, the CSV beside it having the same stem, or a folder, which gets `metrics.json` and
    `metrics.csv`. `header` is a mapping that JSON can hold, saying what was evaluated. Returns both paths, JSON first.
    """
    json_file = result_file(destination)
    csv_file = json_file.with_suffix(".csv")
    document = {"format": FORMAT_VERSION, "header": header, "summary": summary, "cases": rows}
    with ExitStack() as stack:
        temporary_csv = stack.enter_context(whole_file(csv_file))
        temporary_json = stack.enter_context(whole_file(json_file))
        with open(temporary_csv, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        temporary_json.write_text(json.dumps(_to_json(document), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return json_file, csv_file


def read_results(destination):
    """Read what `write_results` wrote: {"format", "header", "summary", "cases"} with NaN and infinity restored.

    Raises DataError where the file is absent, damaged or of another format.
    """
    path = result_file(destination)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as metrics ({error}). Evaluate the run again") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT_VERSION:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise DataError(f"{path}: expected metrics of format {FORMAT_VERSION}; found {found}. Evaluate the run again")
    for entry in (*document["cases"], *document["summary"].values()):
        entry.update({name: math.nan for name, value in entry.items() if value is None})
        entry.update({name: math.inf for name, value in entry.items() if value == "inf"})
    return document


def result_file(destination):
    """The JSON file that `destination` stands for: itself where it ends in `.json`, else `metrics.json` in it."""
    path = Path(destination)
    return path if path.suffix == ".json" else path / "metrics.json"


def _to_json(value):
    if isinstance(value, dict):
        return {str(name): _to_json(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
