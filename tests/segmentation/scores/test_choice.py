"""Of the metrics of an evaluation those are shown that matter for the data."""

from nerd_fast.segmentation.scores.choice import classes_in, metrics_that_matter
from nerd_fast.segmentation.scores.evaluation import evaluate_labels, summarise
from tests.segmentation.images import blocks


def chosen(truth, is_wmh2017=False, labels=(1,)):
    row = {"case": "a", **evaluate_labels(truth, truth, (1, 1, 1), labels), "label_voxels_lost": 0}
    return metrics_that_matter(summarise([row]), is_wmh2017=is_wmh2017)


ORGAN = ["dice", "jaccard", "hd_mm", "hd95_mm", "assd_mm", "truth_ml", "predicted_ml"]
SEVERAL = ["ldice", "ltpr", "lfpr", "truth_lesions", "predicted_lesions"]


def test_an_organ_has_no_lesions():
    assert chosen(blocks((2, 2))) == ORGAN


def test_scans_with_several_lesions_have_their_metrics():
    assert chosen(blocks((1, 1), (6, 6), (11, 11))) == [*ORGAN, *SEVERAL]


def test_data_of_the_challenge_have_its_metrics_too():
    found = chosen(blocks((1, 1), (6, 6), (11, 11)), is_wmh2017=True)
    assert [name for name in found if name.startswith("wmh_")] == [
        "wmh_hd95_mm",
        "wmh_avd_percent",
        "wmh_recall",
        "wmh_f1",
    ]


def test_every_class_has_its_metrics():
    found = chosen(blocks((2, 2)) + 2 * blocks((8, 8)), labels=(1, 2))
    assert found == [f"label{label}_{name}" for label in (1, 2) for name in ORGAN]


def test_the_classes_are_those_of_the_summary():
    assert classes_in({"label1_dice": {}, "label1_ldice": {}, "label2_dice": {}}) == ["label1_", "label2_"]
    assert classes_in({"dice": {}, "wmh_dice": {}, "ldice": {}}) == [""]
