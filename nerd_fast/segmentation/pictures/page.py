"""A page of HTML that needs nothing but itself: style, tables and images are in it."""

import base64
import mimetypes
from html import escape
from pathlib import Path

STYLE = """
:root { --ink: #1c2733; --soft: #5b6b7b; --line: #dfe5ea; --tint: #f4f7f9; --accent: #0072b2; --gain: #00735a; }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0; color: var(--ink); background: #fff; font: 16px/1.55 system-ui, "Segoe UI", Roboto, sans-serif; }
header { background: var(--ink); color: #fff; padding: 2.2rem 0 1.8rem; }
header p { margin: .3rem 0 0; color: #c6d2dd; }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.25; }
h2 { margin: 3rem 0 .8rem; padding-bottom: .3rem; border-bottom: 2px solid var(--line); font-size: 1.35rem; }
h3 { margin: 1.8rem 0 .5rem; font-size: 1.05rem; }
.wide { max-width: 1240px; margin: 0 auto; padding: 0 1.5rem; }
nav { position: sticky; top: 0; z-index: 1; background: #fffd; backdrop-filter: blur(6px);
      border-bottom: 1px solid var(--line); }
nav a { display: inline-block; padding: .6rem 1rem .6rem 0; color: var(--accent); text-decoration: none; }
section { scroll-margin-top: 3rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); gap: 1rem; margin: 1.6rem 0; }
.card { padding: 1rem 1.2rem; border: 1px solid var(--line); border-top: 4px solid var(--accent); border-radius: 6px; }
.card b { display: block; font-size: 2rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.card span { display: block; color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .4rem 0; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .65rem; text-align: right; white-space: nowrap; }
th { white-space: normal; background: var(--tint); border-bottom: 2px solid var(--line); font-weight: 600; }
td { border-bottom: 1px solid var(--line); }
th.group { border-bottom: 0; padding-bottom: 0; text-align: center; }
th:first-child, td:first-child { text-align: left; }
table.words th, table.words td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
tbody tr:hover td { background: var(--tint); }
td.best { color: var(--gain); font-weight: 700; }
.note { max-width: 52rem; color: var(--soft); font-size: .88rem; }
figure { margin: 1.2rem 0 2rem; }
figure img { max-width: 100%; height: auto; }
figcaption { max-width: 52rem; color: var(--soft); font-size: .9rem; }
details > summary { cursor: pointer; color: var(--accent); }
@media print { nav { display: none; } section { break-inside: avoid; } }
"""


def page(title, lead, sections):
    """The document. `sections` are (heading, HTML); `title`, `lead` and headings are plain text."""
    names = [f"part{number}" for number in range(1, len(sections) + 1)]
    links = "".join(
        f'<a href="#{name}">{escape(heading)}</a>' for name, (heading, _) in zip(names, sections, strict=True)
    )
    parts = "\n".join(
        f'<section id="{name}"><h2>{escape(heading)}</h2>\n{content}</section>'
        for name, (heading, content) in zip(names, sections, strict=True)
    )
    return f"""{page_begins(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header><div class="wide"><h1>{escape(title)}</h1><p>{escape(lead)}</p></div></header>
<nav><div class="wide">{links}</div></nav>
<main class="wide">
{parts}
</main>
</body>
</html>
"""


def page_begins(title):
    """How a page begins whose title begins with `title`, by which a file is known as one of ours."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}"""


def table_html(headings, rows, *, groups=(), words=False, best=()):
    """A table of plain text.

    `groups` are (heading, columns) of a line above the headings; `words` sets the table to the left; `best` are the
    (row, column) of cells to mark.
    """
    above = "".join(f'<th class="group" colspan="{columns}">{escape(heading)}</th>' for heading, columns in groups)
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "\n".join(
        "<tr>" + "".join(_cell(text, (number, column) in best) for column, text in enumerate(row)) + "</tr>"
        for number, row in enumerate(rows)
    )
    kind = ' class="words"' if words else ""
    lines = f"<tr>{above}</tr><tr>{head}</tr>" if groups else f"<tr>{head}</tr>"
    return f'<div class="scroll"><table{kind}><thead>{lines}</thead>\n<tbody>\n{body}\n</tbody></table></div>\n'


def figure_html(path, caption):
    """A picture, its bytes in the page, with a caption of plain text, which is also its description."""
    path = Path(path)
    content = base64.b64encode(path.read_bytes()).decode()
    kind = mimetypes.guess_type(path.name)[0]
    return (
        f'<figure><img src="data:{kind};base64,{content}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>\n"
    )


def cards_html(cards):
    """Numbers to see first: (what, number, remark) of plain text."""
    items = (
        f'<div class="card"><span>{escape(what)}</span><b>{escape(number)}</b><span>{escape(remark)}</span></div>'
        for what, number, remark in cards
    )
    return f'<div class="cards">{"".join(items)}</div>\n'


def note_html(text):
    """A paragraph of small plain text."""
    return f'<p class="note">{escape(text)}</p>\n'


def heading_html(text):
    """A heading within a section, of plain text."""
    return f"<h3>{escape(text)}</h3>\n"


def folded_html(summary, content):
    """HTML that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>\n{content}</details>\n"


def _cell(text, best):
    return f'<td class="best">{escape(text)}</td>' if best else f"<td>{escape(text)}</td>"
