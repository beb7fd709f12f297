"""evaluate prints the dozen metrics that matter for the data, and the documentation defines every one."""

import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nerd_fast.segmentation.commands.evaluate import EvaluateOptions, metrics_that_matter
from nerd_fast.segmentation.scores.evaluation import evaluate_case, evaluate_labels, summarise

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"
WORDS = {"undefined": math.nan, "infinite": math.inf}


def blocks(*corners):
    """A mask (16, 16, 4) with a block at each corner."""
    mask = np.zeros((16, 16, 4), dtype=np.uint8)
    for x, y in corners:
        mask[x : x + 3, y : y + 3, 1:3] = 1
    return mask


def printed(truth, ignore_values=(), labels=(1,)):
    row = {"case": "a", **evaluate_labels(truth, truth, (1, 1, 1), labels), "label_voxels_lost": 0}
    return metrics_that_matter(SimpleNamespace(summary=summarise([row]), header={"ignore_values": ignore_values}))


ORGAN = ["dice", "jaccard", "hd_mm", "hd95_mm", "assd_mm", "truth_ml", "predicted_ml"]
SEVERAL = ["ldice", "ltpr", "lfpr", "truth_lesions", "predicted_lesions"]


def test_an_organ_has_no_lesions():
    assert printed(blocks((2, 2))) == ORGAN


def test_scans_with_several_lesions_have_their_metrics():
    assert printed(blocks((1, 1), (6, 6), (11, 11))) == [*ORGAN, *SEVERAL]


def test_data_of_the_challenge_have_its_metrics_too():
    found = printed(blocks((1, 1), (6, 6), (11, 11)), ignore_values=[2])
    assert [name for name in found if name.startswith("wmh_")] == [
        "wmh_hd95_mm",
        "wmh_avd_percent",
        "wmh_recall",
        "wmh_f1",
    ]


def test_every_class_has_its_metrics():
    found = printed(blocks((2, 2)) + 2 * blocks((8, 8)), labels=(1, 2))
    assert found == [f"label{label}_{name}" for label in (1, 2) for name in ORGAN]


def test_what_is_printed_is_explained_by_help():
    words = EvaluateOptions.__doc__
    assert all(re.search(rf"\b{name}\b", words) for name in (*ORGAN, *SEVERAL))
    assert "docs/metrics.md" in words


def documented():
    """{metric: what its row of the documentation says of empty masks}."""
    rows = re.findall(r"^\| (`[a-z0-9_`, ]+`) \|(.*)\|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        name: [cell.strip() for cell in re.split(r"(?<!\\)\|", rest)[-3:]]
        for names, rest in rows
        for name in re.findall(r"`(\w+)`", names)
    }


EMPTY, FULL = blocks(), blocks((2, 2), (8, 8))


@pytest.mark.parametrize(("column", "masks"), list(enumerate([(EMPTY, EMPTY), (EMPTY, FULL), (FULL, EMPTY)])))
def test_the_documentation_says_what_an_empty_mask_gives(column, masks):
    found, said = evaluate_case(*masks, (1, 1, 1)), documented()
    assert found.keys() == said.keys()
    stated = {name: WORDS.get(cells[column], cells[column]) for name, cells in said.items()}
    for name, value in stated.items():
        if isinstance(value, str) and not re.fullmatch(r"\d+", value):
            continue  # of each of the masks, in words
        np.testing.assert_equal(float(found[name]), float(value), err_msg=name)
