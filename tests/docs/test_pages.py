"""Python in README and docs runs as written, commands have the options shown, and links lead somewhere."""

import re
import shlex
import subprocess
import sys

import pytest

from nerd_fast.segmentation.data.phantom import write_phantom
from tests.documents import PAGES, ROOT, command_lines, python_blocks

SNIPPETS = [pytest.param(page, code, id=f"{page}-{n}") for page in PAGES for n, code in enumerate(python_blocks(page))]
COMMANDS = [
    pytest.param(line, id=f"{page}: {line[:60]}")
    for page in PAGES
    for line in command_lines(page)
    if line.startswith("nerd-fast ")
]


@pytest.mark.parametrize(("page", "code"), SNIPPETS)
def test_python_runs_as_written(page, code, tmp_path, monkeypatch):
    for package in ("monai", "nnunetv2", "segmentation_models_pytorch", "transformers"):
        if re.search(rf"^\s*(?:from|import) {package}\b", code, re.MULTILINE):
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    if '"DATA"' in code:
        write_phantom("DATA", cases=4, shape=(32, 32, 3))
    exec(compile(code, page, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_has_the_options_shown(line):
    _, name, *arguments = shlex.split(line)
    shown = subprocess.run(
        [sys.executable, "-m", "nerd_fast", name, "--help"], capture_output=True, text=True, check=True
    )
    known = set(re.findall(r"--[a-z][a-z-]*", shown.stdout))
    assert {word for word in arguments if word.startswith("--")} <= known


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "examples/README.md"])
def test_links_lead_to_files(page):
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", text)
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []
