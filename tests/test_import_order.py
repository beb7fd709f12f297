"""Imports go one way: the table of layers in CONTRIBUTING.md, read from the syntax tree of every file."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = re.findall(r"^\| `(nerd_fast[\w.]*)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.M)
RANK = {layer: number for number, layer in enumerate(TABLE)}
FACADES = ("nerd_fast", "nerd_fast.segmentation")  # these name what users call, and load it on first use


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "nerd_fast" else ("nerd_fast", *parts)
    return ".".join(parts).removesuffix(".__init__")


FILES = {module_of(path): path for folder in ("nerd_fast", "kernels") for path in sorted((ROOT / folder).rglob("*.py"))}


def layer_of(module):
    """The line of the table that a module belongs to: the longest name that it lies under."""
    under = [layer for layer in RANK if f"{module}.".startswith(f"{layer}.")]
    return max(under, key=len, default=None)


def imported(tree):
    """Every module of ours that a file names in an import, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom) and node.module in FILES:
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in FILES else node.module for name in named)


def against_the_order(module, source):
    """The imports of a file that go up the table."""
    rank = RANK[layer_of(module)]
    found = {name: layer_of(name) for name in imported(ast.parse(source)) if name not in FACADES}
    return sorted(name for name, layer in found.items() if RANK[layer] < rank)


@pytest.mark.parametrize("module", sorted(FILES.keys() - {*FACADES, "nerd_fast.__main__"}))
def test_a_file_imports_from_its_own_layer_and_those_below(module):
    assert layer_of(module), f"{module} has no line in the table of CONTRIBUTING.md"
    assert against_the_order(module, FILES[module].read_text(encoding="utf-8")) == []


def test_no_import_goes_in_a_circle():
    graph = {module: set(imported(ast.parse(path.read_text(encoding="utf-8")))) for module, path in FILES.items()}
    TopologicalSorter({module: names - {module, *FACADES} for module, names in graph.items()}).prepare()


@pytest.mark.parametrize(
    ("module", "planted"),
    [
        ("nerd_fast.segmentation.data.cases", "from nerd_fast.segmentation.runs import loading"),
        ("nerd_fast.segmentation.base.files", "def f():\n    from nerd_fast.segmentation.data.cases import Case"),
        ("nerd_fast.kernels.launch", "import nerd_fast.kernels.audit.cubin"),
        ("nerd_fast.ops", "from nerd_fast import heads"),
    ],
)
def test_an_arrow_the_wrong_way_is_seen(module, planted):
    assert against_the_order(module, planted)
