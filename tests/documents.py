"""The code blocks of README.md and docs/, for the tests that run them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md")))]


def blocks(page, language):
    """The fenced blocks of a language in a page, each as text."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def python_blocks(page):
    return blocks(page, "python")


def command_lines(page):
    """The lines of the page's sh blocks, without comments and empty lines."""
    lines = [line.split("  #")[0].strip() for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]
