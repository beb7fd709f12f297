"""Pictures of a run: overlays as the paper's Fig. 4 and 5, maps of the calibrator; curves and scores are in `plots`.

Slices are drawn with the first axis to the right and the second up, so that an axial slice of a volume in canonical
orientation stands upright, and maps of the calibrator lie as the slices do. Files appear whole or not at all; their
ending (`.png`, `.pdf`, `.svg`) says the format. Matplotlib is loaded by the first figure and no window is ever opened.
"""

from itertools import chain, zip_longest

import numpy as np

from nerd_fast.segmentation.pictures.drawing import save, sheet
from nerd_fast.segmentation.pictures.regions import boxes, missed, over_segmented
from nerd_fast.segmentation.scores.metrics.masks import foreground_box
from nerd_fast.segmentation.scores.metrics.overlap import dice

FRAME = 3  # pixels between a region and the box around it
MASK, MISSED, OVER = "#ff2a2a", "#ffe14d", "#3dff6e"  # red, yellow and green as in the paper

RELATIVE = (
    "Each channel: its value minus its mean over the image, which its title gives (red above, blue below). "
    "First column: root mean square of that over all channels."
)


def overlay_figure(path, image, truth, masks, *, title=None, spacing=(1.0, 1.0), max_boxes=6):
    """Draw one slice: the image, the truth on it, and each mask with what it missed and over-segmented in boxes.

    Margins without any signal are cut off. Where the first mask, the baseline, has a region of error, a second row
    shows the surroundings of its largest.

    Args:
        path: the file to write.
        image: (H, W) of any scale; shown from its 1st to its 99.5th percentile.
        truth: (H, W) mask.
        masks: {name: (H, W) mask}, drawn in this order.
        title: a line above the panels.
        spacing: mm of the two axes, for the aspect.
        max_boxes: how many regions of each kind are boxed at most, the largest, those left out whose boxes would lie on
            another; the text counts them all (`regions`).

    Raises ValueError for arrays of different shapes and values that are no mask.
    """
    image, truth = np.asarray(image), np.asarray(truth)
    if image.ndim != 2 or image.shape != truth.shape:
        raise ValueError(f"image and truth must be one slice (H, W); found {image.shape} and {truth.shape}")
    panels = [("Image", None), ("Truth", truth), *masks.items()]
    regions = {name: (boxes(missed(mask, truth)), boxes(over_segmented(mask, truth))) for name, mask in masks.items()}
    windows = _windows(image, truth, masks, regions)
    figure, axes = sheet(len(windows), len(panels), panel=_panel_size(windows[0], spacing, 3.0), extra=1.3)
    for row, window in zip(axes, windows, strict=True):
        for axis, (name, mask) in zip(row, panels, strict=True):
            _draw(axis, image, cmap="gray", limits=_grey_limits(image))
            if mask is not None:
                _paint(axis, mask)
            for colour, found in zip((MISSED, OVER), apart(*regions.get(name, ()), most=max_boxes), strict=False):
                _frame(axis, found, colour)
            _show(axis, window, spacing)
    for axis, (name, _) in zip(axes[0], panels, strict=True):
        axis.set_title(name, fontsize=12, fontweight="bold")
    for axis, (name, mask) in zip(axes[-1], panels, strict=True):
        if name in regions:
            axis.set_xlabel(_describe(mask, truth, *regions[name]), fontsize=10)
    _overlay_legend(figure)
    return save(figure, path, title)


def calibration_figure(path, maps, *, title=None, channels=6):
    """Draw how a head's calibration changes over the image.

    Per named map, one row: the deviation of all its channels together (root mean square over the channels of the
    difference to the channel's mean over the image), then the channels that vary most, each as the difference to its
    mean, which its title gives, and all on the scale beside the last.

    Args:
        path: the file to write.
        maps: {name: (n, H, W)}, such as the two halves of `NeRDm.calibration`, 1/sigma(v) and -mu/sigma(v), or the
            w(v) of `NeRDc.calibration`.
        title: a line above the panels.
        channels: how many channels to draw at most.

    Raises ValueError for maps that are not (n, H, W) or not finite.
    """
    maps = {name: np.asarray(values, dtype=float) for name, values in maps.items()}
    for name, values in maps.items():
        if values.ndim != 3 or 0 in values.shape or not np.isfinite(values).all():
            raise ValueError(f"maps[{name!r}] must be finite and of shape (n, H, W); found the shape {values.shape}")
    columns = 1 + min(channels, max(len(values) for values in maps.values()))
    height, width = next(iter(maps.values())).shape[1:]
    figure, axes = sheet(
        len(maps), columns, panel=_panel_size((slice(0, height), slice(0, width)), (1, 1), 2.1), extra=0.55 * len(maps)
    )
    for row, (name, values) in zip(axes, maps.items(), strict=True):
        means = values.mean(axis=(1, 2))
        deviations = values - means[:, None, None]
        spreads = deviations.std(axis=(1, 2))
        order = np.argsort(-spreads, kind="stable")[: columns - 1]
        rms = np.sqrt((deviations**2).mean(axis=0))
        shown = _draw(row[0], rms, cmap="magma", limits=(0, rms.max() or 1))
        row[0].set_title(f"{name}\nrms of {len(values)}", fontsize=11)
        _bar(row[0], shown)
        limit = np.abs(deviations[order]).max() or 1
        for axis, channel in zip(row[1:], order, strict=False):
            shown = _draw(axis, deviations[channel], cmap="RdBu_r", limits=(-limit, limit))
            axis.set_title(f"channel {channel}\nmean {means[channel]:.3g}", fontsize=10)
        for axis in row[1 + len(order) :]:
            axis.set_axis_off()
        _bar(row[len(order)], shown)
    figure.supxlabel(RELATIVE, fontsize=10)
    return save(figure, path, title)


def _panel_size(window, spacing, side):
    width, height = (part.stop - part.start for part in window)
    return side, float(np.clip(side * height * spacing[1] / (width * spacing[0]), side / 2, side * 2))


def _draw(axis, values, *, cmap, limits):
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    low, high = limits
    return axis.imshow(values.T, origin="lower", cmap=cmap, vmin=low, vmax=high, interpolation="nearest")


def _grey_limits(image):
    """The intensities of black and white; a slice of one intensity is black."""
    low, high = np.percentile(image, (1, 99.5))
    return (low, high) if high > low else (low, low + 1)


def _bar(axis, shown):
    from matplotlib.ticker import MaxNLocator

    axis.figure.colorbar(shown, cax=axis.inset_axes((1.04, 0, 0.06, 1)), ticks=MaxNLocator(5))


def _paint(axis, mask):
    from matplotlib.colors import to_rgba

    colours = np.zeros((*mask.shape, 4))
    colours[np.asarray(mask) != 0] = to_rgba(MASK, 0.6)
    axis.imshow(colours.swapaxes(0, 1), origin="lower", interpolation="nearest")


def apart(*kinds, most):
    """The first `most` boxes of each kind of regions, without those whose frames would lie on one before.

    The kinds take turns, so that none of them crowds the other out.
    """
    kept = [[] for _ in kinds]
    for turn in zip_longest(*kinds):
        for mine, region in zip(kept, turn, strict=True):
            if region is not None and len(mine) < most and not any(_touch(region, other) for other in chain(*kept)):
                mine.append(region)
    return kept


def _touch(one, other):
    """Whether the frames around two regions, `FRAME` pixels away from them, share a pixel."""
    return all(
        a.start - FRAME <= b.stop + FRAME and b.start - FRAME <= a.stop + FRAME for a, b in zip(one, other, strict=True)
    )


def _frame(axis, regions, colour):
    from matplotlib.patches import Rectangle

    for first, second in regions:
        corner = first.start - FRAME - 0.5, second.start - FRAME - 0.5
        size = first.stop - first.start + 2 * FRAME, second.stop - second.start + 2 * FRAME
        axis.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=1.6))


def _show(axis, window, spacing):
    axis.set_aspect(spacing[1] / spacing[0])
    axis.set_xlim(window[0].start - 0.5, window[0].stop - 0.5)
    axis.set_ylim(window[1].start - 0.5, window[1].stop - 0.5)


def _windows(image, truth, masks, regions):
    """The part of the slice that has content and, where the baseline errs, a part of its shape around the worst.

    The second is a third as wide, or as wide as the region of error needs; none where it needs the whole.
    """
    low, high = np.percentile(image, (1, 99.5))
    content = (image > low + 0.02 * (high - low)) | (truth != 0)
    for mask in masks.values():
        content = content | (np.asarray(mask) != 0)
    whole = foreground_box(content if content.any() else np.ones_like(content), margin=4)
    worst = [found[0] for found in next(iter(regions.values()), ()) if found]
    if not worst:
        return [whole]
    centre = max(worst, key=lambda box: (box[0].stop - box[0].start) * (box[1].stop - box[1].start))
    sides = [around.stop - around.start for around in whole]
    share = max(1 / 3, *((part.stop - part.start + 12) / side for part, side in zip(centre, sides, strict=True)))
    if share >= 1:
        return [whole]
    close = []
    for part, side, size in zip(centre, sides, image.shape, strict=True):
        extent = min(round(share * side), size)
        first = max(0, min((part.start + part.stop - extent) // 2, size - extent))
        close.append(slice(first, first + extent))
    return [whole, tuple(close)]


def _describe(mask, truth, missing, over):
    counts = f"{len(missing)} missed, {len(over)} over-segmented"
    return f"Dice of this slice {dice(mask, truth):.2f}\n{counts}"


def _overlay_legend(figure):
    from matplotlib.patches import Patch

    boxed = {"missed, the largest": MISSED, "over-segmented, the largest": OVER}
    handles = [Patch(facecolor=MASK, label="mask")]
    handles += [Patch(facecolor="#404040", edgecolor=colour, linewidth=2, label=name) for name, colour in boxed.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=10)
