"""The picture that opens the README can be drawn again."""

import runpy

import matplotlib.image
import pytest

from tests.documents import ROOT


@pytest.mark.slow
def test_the_overview_is_drawn_from_a_network_trained_for_it(tmp_path):
    script = runpy.run_path(str(ROOT / "docs" / "pictures" / "draw_overview.py"))
    out = tmp_path / "overview.png"
    script["draw"](*script["trained"](tmp_path, epochs=1, cases=3, filters=16), out)
    assert matplotlib.image.imread(out).std() > 0.01
