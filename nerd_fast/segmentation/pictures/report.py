"""One HTML file about evaluated runs that opens anywhere and needs nothing beside it."""

import tempfile
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import numpy as np

from nerd_fast import __version__
from nerd_fast.segmentation.base.config import MODELS, TrainConfig
from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.base.files import begins_with, check_outputs, what_is_missing, whole_file
from nerd_fast.segmentation.base.tables import text_of
from nerd_fast.segmentation.network.compared import cases_of_run, load_networks, names_of_runs
from nerd_fast.segmentation.pictures.diagnosis import calibration_maps
from nerd_fast.segmentation.pictures.examples import draw_example, worst_slices
from nerd_fast.segmentation.pictures.figures import calibration_figure
from nerd_fast.segmentation.pictures.page import (
    cards_html,
    figure_html,
    folded_html,
    heading_html,
    note_html,
    page,
    page_begins,
    table_html,
)
from nerd_fast.segmentation.pictures.plots import curves_figure, read_curves
from nerd_fast.segmentation.pictures.report_tables import case_table, difference_table, metric_table
from nerd_fast.segmentation.runs.checkpoints import read_checkpoint
from nerd_fast.segmentation.runs.loading import RunData
from nerd_fast.segmentation.runs.runs import METRICS, config_of
from nerd_fast.segmentation.scores.choice import classes_in, metrics_that_matter
from nerd_fast.segmentation.scores.evaluation import read_results

TITLE = "Segmentation report"


@dataclass(frozen=True)
class Evaluated:
    """A run, its options, its data, its network and its evaluation."""

    folder: Path
    config: TrainConfig
    data: RunData
    network: object
    results: dict
    environment: dict

    @property
    def model(self):
        return f"{MODELS[self.config.head]} {self.config.filters[-1]}"


def write_report(options) -> Path:
    """Write the report as the `ReportOptions` say; returns its path.

    Raises NerdFastError before the file is touched: for a run that is absent or not evaluated, for runs of different
    data, and for data that are not those of the runs.
    """
    check_outputs([options.out], lambda path: begins_with(path, page_begins(TITLE)), "a report of this command")
    runs = _read(options)
    first = next(iter(runs.values()))
    names = first.data.split[options.subset]
    cases = cases_of_run(options.data or first.config.data, options.layout, first.data, names)
    with tempfile.TemporaryDirectory() as folder:
        text = _page(runs, cases, options.subset, Path(folder))
    with whole_file(options.out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(options.out)


def _read(options):
    folders = names_of_runs(options.run)
    results = {name: _results(folder, options) for name, folder in folders.items()}
    evaluated = {name: Path(document["header"]["checkpoint"]).stem for name, document in results.items()}
    networks, data = load_networks(folders, checkpoint=evaluated, accelerator=options.accelerator)
    paths = {name: Path(folder) / f"{evaluated[name]}.ckpt" for name, folder in folders.items()}
    checkpoints = {name: read_checkpoint(path) for name, path in paths.items()}
    return {
        name: Evaluated(
            Path(folder),
            config_of(checkpoints[name], paths[name]),
            data,
            networks[name],
            results[name],
            checkpoints[name].get("environment", {}),
        )
        for name, folder in folders.items()
    }


def _results(folder, options):
    path = Path(folder) / f"metrics_{options.subset}.json"
    if not path.exists():
        raise UsageError(
            f"{path}: no such file{what_is_missing(path)}, the run is not there or has not been evaluated. "
            f"Run: nerd-fast evaluate --run {folder} --data DIR --subset {options.subset}"
        )
    return read_results(path)


def _page(runs, cases, subset, folder):
    first = next(iter(runs.values()))
    names = " and ".join((", ".join(list(runs)[:-1]), list(runs)[-1])) if len(runs) > 1 else next(iter(runs))
    sizes = ", ".join(f"{len(cases)} {part}" for part, cases in first.data.split.items())
    lead = (
        f"{', '.join(first.data.channels)} in slices of {first.data.size[0]}x{first.data.size[1]} · cases: {sizes} · "
        f"nerd-fast {__version__}, {date.today():%-d %B %Y}"
    )
    sections = [
        ("Result", _results_html(runs, subset)),
        ("Training", _training_html(runs, folder)),
        ("Where they err", _examples_html(runs, cases, folder)),
    ]
    if maps := _maps_html(runs, folder):
        sections.append(("What the heads learned", maps))
    prefix = classes_in(first.results["summary"])[0]
    sections += [
        ("Every case", case_table(_documents(runs), prefix, _chosen(runs))),
        ("How it was made", _configuration_html(runs)),
    ]
    return page(f"{TITLE}: {names}", lead, sections)


def _documents(runs):
    return {name: each.results for name, each in runs.items()}


def _chosen(runs):
    """The metrics that matter for the data, which all runs have in common."""
    first = next(iter(runs.values()))
    return metrics_that_matter(first.results["summary"], is_wmh2017=first.data.is_wmh2017)


def _results_html(runs, subset):
    chosen = _chosen(runs)
    classes = classes_in(next(iter(runs.values())).results["summary"])
    cards = [
        (f"{each.model} · {name}", *_dice(each.results["summary"][f"{classes[0]}dice"])) for name, each in runs.items()
    ]
    parts = [cards_html(cards)]
    for prefix in classes:
        parts += [heading_html(prefix.rstrip("_"))] if prefix else []
        parts += [metric_table(_documents(runs), prefix, chosen)]
    header = next(iter(runs.values())).results["header"]
    parts.append(
        note_html(
            f"Mean ± standard deviation over the {subset} cases, of {header['checkpoint']}, at the threshold "
            f"{header['threshold']}, scored {'inside the crop' if header['score_in_crop'] else 'in the whole volume'}; "
            "[u/v]: u of v values undefined and in no mean. HD95 and ASSD in mm"
            + (", lesions are 3-D components." if any(name.endswith("ldice") for name in chosen) else ".")
        )
    )
    if len(runs) > 1:
        parts += [heading_html(f"Differences to {next(iter(runs))}")]
        parts += [difference_table(_documents(runs), prefix, chosen) for prefix in classes]
    return "".join(parts)


def _dice(entry):
    if not np.isfinite(entry["mean"]):
        return "undefined", f"Dice over {entry['n']} cases"
    spread = f" ± {100 * entry['std']:.1f}" if entry["n"] > 1 else ""
    return f"{100 * entry['mean']:.1f} %", f"Dice{spread}, {entry['n']} case{'s' if entry['n'] > 1 else ''}"


def _training_html(runs, folder):
    curves = {name: each.folder / METRICS for name, each in runs.items()}
    rows = []
    for name, each in runs.items():
        logged = read_curves(curves[name])
        epochs, losses = logged["train_loss"]
        best, dice = ("", "")
        if "val_dice" in logged:
            values = logged["val_dice"][1]
            best, dice = str(int(logged["val_dice"][0][values.argmax()])), f"{100 * values.max():.1f}"
        weights = sum(parameter.numel() for parameter in each.network.parameters())
        seconds = logged["seconds"][1].sum() / 60
        row = (
            f"{weights:,}",
            f"{len(epochs)} of {each.config.epochs}",
            f"{losses[-1]:.4f}",
            best,
            dice,
            f"{seconds:.1f}",
        )
        rows.append((name, each.model, *row))
    headings = ("Run", "Model", "Weights", "Epochs", "Last loss", "Best epoch", "Its Dice (%)", "Minutes")
    picture = curves_figure(folder / "curves.svg", curves)
    return table_html(headings, rows) + figure_html(
        picture, "Training loss, Dice of the validation cases and learning rate against the epoch."
    )


def _examples_html(runs, cases, folder):
    first = next(iter(runs.values()))
    header = first.results["header"]
    networks = {name: each.network for name, each in runs.items()}
    examples = worst_slices(networks, cases, first.data, threshold=header["threshold"], flips=header["flips"])
    parts = [
        note_html(
            "Chosen by rule: the slices where the missed and the over-segmented regions of the first run, beyond a rim "
            "of two pixels, cover most pixels. Boxes: yellow for missed, green for over-segmented."
        )
    ]
    for kind, example in examples.items():
        if not example.area:
            parts.append(note_html(f"{next(iter(runs))} has no {kind.replace('_', '-')} region in any case."))
            continue
        picture = draw_example(folder / f"{kind}.png", example, first.data.channels[0], kind)
        where = f"{example.case}, slice {example.number}"
        parts.append(
            figure_html(picture, f"{where}: {example.area} pixels {kind.replace('_', '-')} by {next(iter(runs))}.")
        )
    return "".join(parts)


def _maps_html(runs, folder):
    parts = []
    for name, each in runs.items():
        maps = calibration_maps(each.network.final_conv, tuple(each.data.size))
        if maps:
            picture = calibration_figure(folder / f"{name}.png", maps)
            parts += [
                heading_html(f"{each.model} · {name}"),
                figure_html(picture, "How the head changes over the image: each map as the difference to its mean."),
            ]
    return "".join(parts)


def _configuration_html(runs):
    first, defaults = next(iter(runs.values())), asdict(TrainConfig())
    options = {name: asdict(each.config) for name, each in runs.items()}
    rows = [(key, *(text_of(options[name][key]) for name in runs)) for key in defaults]
    changed = [row for row in rows if any(options[name][row[0]] != defaults[row[0]] for name in runs)]
    data = asdict(first.data)
    split = [(part, ", ".join(names)) for part, names in data.pop("split").items()]
    data.pop("files")
    return "".join(
        (
            heading_html("Options that are not the defaults"),
            table_html(("Option", *runs), changed, words=True),
            folded_html("All options", table_html(("Option", *runs), rows, words=True)),
            heading_html("Data"),
            table_html(("", "Value"), [(key, text_of(value)) for key, value in data.items()], words=True),
            folded_html("The split", table_html(("Part", "Cases"), split, words=True)),
            heading_html("What the runs were trained with"),
            table_html(("", *runs), _environments(runs), words=True),
        )
    )


def _environments(runs):
    names = dict.fromkeys(name for each in runs.values() for name in each.environment)
    return [(name, *(text_of(each.environment.get(name)) for each in runs.values())) for name in names]
