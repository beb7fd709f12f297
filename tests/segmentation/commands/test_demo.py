"""The demo leaves a table of four networks and pictures of what they do, and can be run again."""

import matplotlib.image
import pytest

from nerd_fast.segmentation.commands import demo


@pytest.mark.slow
def test_demo_leaves_a_table_and_pictures_and_continues_where_it_was(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "FILTERS", [4, 4, 4, 4, 8])
    options = demo.DemoOptions(out=str(tmp_path / "demo"), cases=3, epochs=1)
    demo.run(options)
    table = (tmp_path / "demo" / "table.md").read_text()
    printed = capsys.readouterr().out
    for model in ("U-Net", "NeRDm", "NeRDc", "NeRDm-blind"):
        assert f"| {model} |" in table
        assert f"\n{model} " in printed
    assert "proves nothing about the heads" in table
    pictures = {path.name for path in (tmp_path / "demo").glob("*.png")}
    assert pictures == {"curves.png", "overlay_case03.png", "calibration_nerdm.png", "calibration_nerdc.png"}
    for picture in pictures:
        assert matplotlib.image.imread(tmp_path / "demo" / picture).std() > 0.01
    demo.run(options)
    assert "epoch   1/1" not in capsys.readouterr().out
