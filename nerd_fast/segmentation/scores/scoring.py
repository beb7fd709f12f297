"""The masks of a run, scored in the whole volume of each case."""

from dataclasses import dataclass
from pathlib import Path

from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.network.inference import mask_of
from nerd_fast.segmentation.network.trained import load_run
from nerd_fast.segmentation.runs.loading import cases_named, find_data_of, find_split, prepare
from nerd_fast.segmentation.scores import evaluation


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a run: `summary` {metric: {"mean", "std", "n", "undefined"}}, `cases` a row for each case.

    `header` says what was evaluated and how, `file` is the JSON file that holds all three; a CSV of the cases lies
    beside it.
    """

    summary: dict[str, dict[str, float]]
    cases: list[dict[str, float | int | str]]
    header: dict[str, object]
    file: Path


def evaluate_run(options) -> Evaluation:
    """Evaluate a run as the `EvaluateOptions` say, and write JSON and CSV."""
    network, config, data, checkpoint = load_run(options)
    destination = options.out or Path(options.run) / f"metrics_{options.subset}.json"
    evaluation.check_destination(destination)
    check_label_2(options.label_2, data.is_wmh2017, options.run)
    data = data.read_as(options)
    dataset = find_data_of(data, options.data, options.layout)
    split = find_split(dataset, options.split, config.seed) if options.split else data.split
    expected = f"{options.subset} cases of the split. Name another --split or --subset"
    cases = cases_named(dataset, split[options.subset], expected)
    rows = [evaluate_case(network, case, data, options) for case in cases]
    summary = evaluation.summarise(rows, expected=[case.name for case in cases])
    header = {
        "run": str(options.run),
        "checkpoint": checkpoint.name,
        "head": config.head,
        "filters": config.filters,
        "seed": config.seed,
        "data": str(options.data),
        "subset": options.subset,
        "threshold": options.threshold,
        "flips": options.flips,
        "window": options.window,
        "score_in_crop": options.score_in_crop,
        "connectivity": options.connectivity,
        "label_2": options.label_2,
        "ignore_values": data.ignore_values,
        "wmh2017": data.is_wmh2017,
        "nonfinite": data.nonfinite,
        "allow_geometry_mismatch": data.allow_geometry_mismatch,
    }
    written, _ = evaluation.write_results(destination, rows, summary, header)
    return Evaluation(summary, rows, header, written)


def check_label_2(choice, is_wmh2017, where):
    """Raise UsageError for a choice about label 2 in data of another layout than the WMH challenge's."""
    if choice == "background" and not is_wmh2017:
        raise UsageError(
            f"--label-2: found background for {where}, whose data are not laid out as the WMH challenge's; expected "
            "exclude, for other pathology has a label there alone"
        )


def evaluate_case(network, case, data, options):
    """The row of metrics of one case."""
    prepared = prepare(case, data, whole=options.window is not None)
    mask = prepared.geometry.paste(mask_of(network, prepared, options))
    truth = prepared.geometry.paste(prepared.label) if options.score_in_crop else prepared.truth
    metrics = evaluation.evaluate_labels(
        mask,
        truth,
        prepared.volume.steps,
        range(1, data.classes + 1),
        ignore=prepared.ignore if options.label_2 == "exclude" else None,
        slice_axis=prepared.geometry.axis,
        connectivity=options.connectivity,
    )
    return {"case": case.name, **metrics, "label_voxels_lost": prepared.label_voxels_lost}
