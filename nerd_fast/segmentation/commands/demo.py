"""`nerd-fast demo`: synthetic scans, a U-Net with each head and with a blind one, their table and pictures."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from nerd_fast.segmentation.base.config import MODELS, InferenceOptions, Options, TrainConfig, check, option
from nerd_fast.segmentation.commands.evaluate import EvaluateOptions, evaluate
from nerd_fast.segmentation.commands.train import train

HEADS = ("conv", "nerdm", "nerdc", "blind")
FILTERS = [8, 16, 32, 64, 128]  # half the paper's, for two CPU cores
NOTE = (
    "One run each of {epochs} epochs on made-up scans shows that all of it works, and proves nothing about the heads. "
    "NeRDm-blind has all of NeRDm's parameters and sees no position: what it gains over the U-Net, which is still "
    "learning when training ends here, is a head that learns faster. Only a gain over it could be due to position."
)


@dataclass
class DemoOptions(Options):
    """Synthetic data, four networks, their table and figures, in minutes."""

    out: str = option("demo", "folder of everything the demo writes")
    cases: int = option(24, "synthetic scans")
    epochs: int = option(15, "passes over the training slices")
    seed: int = option(0, "seed of data and training")

    def __post_init__(self):
        super().__post_init__()
        check(self.cases >= 3, "cases", self.cases, "3 or more, one each to train, validate and test")
        check(self.epochs > 0, "epochs", self.epochs, "a number above 0")
        check(0 <= self.seed < 2**63, "seed", self.seed, "a number from 0 to below 2^63")


def run(options: DemoOptions) -> None:
    """Do all of it in `options.out`; a demo that was interrupted is continued."""
    from nerd_fast.segmentation.base.files import check_outputs, whole_file
    from nerd_fast.segmentation.data.phantom import write_phantom
    from nerd_fast.segmentation.scores.tables import WMH_METRICS, results_table

    started = time.perf_counter()
    folder = Path(options.out)
    pictures = [path for name in ("curves", "calibration_*", "overlay_*") for path in folder.glob(f"{name}.png")]
    is_demo = (folder / "data" / "split.json").exists() and (folder / "runs" / "conv").exists()
    check_outputs([folder / "table.md", *pictures], lambda path: is_demo, "the results of a demo")
    data = write_phantom(folder / "data", cases=options.cases, seed=options.seed)
    print(f"{data}: {options.cases} synthetic scans of T1 and FLAIR with lesions")
    runs = {MODELS[head]: folder / "runs" / head for head in HEADS}
    summaries = {MODELS[head]: [_train_and_evaluate(runs[MODELS[head]], data, head, options)] for head in HEADS}
    table = results_table(f"Synthetic lesions, {options.epochs} epochs", summaries, WMH_METRICS)
    table = replace(table, notes=(*table.notes, NOTE.format(epochs=options.epochs)))
    with whole_file(folder / "table.md") as temporary:
        temporary.write_text(table.to_markdown(), encoding="utf-8")
    _draw(folder, data, runs)
    print(f"\n{table.to_text()}")
    print(f"{folder}: table, curves, overlays and calibration maps after {time.perf_counter() - started:.0f} s")


def _train_and_evaluate(folder, data, head, options):
    from nerd_fast.segmentation.runs.runs import LAST

    print(f"\n{folder}")
    train(
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
    return evaluate(EvaluateOptions(run=str(folder), data=str(data), accelerator="cpu")).summary


def _draw(folder, data, runs):
    from nerd_fast.segmentation.data.layouts import find_cases
    from nerd_fast.segmentation.network.inference import predict_mask
    from nerd_fast.segmentation.network.trained import load_run
    from nerd_fast.segmentation.pictures.figures import calibration_figure, overlay_figure
    from nerd_fast.segmentation.pictures.plots import curves_figure
    from nerd_fast.segmentation.pictures.regions import choose_slice
    from nerd_fast.segmentation.runs.loading import prepare
    from nerd_fast.segmentation.runs.runs import METRICS

    curves_figure(folder / "curves.png", {model: path / METRICS for model, path in runs.items()})
    networks = {}
    for model, path in runs.items():
        networks[model], _, run_data, _ = load_run(InferenceOptions(run=str(path), accelerator="cpu"))
    for case in find_cases(data).subset(run_data.split["test"]):
        prepared = prepare(case, run_data)
        masks = {model: predict_mask(network, prepared.images) for model, network in networks.items()}
        number = choose_slice(prepared.label, masks, kind="truth", axis=0)
        overlay_figure(
            folder / f"overlay_{case.name}.png",
            prepared.images[number, 0],
            prepared.label[number],
            {model: mask[number] for model, mask in masks.items()},
            title=f"{case.name}, slice {number}: {run_data.channels[0]}",
        )
    size = tuple(run_data.size)
    scale, shift = networks[MODELS["nerdm"]].final_conv.calibration(size).detach().chunk(2)
    calibration_figure(folder / "calibration_nerdm.png", {"1/sigma(v)": scale, "-mu/sigma(v)": shift})
    classifier = networks[MODELS["nerdc"]].final_conv.calibration(size).detach()
    calibration_figure(folder / "calibration_nerdc.png", {"w(v)": classifier})
