import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest

from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.pictures import figures
from tests.segmentation.drawn import saved_figures


@pytest.fixture
def scan():
    """An image (H, W), its truth, and a mask that misses one lesion and invents another."""
    image = np.random.default_rng(0).random((48, 64))
    truth, mask = np.zeros((2, 48, 64), dtype=np.uint8)
    truth[10:16, 10:16] = truth[36:40, 40:44] = 1
    mask[10:16, 10:16] = mask[30:38, 8:14] = 1
    return image, truth, mask


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, to look into."""
    return saved_figures(monkeypatch, figures)


def colours_of_frames(axis):
    return [patch.get_edgecolor()[:3] for patch in axis.patches]


def test_an_overlay_boxes_what_was_missed_and_what_was_invented(tmp_path, scan, drawn):
    from matplotlib.colors import to_rgb

    image, truth, mask = scan
    figures.overlay_figure(tmp_path / "overlay.png", image, truth, {"U-Net": mask, "NeRDm": truth}, title="case 1")
    axes = drawn[0].axes
    assert [axis.get_title() for axis in axes[:4]] == ["Image", "Truth", "U-Net", "NeRDm"]
    assert len(axes) == 8  # a second row shows the largest error of U-Net
    assert colours_of_frames(axes[2]) == [to_rgb(figures.MISSED), to_rgb(figures.OVER)]
    assert colours_of_frames(axes[3]) == []
    assert axes[6].get_xlabel() == "Dice of this slice 0.53\n1 missed, 1 over-segmented"
    assert matplotlib.image.imread(tmp_path / "overlay.png").shape[1] > 800


def test_the_frame_stands_around_the_region(tmp_path, scan, drawn):
    image, truth, mask = scan
    figures.overlay_figure(tmp_path / "overlay.png", image, truth, {"U-Net": mask})
    missing = drawn[0].axes[2].patches[0]
    left, bottom = missing.get_xy()
    assert left < 36 < 40 < left + missing.get_width()
    assert bottom < 40 < 44 < bottom + missing.get_height()


def test_without_an_error_there_is_one_row(tmp_path, scan, drawn):
    image, truth, _ = scan
    figures.overlay_figure(tmp_path / "overlay.png", image, truth, {"U-Net": truth})
    assert len(drawn[0].axes) == 3


def test_the_second_row_shows_the_largest_error(tmp_path, scan, drawn):
    image, truth, mask = scan
    figures.overlay_figure(tmp_path / "overlay.png", image, truth, {"U-Net": mask})
    (left, right), (bottom, top) = drawn[0].axes[5].get_xlim(), drawn[0].axes[5].get_ylim()
    assert left < 30 < 38 < right
    assert bottom < 8 < 14 < top
    assert right - left < 48


def test_both_rows_have_one_shape_however_long_the_error_is(tmp_path, drawn):
    image, truth = np.random.default_rng(0).random((60, 40)), np.zeros((60, 40), dtype=bool)
    truth[5:50, 18:22] = True
    figures.overlay_figure(tmp_path / "overlay.png", image, truth, {"U-Net": np.zeros_like(truth)})
    shapes = [np.divide(*(np.ptp(limits) for limits in (axis.get_xlim(), axis.get_ylim()))) for axis in drawn[0].axes]
    np.testing.assert_allclose(shapes, 60 / 40, rtol=0.05)


def test_an_error_over_the_whole_slice_is_not_shown_twice(tmp_path, drawn):
    image, truth = np.random.default_rng(0).random((60, 40)), np.zeros((60, 40), dtype=bool)
    figures.overlay_figure(tmp_path / "overlay.png", image, truth, {"U-Net": np.ones_like(truth)})
    assert len(drawn[0].axes) == 3


def test_a_slice_of_one_intensity_is_black(tmp_path, drawn):
    image, truth = np.full((60, 40), 0.1), np.zeros((60, 40), dtype=bool)
    figures.overlay_figure(tmp_path / "overlay.png", image, truth, {"U-Net": truth})
    (shown,) = drawn[0].axes[0].images
    assert shown.norm(0.1) == 0


def test_no_more_boxes_than_asked_and_all_of_them_counted(tmp_path, drawn):
    truth = np.zeros((60, 60), dtype=bool)
    truth[::10, ::10] = True
    figures.overlay_figure(tmp_path / "x.png", truth * 1.0, truth, {"U-Net": np.zeros_like(truth)}, max_boxes=4)
    assert len(drawn[0].axes[2].patches) == 4
    assert "36 missed, 0 over-segmented" in drawn[0].axes[5].get_xlabel()


def test_boxes_do_not_lie_on_one_another(tmp_path, drawn):
    image, truth, mask = np.random.default_rng(0).random((60, 60)), *np.zeros((2, 60, 60), dtype=bool)
    truth[5:12, 5:40] = truth[16:18, 20:22] = truth[30:33, 50:53] = True
    mask[14:20, 5:12] = mask[45:50, 8:12] = True
    figures.overlay_figure(tmp_path / "x.png", image, truth, {"U-Net": mask})
    frames = [patch.get_bbox().extents for patch in drawn[0].axes[2].patches]
    assert len(frames) == 3
    for number, (left, bottom, right, top) in enumerate(frames):
        for other in frames[:number]:
            assert right < other[0] or other[2] < left or top < other[1] or other[3] < bottom


def test_calibration_maps_say_what_they_are_relative_to(tmp_path, drawn):
    figures.calibration_figure(tmp_path / "maps.png", {"w(v)": np.ones((2, 8, 9))})
    assert "minus its mean over the image" in drawn[0].get_supxlabel()


def test_an_empty_slice_can_be_drawn(tmp_path):
    empty = np.zeros((32, 32))
    assert figures.overlay_figure(tmp_path / "x.png", empty, empty, {"U-Net": empty}).exists()


@pytest.mark.parametrize("image", [np.zeros((4, 4, 4)), np.zeros((4, 5))])
def test_an_overlay_needs_one_slice(tmp_path, image):
    with pytest.raises(ValueError, match=r"one slice \(H, W\)"):
        figures.overlay_figure(tmp_path / "x.png", image, np.zeros((4, 4)), {})
    assert list(tmp_path.iterdir()) == []


def test_calibration_shows_the_channels_that_vary_most(tmp_path, drawn):
    maps = np.linspace(0, 1, 20)[None, :, None] * np.array([1.0, 5.0, 3.0])[:, None, None] + np.zeros((3, 20, 24))
    figures.calibration_figure(tmp_path / "maps.png", {"w(v)": maps}, channels=2)
    titles = [axis.get_title() for axis in drawn[0].axes]
    assert titles[:3] == ["w(v)\nrms of 3", "channel 1\nmean 2.5", "channel 2\nmean 1.5"]


def test_a_row_of_fewer_channels_leaves_the_rest_of_its_row_empty(tmp_path, drawn):
    figures.calibration_figure(tmp_path / "maps.png", {"a": np.ones((4, 8, 9)), "b": np.ones((1, 8, 9))})
    assert [axis.axison for axis in drawn[0].axes[:10]] == [True] * 7 + [False] * 3


@pytest.mark.parametrize("maps", [np.ones((8, 9)), np.ones((0, 8, 9)), np.full((1, 8, 9), np.nan)])
def test_maps_that_cannot_be_drawn_are_refused(tmp_path, maps):
    with pytest.raises(ValueError, match=r"maps\['w'\] must be finite and of shape \(n, H, W\)"):
        figures.calibration_figure(tmp_path / "maps.png", {"w": maps})


def test_a_figure_that_cannot_be_written_is_a_usage_error(tmp_path, scan):
    image, truth, mask = scan
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(UsageError, match="cannot be written"):
        figures.overlay_figure(tmp_path / "out" / "x.png", image, truth, {"U-Net": mask})


def test_matplotlib_is_loaded_by_the_first_figure_and_not_before():
    script = "import sys, nerd_fast.segmentation.pictures.figures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
