"""The README's Python runs as written, and its commands exist with the options shown."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"), ids=range(len(blocks("python"))))
def test_python_in_the_readme_runs_as_written(code):
    if "monai" in code:
        pytest.importorskip("monai")
    exec(compile(code, str(README), "exec"), {})


def commands():
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("nerd-fast ")]


@pytest.mark.parametrize("command", commands())
def test_commands_in_the_readme_have_the_options_shown(command):
    _, name, *arguments = shlex.split(command)
    shown = subprocess.run(
        [sys.executable, "-m", "nerd_fast", name, "--help"], capture_output=True, text=True, check=True
    )
    known = set(re.findall(r"--[a-z][a-z-]*", shown.stdout))
    assert {word for word in arguments if word.startswith("--")} <= known
