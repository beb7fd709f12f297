"""`nerd-fast demo`: synthetic scans, a U-Net with each head, their table, and pictures of what they do."""

import time
from pathlib import Path

from nerd_fast.segmentation.base.config import EvaluateOptions, InferenceOptions, TrainConfig
from nerd_fast.segmentation.base.files import whole_file
from nerd_fast.segmentation.base.tables import WMH_METRICS, results_table
from nerd_fast.segmentation.commands import evaluate, train
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.data.phantom import write_phantom
from nerd_fast.segmentation.network.inference import predict_mask
from nerd_fast.segmentation.network.trained import load_run
from nerd_fast.segmentation.pictures.figures import calibration_figure, choose_slice, overlay_figure
from nerd_fast.segmentation.pictures.plots import curves_figure
from nerd_fast.segmentation.runs.loading import prepare
from nerd_fast.segmentation.runs.runs import LAST, METRICS

MODELS = {"U-Net": "conv", "U-Net + NeRDm": "nerdm", "U-Net + NeRDc": "nerdc"}
FILTERS = [8, 16, 32, 64, 128]  # half the paper's, for two CPU cores


def run(options):
    """Do all of it in `options.out`; a demo that was interrupted is continued."""
    started = time.perf_counter()
    folder = Path(options.out)
    data = write_phantom(folder / "data", cases=options.cases, seed=options.seed)
    print(f"{data}: {options.cases} synthetic scans of T1 and FLAIR with lesions")
    runs = {model: folder / "runs" / head for model, head in MODELS.items()}
    summaries = {model: [_train_and_evaluate(runs[model], data, MODELS[model], options)] for model in MODELS}
    table = results_table(f"Synthetic lesions, {options.epochs} epochs", summaries, WMH_METRICS)
    with whole_file(folder / "table.md") as temporary:
        temporary.write_text(table.to_markdown(), encoding="utf-8")
    _draw(folder, data, runs)
    print(f"\n{table.to_text()}")
    print(f"{folder}: table, curves, overlays and calibration maps after {time.perf_counter() - started:.0f} s")


def _train_and_evaluate(folder, data, head, options):
    print(f"\n{folder}")
    train.run(
        TrainConfig(
            data=str(data),
            out=str(folder),
            head=head,
            filters=FILTERS,
            epochs=options.epochs,
            seed=options.seed,
            accelerator="cpu",
            resume=(folder / LAST).exists(),
        )
    )
    summary, _ = evaluate.write_evaluation(EvaluateOptions(run=str(folder), data=str(data), accelerator="cpu"))
    return summary


def _draw(folder, data, runs):
    curves_figure(folder / "curves.png", {model: path / METRICS for model, path in runs.items()})
    networks = {}
    for model, path in runs.items():
        networks[model], _, run_data, _ = load_run(InferenceOptions(run=str(path), accelerator="cpu"))
    for case in find_cases(data).subset(run_data.split["test"]):
        prepared = prepare(case, run_data)
        masks = {model: predict_mask(network, prepared.images) for model, network in networks.items()}
        number = choose_slice(prepared.label, masks, axis=0)
        overlay_figure(
            folder / f"overlay_{case.name}.png",
            prepared.images[number, 0],
            prepared.label[number],
            {model: mask[number] for model, mask in masks.items()},
            title=f"{case.name}, slice {number}: {run_data.channels[0]}",
        )
    size = tuple(run_data.size)
    scale, shift = networks["U-Net + NeRDm"].final_conv.calibration(size).detach().chunk(2)
    calibration_figure(folder / "calibration_nerdm.png", {"1/sigma(v)": scale, "-mu/sigma(v)": shift})
    classifier = networks["U-Net + NeRDc"].final_conv.calibration(size).detach()
    calibration_figure(folder / "calibration_nerdc.png", {"w(v)": classifier})
