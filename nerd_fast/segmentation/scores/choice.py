"""Which of the metrics of an evaluation matter for the data, on a terminal and in a report alike."""

import re
from collections.abc import Mapping

VOXELS = ("dice", "jaccard", "hd_mm", "hd95_mm", "assd_mm", "truth_ml", "predicted_ml")
LESIONS = ("ldice", "ltpr", "lfpr", "truth_lesions", "predicted_lesions")
CHALLENGE = ("wmh_hd95_mm", "wmh_avd_percent", "wmh_recall", "wmh_f1")


def classes_in(summary: Mapping[str, object]) -> list[str]:
    """The prefixes of the metrics in a summary: "" for one class, "label1_", "label2_", ... for several."""
    return [found[1] for name in summary if (found := re.fullmatch(r"((?:label\d+_)?)dice", name))]


def metrics_that_matter(summary: Mapping[str, Mapping[str, float]], *, is_wmh2017: bool) -> list[str]:
    """Of voxels always, of lesions where scans have several (more than two on average), the challenge's for its data.

    `summary` is that of `evaluation.summarise`.
    """
    shown = []
    for prefix in classes_in(summary):
        several = summary[f"{prefix}truth_lesions"]["mean"] > 2
        lesions = LESIONS if several else ()
        shown += [prefix + name for name in (*VOXELS, *lesions, *(CHALLENGE if is_wmh2017 else ()))]
    return [*shown, *(["label_voxels_lost"] if summary["label_voxels_lost"]["mean"] else [])]
