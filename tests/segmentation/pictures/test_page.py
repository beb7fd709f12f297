import base64
import re
from html.parser import HTMLParser

import pytest

from nerd_fast.segmentation.pictures.page import (
    cards_html,
    figure_html,
    folded_html,
    heading_html,
    note_html,
    page,
    table_html,
)

HOSTILE = '<script>alert("x")</script> & more'
ESCAPED = "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; more"
VOID = {"meta", "img", "br"}


class Balance(HTMLParser):
    """Notes tags that are closed out of order or not at all."""

    def __init__(self):
        super().__init__()
        self.open, self.faults = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def assert_sound(text):
    parser = Balance()
    parser.feed(text)
    assert parser.faults == parser.open == []


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(bytes(range(256)))
    return path


def test_every_text_is_escaped(picture):
    parts = [
        table_html((HOSTILE,), ((HOSTILE,),), groups=((HOSTILE, 1),), best=((0, 0),)),
        cards_html([(HOSTILE, HOSTILE, HOSTILE)]),
        figure_html(picture, HOSTILE),
        note_html(HOSTILE),
        heading_html(HOSTILE),
        folded_html(HOSTILE, ""),
    ]
    text = page(HOSTILE, HOSTILE, [(HOSTILE, "".join(parts))])
    assert "<script" not in text
    assert text.count(ESCAPED) == 11 + 5, "the page has its title twice, its lead, and a heading that is linked to"
    assert_sound(text)


def test_a_picture_is_in_the_page(picture):
    (found,) = re.findall(r'src="data:image/png;base64,([^"]+)"', figure_html(picture, "A picture"))
    assert base64.b64decode(found) == picture.read_bytes()


def test_the_best_cell_is_marked():
    text = table_html(("Run", "Dice"), (("a", "0.7"), ("b", "0.8")), best={(1, 1)})
    assert re.findall(r'<td class="best">([^<]*)</td>', text) == ["0.8"]


def test_the_page_leads_to_its_sections():
    text = page("T", "L", [("One", "<p>1</p>"), ("Two", "<p>2</p>")])
    assert re.findall(r'href="#(\w+)"', text) == re.findall(r'section id="(\w+)"', text) == ["part1", "part2"]
