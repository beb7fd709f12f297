"""`nerd-fast evaluate`: the masks of a run, scored in the whole volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nerd_fast.segmentation.base.config import InferenceOptions, check, option, require

if TYPE_CHECKING:
    from nerd_fast.segmentation.scores.scoring import Evaluation


@dataclass
class EvaluateOptions(InferenceOptions):
    """Per-case and mean metrics of a run. Printed are those that matter for the data; the files hold all.

    dice, jaccard: overlap of the voxels. hd_mm, hd95_mm, assd_mm: largest, 95th percentile of, and mean distance of
    the surfaces. truth_ml, predicted_ml: volumes. Where a scan has several lesions: ltpr, share of the lesions that are
    found; lfpr, share of the predicted ones that are none; ldice, both at once; truth_lesions, predicted_lesions: how
    many there are. For data of the WMH challenge, wmh_: its own metrics. docs/metrics.md defines all of them.
    """

    data: str | None = option(None, "folder of the data set", required=True)
    layout: str = option("auto", "how the folder is laid out")
    split: str | None = option(None, "JSON file of train, val and test cases (default: the split of the run)")
    subset: Literal["train", "val", "test"] = option("test", "which cases of the split")
    out: str | None = option(None, "JSON file of the metrics, a CSV beside it (default: RUN/metrics_SUBSET.json)")
    score_in_crop: bool = option(False, "score inside the crop; otherwise label outside it counts as missed")
    connectivity: Literal[6, 18, 26] = option(26, "neighbours of a voxel that belong to the same lesion")
    label_2: Literal["exclude", "background"] = option(
        "exclude", "other pathology in WMH labels: left out of the scores, as the challenge does, or background"
    )

    def __post_init__(self):
        super().__post_init__()
        both = self.score_in_crop and self.window is not None
        check(not both, "score_in_crop", "--window too", "one of both, for windows move over the whole slice")


def evaluate(options: EvaluateOptions) -> Evaluation:
    """The masks of a subset of the split, scored in the whole volume; written as JSON and CSV too."""
    require(options, EvaluateOptions)
    from nerd_fast.segmentation.scores.scoring import evaluate_run

    return evaluate_run(options)


def run(options: EvaluateOptions) -> None:
    """Print the means that matter for the data, and where all metrics of each case are."""
    from nerd_fast.segmentation.scores.choice import metrics_that_matter

    evaluation = evaluate(options)
    for name in metrics_that_matter(evaluation.summary, is_wmh2017=bool(evaluation.header["wmh2017"])):
        entry = evaluation.summary[name]
        undefined = f"  ({entry['undefined']} undefined)" if entry["undefined"] else ""
        spread = f" +- {entry['std']:.4f}" if entry["n"] > 1 else ""
        print(f"{name:24} {entry['mean']:10.4f}{spread}  n {entry['n']}{undefined}")
    print(evaluation.file)
