"""A table as Markdown, CSV and plain text, and what stands in its cells."""

import csv
import io
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A title, headings, rows of cells, all strings, and notes under them."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def to_markdown(self):
        """A Markdown table under the title in bold, its notes below."""
        lines = [self.headings, ("---",) * len(self.headings), *self.rows]
        body = "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
        return "\n\n".join((f"**{self.title}**", body, *self.notes)) + "\n"

    def to_csv(self):
        """Headings and rows; neither the title nor the notes."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.headings, *self.rows])
        return text.getvalue()

    def to_text(self):
        """Aligned columns for a terminal."""
        widths = [max(map(len, column)) for column in zip(self.headings, *self.rows, strict=True)]
        lines = [self.headings, tuple("-" * width for width in widths), *self.rows]
        body = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        return "\n".join((self.title, "", *body, *(("", *self.notes) if self.notes else ()))) + "\n"


def text_of(value: object) -> str:
    """An option's value as a cell: yes and no, the entries of a list side by side, a dash for nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == []:
        return "-"
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
