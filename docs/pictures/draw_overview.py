"""The picture that opens the README: `python docs/pictures/draw_overview.py`, a minute or two on two CPU cores.

A narrow U-Net with NeRDm is trained on synthetic heads; the maps are those that its head has learned for one channel.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from matplotlib.figure import Figure

import nerd_fast
from nerd_fast.segmentation import TrainConfig, train
from nerd_fast.segmentation.base.config import InferenceOptions
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.data.phantom import write_phantom
from nerd_fast.segmentation.network.trained import load_run
from nerd_fast.segmentation.runs.loading import prepare

DISTANCES = ("top", "right", "bottom", "left")
SEEN = (0.30, 0.68)  # the pixel whose distances are drawn, in parts of height and width


def trained(folder, epochs, *, cases=12, filters=64):
    """A network with NeRDm, and the slice (channels, H, W) of a test scan with most lesion, with its label (H, W)."""
    data = write_phantom(Path(folder) / "data", cases=cases)
    run = TrainConfig(
        data=str(data), out=str(Path(folder) / "run"), head="nerdm", filters=[filters], epochs=epochs, batch_size=8
    )
    train(run)
    network, _, about, _ = load_run(InferenceOptions(run=run.out, accelerator="cpu"))
    case = prepare(find_cases(data).subset(about.split["test"])[0], about)
    fullest = int(np.asarray(case.label).reshape(len(case.label), -1).sum(1).argmax())
    return network, np.asarray(case.images[fullest], dtype=np.float32), np.asarray(case.label[fullest])


def draw(network, image, label, path):
    head = next(module for module in network.modules() if isinstance(module, nerd_fast.NeRDm))
    size = image.shape[1:]
    with torch.no_grad():
        scale, shift = (half.numpy() for half in head.calibration(size).chunk(2))  # 1/sigma and -mu/sigma of C channels
        mask = network(torch.from_numpy(image)[None])[0, 0].sigmoid().numpy() > 0.5
    channel = int((scale.std((1, 2)) / scale.mean((1, 2))).argmax())  # the one that varies most
    shown = {"1/\\sigma": scale[channel], "-\\mu/\\sigma": shift[channel]}

    figure = Figure(figsize=(13, 3.9), dpi=130, layout="constrained")
    layout = figure.add_gridspec(2, 7, width_ratios=[2.1, 1, 1, 0.62, 1.12, 0.62, 2.1])
    _scan(figure.add_subplot(layout[:, 0]), image[0], size)
    for place, distances, name in zip(
        [layout[0, 1], layout[0, 2], layout[1, 1], layout[1, 2]],
        nerd_fast.boundary_distances(size).numpy(),
        DISTANCES,
        strict=True,
    ):
        _map(figure.add_subplot(place), distances, f"distance to {name}", "viridis", 0, 1)
    _step(figure.add_subplot(layout[:, 3]), "calibrator\n$f(v)$\na small MLP")
    for row, ((name, values), colours) in enumerate(zip(shown.items(), ("RdBu_r", "PuOr_r"), strict=True)):
        axes, middle, reach = figure.add_subplot(layout[row, 4]), values.mean(), abs(values - values.mean()).max()
        drawn = _map(axes, values, f"${name}$ of channel {channel + 1}", colours, middle - reach, middle + reach)
        figure.colorbar(drawn, ax=axes, shrink=0.8).ax.tick_params(labelsize=6)
    _step(figure.add_subplot(layout[:, 5]), "$w \\cdot (x / \\sigma - \\mu / \\sigma)$\nat every pixel,\nin one pass")
    _masks(figure.add_subplot(layout[:, 6]), image[0], label, mask)
    figure.savefig(path, bbox_inches="tight", pad_inches=0.08)


def _scan(axes, image, size):
    axes.imshow(image, cmap="gray", interpolation="nearest")
    row, column = (int(part * length) for part, length in zip(SEEN, size, strict=True))
    for end in ((row, 0), (row, size[1] - 1), (0, column), (size[0] - 1, column)):
        axes.annotate(
            "", xy=end[::-1], xytext=(column, row), arrowprops={"arrowstyle": "->", "color": "#e69f00", "lw": 1.6}
        )
    axes.plot(column, row, "o", color="#e69f00", markersize=5)
    axes.text(column + 3, row - 3, "v", color="#e69f00", fontsize=13)
    _plain(axes, "every pixel reads where it lies")


def _map(axes, values, title, colours, low, high):
    drawn = axes.imshow(values, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    _plain(axes, title, 8)
    return drawn


def _step(axes, text):
    axes.axis("off")
    axes.annotate("", xy=(1, 0.5), xytext=(0, 0.5), arrowprops={"arrowstyle": "-|>", "lw": 2, "color": "#333333"})
    axes.text(0.5, 0.6, text, ha="center", va="bottom", fontsize=9)


def _masks(axes, image, label, mask):
    axes.imshow(image, cmap="gray", interpolation="nearest")
    axes.contour(label > 0, levels=[0.5], colors=["#56b4e9"], linewidths=1.4)
    axes.contour(mask, levels=[0.5], colors=["#d55e00"], linewidths=1.0)
    _plain(axes, "mask (orange) and truth (blue)")


def _plain(axes, title, size=10):
    axes.set_title(title, fontsize=size)
    axes.set_xticks([])
    axes.set_yticks([])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("overview.png"))
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        draw(*trained(folder, options.epochs), options.out)
    print(options.out)


if __name__ == "__main__":
    main()
