import csv
import json
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerd_fast.segmentation.base.errors import DataError, UsageError
from nerd_fast.segmentation.scores.evaluation import (
    evaluate_case,
    evaluate_labels,
    read_results,
    summarise,
    write_results,
)
from nerd_fast.segmentation.scores.metrics import wmh2017
from nerd_fast.segmentation.scores.metrics.lesions import count_lesions
from tests.segmentation.scores.metrics.distances import surface_distances
from tests.segmentation.scores.metrics.strategies import SPACINGS, mask_pairs

DISTANCES = [f"{name}_{unit}" for name in ("hd", "hd95", "asd", "assd") for unit in ("mm", "voxel")]
EMPTY, FULL = np.zeros((4, 4, 4), dtype=np.uint8), np.ones((4, 4, 4), dtype=np.uint8)


def test_hand_computed_scan_of_two_lesions():
    truth, prediction = np.zeros((2, 10, 8, 6), dtype=np.uint8)
    truth[2, 2, 2] = truth[7, 7, 5] = 1
    prediction[2, 2, 2] = prediction[2, 2, 3] = 1
    row = evaluate_case(prediction, truth, (1.0, 2.0, 3.0))
    far = math.dist((7, 14, 15), (2, 4, 9))
    expected = {
        "dice": 0.5,
        "jaccard": 1 / 3,
        "hd_mm": far,
        "hd_voxel": math.dist((7, 7, 5), (2, 2, 3)),
        "asd_mm": 1.5,
        "asd_voxel": 0.5,
        "assd_mm": (0 + 3 + 0 + far) / 4,
        "ldice": 2 / 3,
        "ldice_printed": 1 / 3,
        "ltpr": 0.5,
        "lppv": 1,
        "lfpr": 0,
        "wmh_recall": 0.5,
        "wmh_precision": 1,
        "wmh_f1": 2 / 3,
        "wmh_avd_percent": 0,
        "truth_lesions": 2,
        "predicted_lesions": 1,
        "found_lesions": 1,
        "false_lesions": 0,
        "truth_ml": 0.012,
        "predicted_ml": 0.012,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_a_sheared_scan_is_measured_through_its_affine():
    truth, prediction = np.zeros((2, 10, 8, 6), dtype=np.uint8)
    truth[2:4, 2, 2] = prediction[2, 5, 2] = 1
    steps = np.array([[1.0, 1.0, 0], [0, 1.0, 0], [0, 0, 3.0]])
    row = evaluate_case(prediction, truth, steps)
    assert (row["truth_ml"], row["predicted_ml"]) == pytest.approx((2 * 3 / 1000, 3 / 1000))  # sqrt(2) more by lengths
    assert (row["hd_mm"], row["hd_voxel"]) == pytest.approx((math.hypot(3, 3), math.hypot(1, 3)))
    assert row["wmh_hd95_mm"] == pytest.approx(np.percentile([math.hypot(3, 3), math.hypot(2, 3)], 95))


@given(mask_pairs(), SPACINGS, st.tuples(*[st.integers(0, 3)] * 3))
def test_the_box_that_is_looked_at_changes_nothing(pair, spacing, before):
    prediction, truth = (np.pad(mask, [(size, 2) for size in before]) for mask in pair)
    row = evaluate_case(prediction, truth, spacing)
    distances = surface_distances(prediction, truth, spacing)
    counts = count_lesions(prediction, truth)
    whole = {
        "hd_mm": distances.hausdorff(),
        "hd95_mm": distances.hausdorff_percentile(95),
        "assd_mm": distances.average_symmetric(),
        "ldice": counts.ldice(),
        **{f"wmh_{name}": value for name, value in wmh2017.evaluate(prediction, truth, spacing).items()},
    }
    assert {name: row[name] for name in whole} == pytest.approx(whole, nan_ok=True)


@pytest.mark.parametrize(
    ("prediction", "truth", "overlap", "distance", "lesions"),
    [
        (EMPTY, EMPTY, 1, math.nan, {"ltpr": math.nan, "ldice": math.nan, "lfpr": math.nan, "wmh_f1": 1}),
        (EMPTY, FULL, 0, math.inf, {"ltpr": 0, "ldice": 0, "lfpr": math.nan, "wmh_f1": 0}),
        (FULL, EMPTY, 0, math.inf, {"ltpr": math.nan, "ldice": 0, "lfpr": 1, "wmh_f1": 0}),
    ],
    ids=["both empty", "prediction empty", "truth empty"],
)
def test_the_table_of_empty_masks(prediction, truth, overlap, distance, lesions):
    row = evaluate_case(prediction, truth, (1, 1, 1))
    assert row["dice"] == row["jaccard"] == overlap
    assert row["both_empty"] == (prediction is truth)
    np.testing.assert_equal([row[name] for name in DISTANCES], [distance] * len(DISTANCES))
    np.testing.assert_equal({name: row[name] for name in lesions}, lesions)


@given(mask_pairs(), SPACINGS)
def test_every_scan_has_the_same_metrics(pair, spacing):
    assert evaluate_case(*pair, spacing).keys() == evaluate_case(EMPTY, FULL, (1, 1, 1)).keys()


def test_ignored_voxels_count_for_nothing():
    truth, prediction, ignore = np.zeros((3, 6, 6, 6), dtype=bool)
    truth[1:3, 1:3, 1] = prediction[1:3, 1:3, 1] = True
    clean = evaluate_case(prediction, truth, (1, 1, 1))
    prediction[4:, 4:, 4:] = ignore[4:, 4:, 4:] = True
    assert evaluate_case(prediction, truth, (1, 1, 1), ignore=ignore) == clean
    assert evaluate_case(prediction, truth, (1, 1, 1)) != clean
    truth[5, 5, 5] = True
    assert evaluate_case(prediction, truth, (1, 1, 1), ignore=ignore) == clean


def test_connectivity_changes_the_papers_lesions_and_not_the_challenges():
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[1, 1, 1] = mask[2, 2, 2] = True
    row, other = (evaluate_case(mask, mask & False, (1, 1, 1), connectivity=n) for n in (26, 6))
    assert (row["predicted_lesions"], other["predicted_lesions"]) == (1, 2)
    assert {name for name in row if not np.array_equal(row[name], other[name], equal_nan=True)} == {
        "predicted_lesions",
        "false_lesions",
    }


def test_the_challenges_surface_follows_the_slice_axis():
    masks = np.zeros((2, 12, 10, 9), dtype=bool)
    masks[0, 5, 5, 4] = masks[1, 1:11, 2:8, 3:6] = True
    row = evaluate_case(*masks, (1.0, 2.0, 3.0))
    turned = evaluate_case(*(np.moveaxis(mask, 2, 0) for mask in masks), (3.0, 1.0, 2.0), slice_axis=0)
    assert turned == pytest.approx(row)
    other = evaluate_case(*masks, (1.0, 2.0, 3.0), slice_axis=0)
    assert {name for name in row if other[name] != row[name]} == {"wmh_hd95_mm"}


def test_only_volumes_are_evaluated():
    with pytest.raises(ValueError, match=r"must be volumes \(X, Y, Z\); found the shape \(4, 4\)"):
        evaluate_case(EMPTY[0], FULL[0], (1, 1, 1))


def test_a_probability_is_no_mask():
    with pytest.raises(ValueError, match="prediction must be a mask of 0 and 1"):
        evaluate_case(FULL * 0.6, FULL, (1, 1, 1))


def test_several_labels_are_prefixed_and_one_is_not():
    truth = np.zeros((6, 6, 6), dtype=np.uint8)
    truth[:3], truth[3:] = 1, 2
    prediction = np.where(truth == 2, 0, truth)
    one, both = (evaluate_labels(prediction, truth, (1, 1, 1), labels) for labels in ([1], [1, 2]))
    assert one["dice"] == both["label1_dice"] == 1
    assert both["label2_dice"] == 0
    assert len(both) == 2 * len(one)


def test_a_scan_of_the_left_atrium_takes_a_second_or_two():
    x, y, z = np.ogrid[:200, :140, :88]
    truth = ((x - 100) / 50) ** 2 + ((y - 70) / 40) ** 2 + ((z - 44) / 30) ** 2 < 1
    prediction = np.roll(truth, 4, axis=0)
    prediction[::23, ::17, ::11] = True
    started = time.process_time()
    evaluate_case(prediction, truth, (0.625, 0.625, 1.25))
    assert time.process_time() - started < 4


ROWS = [
    {"case": "a", "dice": 0.8, "hd_mm": 4.0, "ltpr": math.nan},
    {"case": "b", "dice": 0.6, "hd_mm": math.inf, "ltpr": math.nan},
    {"case": "c", "dice": 1.0, "hd_mm": 2.0, "ltpr": 0.5},
]


def test_the_summary_counts_what_no_mean_includes():
    summary = summarise(ROWS)
    assert summary["dice"] == pytest.approx({"mean": 0.8, "std": 0.2, "n": 3, "undefined": 0})
    assert summary["hd_mm"] == pytest.approx({"mean": 3, "std": math.sqrt(2), "n": 2, "undefined": 1})
    assert summary["ltpr"] == pytest.approx({"mean": 0.5, "std": math.nan, "n": 1, "undefined": 2}, nan_ok=True)
    assert "case" not in summary


def test_a_metric_that_no_case_defines_has_no_mean():
    summary = summarise([{"case": "a", "hd_mm": math.inf}])
    assert summary["hd_mm"] == pytest.approx({"mean": math.nan, "std": math.nan, "n": 0, "undefined": 1}, nan_ok=True)


@pytest.mark.parametrize(
    ("rows", "expected", "message"),
    [
        ([], None, "no case was evaluated"),
        ([*ROWS, ROWS[0]], None, "evaluated twice: a"),
        (ROWS, ["a", "b", "c", "d"], "missing: d"),
        (ROWS, ["a", "b"], "not in the test set: c"),
        ([*ROWS, {"case": "d", "dice": 1.0}], None, r"d: its metrics differ .* \['hd_mm', 'ltpr'\]"),
    ],
)
def test_part_of_a_test_set_is_never_averaged(rows, expected, message):
    with pytest.raises(DataError, match=message):
        summarise(rows, expected)


def test_every_problem_of_a_test_set_is_named_at_once():
    with pytest.raises(DataError, match=r"(?s)twice: a.*missing: d.*not in the test set: c"):
        summarise([*ROWS, ROWS[0]], ["a", "b", "d"])


def test_results_survive_the_files(tmp_path):
    summary = summarise(ROWS)
    written = write_results(tmp_path / "test", ROWS, summary, {"head": "nerdm"})
    assert [path.name for path in written] == ["metrics.json", "metrics.csv"]
    found = read_results(tmp_path / "test")
    np.testing.assert_equal(found["cases"], ROWS)
    np.testing.assert_equal(found["summary"], summary)
    assert found["header"] == {"head": "nerdm"}


def test_the_json_is_valid_and_says_infinity_in_a_string(tmp_path):
    rows = [{"case": "a", "hd_mm": np.float64(np.inf), "ltpr": np.float32(np.nan), "truth_lesions": np.int64(3)}]
    path, _ = write_results(tmp_path / "scores.json", rows, summarise(rows), {})
    document = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert document["cases"] == [{"case": "a", "hd_mm": "inf", "ltpr": None, "truth_lesions": 3}]


def test_the_csv_has_a_row_per_case(tmp_path):
    _, path = write_results(tmp_path / "scores.json", ROWS, summarise(ROWS), {})
    assert path == tmp_path / "scores.csv"
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["a", "b", "c"]
    assert rows[1] == {"case": "b", "dice": "0.6", "hd_mm": "inf", "ltpr": "nan"}


def test_what_cannot_be_written_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        write_results(tmp_path, ROWS, summarise(ROWS), {"model": object()})
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_is_a_file_is_a_usage_error(tmp_path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(UsageError, match="cannot be written"):
        write_results(tmp_path / "out", ROWS, summarise(ROWS), {})


@pytest.mark.parametrize("content", [None, "{", "[]", '{"format": 99}'])
def test_damaged_or_foreign_results_are_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(DataError, match=r"metrics.json: .*Evaluate the run again"):
        read_results(tmp_path)
