"""Every file has its line in the map of the package, and imports go one way."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from nerd_fast import segmentation

ROOT = Path(segmentation.__file__).parent
LINES = [re.findall(r"`(\w+)`", line) for line in segmentation.__doc__.splitlines() if "`" in line]
LINE_OF = {name: number for number, names in enumerate(LINES) for name in names}
FILES = {path.stem: path for path in sorted(ROOT.glob("*.py")) if path.stem != "__init__"}


def imported(name):
    """The files and folders of the package that a file imports when it is run, wherever in it."""
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(segmentation.__name__):
            inner = node.module.removeprefix(segmentation.__name__).split(".")[1:]
            yield from inner[:1] or [alias.name for alias in node.names]


def test_the_map_lists_every_file_once():
    assert sorted(name for names in LINES for name in names) == sorted([*FILES, "metrics"])


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_from_its_own_line_and_those_above(name):
    assert [other for other in imported(name) if LINE_OF[other] > LINE_OF[name]] == []


def test_no_import_goes_in_a_circle():
    TopologicalSorter({name: set(imported(name)) for name in FILES}).prepare()
