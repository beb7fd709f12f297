import math

import numpy as np
import pytest

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.pictures import plots
from nerd_fast.segmentation.scores.tables import DICE, HD
from nerd_fast.segmentation.study import paper
from tests.segmentation.drawn import saved_figures

LOG = "epoch,step,lr,train_loss,val_dice,seconds\n1,10,0.001,0.9,,3\n2,20,0.001,0.5,0.4,3\n3,30,0.0005,0.3,0.7,3\n"


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, to look into."""
    return saved_figures(monkeypatch, plots)


def test_curves_of_several_runs_share_their_panels(tmp_path, drawn):
    for name, dice in (("conv", 0.4), ("nerdm", 0.6)):
        (tmp_path / f"{name}.csv").write_text(LOG.replace("0.4", str(dice)))
    runs = {name: tmp_path / f"{name}.csv" for name in ("conv", "nerdm")}
    plots.curves_figure(tmp_path / "curves.png", runs)
    panels = {axis.get_title(): axis for axis in drawn[0].axes}
    assert list(panels) == ["Loss", "Dice", "Learning rate"]
    assert [line.get_label() for line in panels["Dice"].lines] == ["conv, val_dice", "nerdm, val_dice"]
    np.testing.assert_array_equal(panels["Dice"].lines[0].get_xydata(), [(2, 0.4), (3, 0.7)])


def test_curves_that_are_the_same_are_one_line(tmp_path, drawn):
    for name, loss in (("conv", "0.5"), ("nerdm", "0.6"), ("nerdc", "0.6")):
        (tmp_path / f"{name}.csv").write_text(LOG.replace("0.5,0.4", f"{loss},0.4"))
    plots.curves_figure(tmp_path / "curves.png", {n: tmp_path / f"{n}.csv" for n in ("conv", "nerdm", "nerdc")})
    panels = {axis.get_title(): [line.get_label() for line in axis.lines] for axis in drawn[0].axes}
    assert panels["Learning rate"] == ["all, lr"]
    assert panels["Loss"] == ["conv, train_loss", "nerdm, nerdc, train_loss"]


def test_losses_are_means_over_the_seeds_of_the_epochs_that_all_have(tmp_path, drawn):
    for name, losses in {"a": (1, 0.5, 0.1), "b": (3, 1.5), "c": (2, 1, 0.5)}.items():
        rows = "".join(f"{epoch},{loss}\n" for epoch, loss in enumerate(losses, 1))
        (tmp_path / name).write_text("epoch,train_loss\n" + rows)
    plots.losses_figure(
        tmp_path / "l.png", {"U-Net 64": [tmp_path / "a", tmp_path / "b"], "NeRDm 64": [tmp_path / "c"]}
    )
    plain, head = drawn[0].axes[0].lines
    np.testing.assert_allclose(plain.get_xydata(), [(1, 2), (2, 1)])
    np.testing.assert_allclose(head.get_xydata(), [(1, 2), (2, 1), (3, 0.5)])
    assert plain.get_color() != head.get_color()


def test_values_within_an_epoch_are_averaged(tmp_path):
    (tmp_path / "m.csv").write_text("epoch,train_loss\n1,1.0\n1,3.0\n2,\n")
    epochs, values = plots.read_curves(tmp_path / "m.csv")["train_loss"]
    assert (epochs.tolist(), values.tolist()) == ([1], [2.0])


@pytest.mark.parametrize("content", [None, "loss\n1\n", "epoch,loss\n1,high\n", "epoch,seconds\n1,3\n"])
def test_a_log_that_holds_no_curve_is_refused(tmp_path, content):
    log = tmp_path / "metrics.csv"
    if content is not None:
        log.write_text(content)
    with pytest.raises(DataError, match=r"metrics.csv"):
        plots.curves_figure(tmp_path / "curves.png", {"run": log})
    assert not (tmp_path / "curves.png").exists()


def summary(dice, hd):
    return {"dice": {"mean": dice}, "hd_voxel": {"mean": hd}}


def test_scores_show_every_seed_their_mean_and_the_paper(tmp_path, drawn):
    results = {"U-Net 256": [summary(0.8, 30), summary(0.9, 20)], "NeRDm 256": []}
    plots.scores_figure(tmp_path / "scores.png", results, [DICE, HD], paper=paper.LA.values)
    dice, hd = drawn[0].axes
    assert [tick.get_text() for tick in dice.get_yticklabels()] == ["U-Net 256", "NeRDm 256"]
    np.testing.assert_allclose(dice.lines[0].get_xdata(), [80, 90])
    np.testing.assert_allclose(dice.lines[1].get_xdata(), [85])
    assert [container.lines[0].get_xdata()[0] for container in dice.containers] == [90.3, 90.5]
    assert hd.get_title() == "HD (voxels) ↓"
    ours, (above, below) = dice.lines[0].get_ydata()[0], [box.lines[0].get_ydata()[0] for box in dice.containers]
    assert ours < 0 < above, "ours and the paper's stand at either side of their line"
    assert below == 1, "the paper's alone stands on it"


def test_scores_without_a_value_are_drawn_without_a_dot(tmp_path):
    results = {"U-Net": [summary(0.8, math.nan)]}
    assert plots.scores_figure(tmp_path / "scores.png", results, [DICE, HD]).exists()
