"""Options become what their annotations say, or are refused by name."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from nerd_fast.segmentation.base.typed import make_typed


@dataclass
class Some:
    number: float = 0.5
    whole: int | None = None
    yes: bool = False
    name: str | None = None
    sizes: list[int] | None = field(default=None, metadata={"nargs": 2})
    files: dict[str, str] = field(default_factory=dict)
    scale: float | Literal["extent"] = "extent"
    near: Literal[6, 26] = 6

    def __post_init__(self):
        make_typed(self)


def test_numbers_paths_and_sequences_of_any_library_become_python_s():
    some = Some(np.float32(0.5), np.int64(3), np.bool_(True), Path("a/b"), np.array([4, 5]), {"a": Path("b")}, 2)
    assert some == Some(0.5, 3, True, "a/b", [4, 5], {"a": "b"}, 2)
    assert [type(value) for value in (some.number, some.whole, some.yes, some.name)] == [float, int, bool, str]
    assert [type(size) for size in some.sizes] == [int, int]
    assert Some(sizes=(4, 5)).sizes == Some(sizes=range(4, 6)).sizes == [4, 5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"number": "0.5"}, "number: expected a number; found '0.5'"),
        ({"number": None}, "number: expected a number; found None"),
        ({"number": True}, "number: expected a number; found True"),
        ({"whole": 1.0}, "whole: expected a whole number or None; found 1.0"),
        ({"yes": 1}, "yes: expected True or False; found 1"),
        ({"name": 3}, "name: expected text or None; found 3"),
        ({"sizes": [4]}, r"sizes: expected a list of 2 whole numbers or None; found \[4\]"),
        ({"sizes": "45"}, "sizes: expected a list of 2 whole numbers or None; found '45'"),
        ({"sizes": {4, 5}}, "sizes: expected a list of 2 whole numbers"),
        ({"files": {"a": 3}}, "files: expected a dictionary; found {'a': 3}"),
        ({"scale": "pixels"}, "scale: expected a number or extent; found 'pixels'"),
        ({"near": 18}, "near: expected one of 6, 26; found 18"),
        ({"near": "6"}, "near: expected one of 6, 26; found '6'"),
    ],
)
def test_what_the_annotation_does_not_say_is_refused_by_name(options, message):
    with pytest.raises(TypeError, match=message):
        Some(**options)
