"""What evaluate prints is explained by its help, and the documentation defines every metric."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from nerd_fast.segmentation.commands.evaluate import EvaluateOptions
from nerd_fast.segmentation.scores.choice import LESIONS, VOXELS
from nerd_fast.segmentation.scores.evaluation import evaluate_case
from tests.segmentation.images import blocks

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"
WORDS = {"undefined": math.nan, "infinite": math.inf}


def test_what_is_printed_is_explained_by_help():
    words = EvaluateOptions.__doc__
    assert all(re.search(rf"\b{name}\b", words) for name in (*VOXELS, *LESIONS))
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
