"""What the commands verify, train and evaluate do, in order."""

import sys
from dataclasses import asdict
from pathlib import Path

import torch

from nerd_fast.segmentation import evaluation
from nerd_fast.segmentation.checkpoints import load_weights, read_checkpoint
from nerd_fast.segmentation.errors import DataError, UsageError
from nerd_fast.segmentation.files import check_file, whole_file
from nerd_fast.segmentation.inference import predict_mask
from nerd_fast.segmentation.loading import RunData, find_data, find_split, load_training, prepare
from nerd_fast.segmentation.network import build_network, compile_network
from nerd_fast.segmentation.runs import LAST, config_of, environment, is_first_process, open_run, write_config


def verify(options):
    """`nerd-fast verify`: every problem of every case, printed and, with --out, written as JSON; 3 for errors."""
    from nerd_fast.segmentation.verify import verify_dataset

    if options.out:
        check_file(options.out)
    dataset = find_data(options)
    size = tuple(options.size) if options.size else None
    report = verify_dataset(
        dataset,
        split=options.split,
        size=size,
        axis=options.axis,
        nonfinite=options.nonfinite,
        allow_geometry_mismatch=options.allow_geometry_mismatch,
    )
    print(report.text())
    if options.out:
        with whole_file(options.out) as temporary:
            temporary.write_text(report.json() + "\n", encoding="utf-8")
    return DataError.exit_code if report.errors else 0


def train(config):
    """`nerd-fast train`: read everything, then train until the last epoch or a signal."""
    from nerd_fast.segmentation.signals import Signals
    from nerd_fast.segmentation.training import Segmenter, Slices, fit, make_trainer

    signals = Signals()
    with open_run(config.out, config.resume) as folder:
        checkpoint = folder / LAST if config.resume and (folder / LAST).exists() else None
        trainer = make_trainer(config, folder, signals)  # before the data are read, for it may not be had here
        data, train_cases, val_cases = load_training(config)
        torch.manual_seed(config.seed)
        network = build_network(config, len(data.channels), data.classes)
        if checkpoint:
            _check_resume(config, data, network, checkpoint)
        if config.compile:
            compile_network(network, data.size)
        if is_first_process():
            write_config(config, folder)
            _say_what_is_trained(config, data, network, train_cases, val_cases)
        identity = {"config": asdict(config), "data": asdict(data), "environment": environment(config.accelerator)}
        segmenter = Segmenter(network, config, data.classes, identity)
        with signals:
            fit(trainer, segmenter, Slices(train_cases, val_cases, config), checkpoint)


def evaluate(options):
    """`nerd-fast evaluate`: masks of a subset of the split, scored in the whole volume."""
    summary, written = write_evaluation(options)
    for name, entry in summary.items():
        undefined = f"  ({entry['undefined']} undefined)" if entry["undefined"] else ""
        spread = f" +- {entry['std']:.4f}" if entry["n"] > 1 else ""
        print(f"{name:24} {entry['mean']:10.4f}{spread}  n {entry['n']}{undefined}")
    print(written)


def write_evaluation(options):
    """Evaluate a run and write JSON and CSV; returns the summary and the path of the JSON file."""
    network, config, data, checkpoint = load_run(options)
    destination = options.out or Path(options.run) / f"metrics_{options.subset}.json"
    check_file(evaluation.result_file(destination))
    data = data.read_as(options)
    dataset = find_data(_DataOf(options, data))
    split = find_split(dataset, options.split, config.seed) if options.split else data.split
    cases = _cases_of_split(dataset, split[options.subset], options)
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
        "nonfinite": data.nonfinite,
        "allow_geometry_mismatch": data.allow_geometry_mismatch,
    }
    written, _ = evaluation.write_results(destination, rows, summary, header)
    return summary, written


def load_run(options):
    """The network of a run on the device asked for, its configuration, its data and the checkpoint's path."""
    path = Path(options.run) / f"{options.checkpoint}.ckpt"
    checkpoint = read_checkpoint(path)
    config, data = config_of(checkpoint, path), RunData.of_checkpoint(checkpoint, path)
    network = build_network(config, len(data.channels), data.classes)
    load_weights(network, checkpoint, path)
    return network.to(device_of(options.accelerator), memory_format=torch.channels_last).eval(), config, data, path


def device_of(accelerator):
    """The torch device of Lightning's name for it. Raises UsageError for one that is not there."""
    if accelerator == "auto":
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    if accelerator not in ("cpu", "gpu", "cuda"):
        raise UsageError(f"--accelerator: found {accelerator}, expected cpu, gpu or auto")
    if accelerator != "cpu" and not torch.cuda.is_available():
        raise UsageError(
            f"--accelerator {accelerator}: found no CUDA device, expected one. Use cpu, and ask `nerd-fast doctor` why"
        )
    return torch.device("cpu" if accelerator == "cpu" else "cuda")


def evaluate_case(network, case, data, options):
    """The row of metrics of one case."""
    prepared = prepare(case, data)
    mask = prepared.geometry.paste(mask_of(network, prepared, options))
    truth = prepared.geometry.paste(prepared.label) if options.score_in_crop else prepared.truth
    metrics = evaluation.evaluate_labels(
        mask,
        truth,
        prepared.volume.spacing,
        range(1, data.classes + 1),
        ignore=prepared.ignore if options.label_2 == "exclude" else None,
        slice_axis=prepared.geometry.axis,
        connectivity=options.connectivity,
    )
    return {"case": case.name, **metrics, "label_voxels_lost": prepared.label_voxels_lost}


def mask_of(network, prepared, options):
    """Class numbers (S, H, W) uint8 of the slices of a case, made as the `InferenceOptions` say."""
    return predict_mask(
        network,
        prepared.images,
        threshold=options.threshold,
        batch_size=options.batch_size,
        flips=options.flips,
        window=options.window,
        name=prepared.name,
    )


def _check_resume(config, data, network, path):
    checkpoint = read_checkpoint(path)
    load_weights(network, checkpoint, path)
    before, now = checkpoint.get("environment", {}), environment(config.accelerator)
    changed = [f"{name} {before[name]} -> {now[name]}" for name in now if before.get(name, now[name]) != now[name]]
    if changed:
        print(f"{path}: goes on, but perhaps not bit for bit, with {', '.join(changed)}", file=sys.stderr)
    for what, error, lines in (
        ("options", UsageError, config.differences(config_of(checkpoint, path))),
        ("data", DataError, data.differences(RunData.of_checkpoint(checkpoint, path))),
    ):
        if lines and not config.override:
            found = "\n  ".join(lines)
            raise error(f"{path}: the {what} have changed since:\n  {found}\nRestore them, or resume with --override")


def _say_what_is_trained(config, data, network, train_cases, val_cases):
    slices = sum(len(case.images[:: config.every]) for case in train_cases)
    weights = sum(parameter.numel() for parameter in network.parameters())
    lost = sum(case.label_voxels_lost for case in (*train_cases, *val_cases))
    print(
        f"U-Net {config.filters} with head {config.head}, {weights} weights; {len(train_cases)} training cases with "
        f"{slices} slices of {data.size[0]}x{data.size[1]}, {len(val_cases)} validation cases"
        + (f"; the crop cuts {lost} voxels of label off" if lost else "")
    )


class _DataOf:
    """The options that `find_data` reads, taken from the run but for the folder and its layout."""

    def __init__(self, options, data):
        self.data, self.layout = options.data, options.layout
        self.channels, self.label, self.label_values = data.channels, data.label, data.label_values


def _cases_of_split(dataset, names, options):
    missing = sorted(set(names) - set(dataset.names))
    if missing or not names:
        found = f"no case {', '.join(missing)}" if missing else f"no case in the subset {options.subset}"
        raise DataError(f"{options.data}: {found}; expected the cases of the split. Name another --split or --subset")
    return dataset.subset(names)
