"""`nerd-fast train`: a U-Net from the cases of a data set."""

import sys
from dataclasses import asdict

import torch

from nerd_fast.segmentation.base.errors import DataError, UsageError
from nerd_fast.segmentation.base.signals import Signals
from nerd_fast.segmentation.network.network import build_network, compile_network
from nerd_fast.segmentation.runs.checkpoints import load_weights, read_checkpoint
from nerd_fast.segmentation.runs.loading import RunData, load_training
from nerd_fast.segmentation.runs.runs import LAST, config_of, environment, is_first_process, open_run, write_config
from nerd_fast.segmentation.training.training import Segmenter, Slices, fit, make_trainer


def run(config):
    """`nerd-fast train`: read everything, then train until the last epoch or a signal."""
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
