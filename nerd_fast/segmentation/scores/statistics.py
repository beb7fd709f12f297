"""Is one head better than another? Differences paired by seed and case, with a bootstrap over the cases.

The paper gives the mean and the deviation of three runs per model. Runs of one seed share their split, their order and
their start, and models share their cases, so the difference within a seed and a case says more than two columns of
means; and a test set of 12 or 31 scans is the larger uncertainty, which resampling the cases shows.
"""

from dataclasses import dataclass

import numpy as np

from nerd_fast.segmentation.base.errors import DataError


@dataclass(frozen=True)
class PairedDifference:
    """Candidate minus baseline in one metric, over all pairs of one seed and one case.

    `low` and `high` bound the confidence interval of `mean`, NaN where fewer than two cases are defined. `per_seed`
    are the means of the seeds. `undefined` counts the pairs where a value was NaN or infinite, which no mean includes.
    """

    mean: float
    low: float
    high: float
    per_seed: tuple[float, ...]
    cases: int
    undefined: int


def paired_difference(candidate, baseline, *, confidence=0.95, resamples=10_000, seed=0):
    """Return the `PairedDifference` of two arrays (seeds, cases) of one metric.

    The interval is the percentile bootstrap over cases: each resample draws as many cases as there are, with
    replacement, a case with all its seeds. The same arguments give the same interval.

    Raises ValueError for arrays of different shapes and for a confidence outside (0, 1).
    """
    candidate, baseline = np.asarray(candidate, dtype=float), np.asarray(baseline, dtype=float)
    if candidate.shape != baseline.shape or candidate.ndim != 2 or 0 in candidate.shape:
        raise ValueError(
            f"candidate and baseline must both be of shape (seeds, cases); found {candidate.shape} and {baseline.shape}"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1; found {confidence}")
    defined = np.isfinite(candidate) & np.isfinite(baseline)
    differences = np.subtract(candidate, baseline, where=defined, out=np.zeros_like(candidate))
    sums, counts = differences.sum(axis=0), defined.sum(axis=0)
    drawn = np.random.default_rng(seed).integers(sums.size, size=(resamples, sums.size))
    means = _mean(sums[drawn].sum(axis=1), counts[drawn].sum(axis=1))
    means = means[np.isfinite(means)]
    tail = (1 - confidence) / 2 * 100
    several = np.count_nonzero(counts) > 1  # resampling one case gives it back, which is no interval
    low, high = np.percentile(means, (tail, 100 - tail)) if several else (np.nan, np.nan)
    return PairedDifference(
        mean=float(_mean(sums.sum(), counts.sum())),
        low=float(low),
        high=float(high),
        per_seed=tuple(_mean(differences.sum(axis=1), defined.sum(axis=1)).tolist()),
        cases=sums.size,
        undefined=int(np.count_nonzero(~defined)),
    )


def _mean(total, count):
    return np.divide(total, count, where=count > 0, out=np.full_like(total, np.nan, dtype=float))


def compare(candidate, baseline, metric, **options):
    """Return the `PairedDifference` of two models in `metric`, over the seeds that both have.

    Args:
        candidate, baseline: {seed: rows}, the rows those of `evaluation`, one per case.
        metric: a key of the rows.
        options: as for `paired_difference`.

    Raises DataError where no seed is common, where the cases differ, and where a row lacks the metric.
    """
    seeds = sorted(candidate.keys() & baseline.keys())
    if not seeds:
        raise DataError(f"no seed in common: found {sorted(candidate)} and {sorted(baseline)}; train both")
    cases = [row["case"] for row in baseline[seeds[0]]]
    pair = [[_column(model[seed], cases, metric, seed) for seed in seeds] for model in (candidate, baseline)]
    return paired_difference(*pair, **options)


def _column(rows, cases, metric, seed):
    values = {row["case"]: row.get(metric) for row in rows}
    if values.keys() != set(cases) or len(rows) != len(cases):
        raise DataError(
            f"seed {seed}: its cases differ from those of the other runs in {sorted(values.keys() ^ set(cases))}; "
            "expected one row per case of the same test set: evaluate every run on the same split"
        )
    lacking = [case for case, value in values.items() if value is None]
    if lacking:
        raise DataError(f"seed {seed}: no {metric} for {lacking}; evaluate the run again")
    return [values[case] for case in cases]
