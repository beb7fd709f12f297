"""What a study writes: tables, scores and losses as pictures, and the examples of the paper's Fig. 4 and 5."""

import csv
import io
from dataclasses import asdict, replace
from pathlib import Path

from nerd_fast.segmentation.base.config import MODELS
from nerd_fast.segmentation.base.files import whole_file
from nerd_fast.segmentation.base.tables import Table, text_of
from nerd_fast.segmentation.network.compared import load_networks
from nerd_fast.segmentation.pictures.examples import KINDS, draw_example, worst_slices
from nerd_fast.segmentation.pictures.plots import losses_figure, read_curves, scores_figure
from nerd_fast.segmentation.runs.loading import find_data
from nerd_fast.segmentation.runs.runs import METRICS
from nerd_fast.segmentation.scores.statistics import compare
from nerd_fast.segmentation.scores.tables import differences_table, results_table
from nerd_fast.segmentation.study.protocol import BASELINE, PROTOCOLS
from nerd_fast.segmentation.study.study import rows_of

CHOICES = {
    "loss": "loss",
    "percentiles": "percentiles of a channel that become 0 and 1",
    "nonfinite": "NaN and infinity in a channel",
    "allow_geometry_mismatch": "affines that differ within a case are let pass",
    "normalisation": "normalisation of the U-Net",
    "dropout": "dropout",
    "flip": "flips in training",
    "rotate": "rotation in training, degrees",
    "hidden_channels": "hidden layers of the calibrator",
    "distance_scale": "scale of the boundary distances",
    "crop_axes": "what the crop counts first",
    "checkpoint": "weights that are tested",
    "threshold": "threshold of the probability",
    "flips": "averaged over flips",
    "connectivity": "neighbours that join voxels to a lesion",
    "label_2": "voxels of other pathology (WMH label 2)",
    "score_in_crop": "scored inside the crop alone",
    "precision": "precision",
}
"""The options that the paper leaves open, as the table of choices calls them."""

LOSS_EPOCHS = (1, 5, 10, 20, 50)
LOSS_NOTE = "Mean over the seeds that have come so far."
CONTROLS = {
    "coordconv": f"{MODELS['coordconv']} is the U-Net with the coordinates of each pixel as two more input images.",
    "blind": f"{MODELS['blind']} has the parameters of {MODELS['nerdm']} and sees no position.",
}
"""Heads to hold the NeRD heads against, besides the U-Net, and what each of them is."""


def write_tables(folder, states, options, description):
    """Write `table.md`, `results.csv`, `differences.csv` and `cases.csv`; returns the tables as text.

    `states` maps every planned run to its `study.State`; `description` are sentences about data and protocol.
    """
    folder, protocol = Path(folder), PROTOCOLS[options.study]
    documents = _documents(states)
    results = _summaries(states, documents)
    main = results_table("Results beside the paper's", results, protocol.metrics, paper=protocol.paper)
    main = _with_all_of_the_paper(main, protocol)
    main = replace(main, notes=(*main.notes, *_lost_label(documents)))
    differences = _differences(states, documents, protocol.metrics)
    losses = _losses(states)
    told = [table for table in (main, differences, losses) if table.rows]
    tables = [*told, _choices(options), _runs(states)]
    _write(folder / "table.md", _markdown(options, description, tables))
    _write(folder / "results.csv", main.to_csv())
    _write(folder / "differences.csv", differences.to_csv())
    _write(folder / "cases.csv", _cases_csv(documents))
    return "\n".join(table.to_text() for table in (*told, tables[-1]))


def _documents(states):
    return {planned: rows_of(planned) for planned, state in states.items() if state.evaluated}


def _summaries(states, documents):
    results = {planned.model: [] for planned in states}
    for planned, document in documents.items():
        results[planned.model].append(document["summary"])
    return results


def _with_all_of_the_paper(table, protocol):
    """The table with the paper's rows that no model of ours stands above at its end."""
    rest = results_table("", {model: [] for model in protocol.paper.values}, protocol.metrics, paper=protocol.paper)
    shown = {row[0] for row in table.rows}
    return replace(table, rows=(*table.rows, *(row for row in rest.rows[1::2] if row[0] not in shown)))


def _lost_label(documents):
    """What the crop cut off the labels of the test scans, which every run has in common."""
    rows = next((document["cases"] for document in documents.values()), [])
    lost = {row["case"]: row["label_voxels_lost"] for row in rows if row["label_voxels_lost"]}
    if lost:
        yield f"The crop cuts {sum(lost.values())} voxels of label off {', '.join(lost)}; see `--score-in-crop`."


def _differences(states, documents, metrics):
    """Each head against the U-Net of the same filters, and the NeRD heads against each control too.

    Over the seeds that both have finished.
    """
    rows = {}
    for planned, document in documents.items():
        rows.setdefault((planned.head, planned.filters), {})[planned.seed] = document["cases"]
    found = {}
    for (head, filters), candidate in rows.items():
        for other in (BASELINE, *CONTROLS) if head in ("nerdm", "nerdc") else (BASELINE,):
            baseline = rows.get((other, filters), {})
            if head != other and baseline.keys() & candidate.keys():
                name = f"{MODELS[head]} {filters} - {MODELS[other]} {filters}"
                found[name] = {metric.key: compare(candidate, baseline, metric.key) for metric in metrics}
    return differences_table("Differences between models of the same filters, same seed and same scan", found, metrics)


def _losses(states):
    """Training loss after some of the epochs, a row per model."""
    curves = {model: [read_curves(file)["train_loss"] for file in files] for model, files in _logs(states).items()}
    last = max((int(epochs[-1]) for runs in curves.values() for epochs, _ in runs), default=0)
    shown = [epoch for epoch in LOSS_EPOCHS if epoch < last] + [last]
    rows = [(model, *(_loss(runs, epoch) for epoch in shown)) for model, runs in curves.items()]
    trained = {planned.head for planned, state in states.items() if state.epochs}
    notes = (LOSS_NOTE, *(text for head, text in CONTROLS.items() if head in trained))
    return Table("Training loss", ("Model", *(f"Epoch {epoch}" for epoch in shown)), tuple(rows), notes)


def _loss(runs, epoch):
    found = [float(values[epochs == epoch][0]) for epochs, values in runs if epoch in epochs]
    return f"{sum(found) / len(found):.3f}" if found else ""


def _logs(states):
    """{model: logs of its runs that have trained an epoch or more}."""
    logs = {}
    for planned, state in states.items():
        if state.epochs:
            logs.setdefault(planned.model, []).append(Path(planned.folder) / METRICS)
    return logs


def _choices(options):
    chosen = asdict(options)
    rows = [(f"`--{name.replace('_', '-')}`", text, text_of(chosen[name])) for name, text in CHOICES.items()]
    return Table("What the paper leaves open, as chosen here", ("Option", "What", "Chosen"), tuple(rows))


def _runs(states):
    rows = [(planned.model, str(planned.seed), str(state), *_cost(planned, state)) for planned, state in states.items()]
    done = sum(state.evaluated for state in states.values())
    return Table(
        f"Runs: {done} of {len(states)} finished", ("Model", "Seed", "State", "Minutes", "Memory (MiB)"), tuple(rows)
    )


def _cost(planned, state):
    """Minutes of training and the most memory it took, from the log."""
    if not state.epochs:
        return "", ""
    logged = read_curves(Path(planned.folder) / METRICS)
    return f"{logged['seconds'][1].sum() / 60:.1f}", f"{logged['peak_memory_mib'][1].max():.0f}"


def _markdown(options, description, tables):
    parts = [f"# {PROTOCOLS[options.study].title}", "\n".join(f"- {line}" for line in description)]
    return "\n\n".join((*parts, *(table.to_markdown() for table in tables)))


def _cases_csv(documents):
    stream = io.StringIO()
    rows = [
        {"model": planned.model, "seed": planned.seed, **row}
        for planned, document in documents.items()
        for row in document["cases"]
    ]
    writer = csv.DictWriter(stream, list(rows[0]) if rows else ["model", "seed", "case"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def draw_figures(folder, states, options, *, again):
    """Draw `scores.png`, `losses.png`, `missed.png` and `over_segmented.png`; what is there already only if `again`.

    The last two show the test scan and slice where the regions that the U-Net missed (over-segmented) cover most
    pixels, with every head's mask: of the first filters and the first seed of which all heads are finished.
    """
    names = ("scores", "losses", *KINDS)
    paths = {name: Path(folder) / f"{name}.png" for name in names}
    if not again and all(path.exists() for path in paths.values()):
        return
    if any(state.evaluated for state in states.values()):
        protocol = PROTOCOLS[options.study]
        results = _summaries(states, _documents(states))
        shown = {**results, **{model: [] for model in protocol.paper.values if model not in results}}
        scores_figure(paths["scores"], shown, protocol.metrics, paper=protocol.paper.values, title=protocol.title)
    if logs := _logs(states):
        losses_figure(paths["losses"], logs, title="Training loss, mean over the seeds")
    group = next(_complete_groups(states), None)
    if group:
        _draw_examples(paths, group, options)


def _draw_examples(paths, group, options):
    networks, data = load_networks(
        {name: planned.folder for name, planned in group.items()},
        checkpoint=options.checkpoint,
        accelerator=options.accelerator,
    )
    cases = find_data(options).subset(data.split["test"])
    examples = worst_slices(networks, cases, data, threshold=options.threshold, flips=options.flips)
    for kind, example in examples.items():
        draw_example(paths[kind], example, data.channels[0], kind)


def _complete_groups(states):
    groups = {}
    for planned, state in states.items():
        groups.setdefault((planned.seed, planned.filters), []).append((planned, state))
    for members in groups.values():
        if all(state.evaluated for _, state in members) and any(planned.head == BASELINE for planned, _ in members):
            members.sort(key=lambda member: member[0].head != BASELINE)
            yield {MODELS[planned.head]: planned for planned, _ in members}


def _write(path, text):
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
