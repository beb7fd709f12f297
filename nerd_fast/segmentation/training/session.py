"""A run from its options: read everything, then train until the last epoch, a signal or a fault."""

import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from nerd_fast.segmentation.base.config import TrainConfig
from nerd_fast.segmentation.base.errors import DataError, UsageError
from nerd_fast.segmentation.base.signals import Signals
from nerd_fast.segmentation.network.network import build_network, check_normalised, compile_network
from nerd_fast.segmentation.runs.checkpoints import load_weights, read_checkpoint
from nerd_fast.segmentation.runs.loading import RunData, load_training
from nerd_fast.segmentation.runs.runs import LAST, config_of, environment, open_run
from nerd_fast.segmentation.training.processes import none_alone
from nerd_fast.segmentation.training.recording import Recorder
from nerd_fast.segmentation.training.sampling import last_batch
from nerd_fast.segmentation.training.training import Segmenter, Slices, fit, make_trainer


@dataclass(frozen=True)
class TrainedRun:
    """What training leaves: the folder of the run, and its log, a row of `recording.COLUMNS` for each epoch."""

    folder: Path
    log: list[dict[str, float | int | None]]


def train_run(config: TrainConfig) -> TrainedRun:
    """Train, or go on, as the options say; an epoch is said on standard output as it ends.

    Raises UsageError, DataError and CheckpointError before anything is trained, NonFiniteError where training diverges,
    and Interrupted after SIGINT or SIGTERM, with the checkpoints in place.
    """
    signals, folder = Signals(), Path(config.out)
    trainer = make_trainer(config, folder, signals)  # before the data are read, for it may not be had here
    with ExitStack() as stack:
        with none_alone(trainer):
            if trainer.is_global_zero:  # it holds the lock for all
                stack.enter_context(open_run(folder, config.resume))
            checkpoint = folder / LAST if config.resume and (folder / LAST).exists() else None
            segmenter, slices = _prepare(config, checkpoint, trainer)
        stack.enter_context(signals)
        fit(trainer, segmenter, slices, checkpoint)
        recorder = next(each for each in trainer.callbacks if isinstance(each, Recorder))
        return TrainedRun(folder, recorder.rows)


def _prepare(config, checkpoint, trainer):
    """What is trained, and on what; the first process says so."""
    before = read_checkpoint(checkpoint) if checkpoint else None
    # A run goes on with the padding it began with, which older ones do not say.
    padding = RunData.of_checkpoint(before, checkpoint).padding if before else "background"
    data, train_cases, val_cases = load_training(config, padding=padding)
    torch.manual_seed(config.seed)
    network = build_network(config, len(data.channels), data.classes)
    if before:
        _check_resume(config, data, network, before, checkpoint)
    if config.compile:
        compile_network(network, data.size)
    slices = sum(len(case.images[:: config.every]) for case in train_cases)
    check_normalised(config, data.size, last_batch(slices, config.batch_size, trainer.world_size))
    if trainer.is_global_zero:
        if before and _finished_epochs(before) >= config.epochs:
            print(
                f"{checkpoint}: finished, {config.epochs} of {config.epochs} epochs are done and nothing is left to "
                "train. For more of them, resume with a larger --epochs and --override"
            )
        else:
            _say_what_is_trained(config, data, network, train_cases, val_cases)
    identity = {"config": asdict(config), "data": asdict(data), "environment": environment(config.accelerator)}
    return Segmenter(network, config, data.classes, identity), Slices(train_cases, val_cases, config)


def _check_resume(config, data, network, checkpoint, path):
    done = _finished_epochs(checkpoint)
    if config.epochs < done:
        raise UsageError(f"--epochs: found {config.epochs}, expected {done} or more, for {path} has done so many")
    before, now = checkpoint.get("environment", {}), environment(config.accelerator)
    changed = [f"{name} {before[name]} -> {now[name]}" for name in now if before.get(name, now[name]) != now[name]]
    if changed and done < config.epochs:
        print(f"{path}: goes on, but perhaps not bit for bit, with {', '.join(changed)}", file=sys.stderr)
    for what, error, lines in (
        ("options", UsageError, config.differences(config_of(checkpoint, path))),
        ("data", DataError, data.differences(RunData.of_checkpoint(checkpoint, path))),
    ):
        if lines and not config.override:
            found = "\n  ".join(lines)
            raise error(f"{path}: the {what} have changed since:\n  {found}\nRestore them, or resume with --override")
    load_weights(network, checkpoint, path)


def _finished_epochs(checkpoint):
    return checkpoint.get("position", {}).get("epoch", 0)


def _say_what_is_trained(config, data, network, train_cases, val_cases):
    slices = sum(len(case.images[:: config.every]) for case in train_cases)
    weights = sum(parameter.numel() for parameter in network.parameters())
    lost = sum(case.label_voxels_lost for case in (*train_cases, *val_cases))
    print(
        f"U-Net {config.filters} with head {config.head}, {weights} weights; {len(train_cases)} training cases with "
        f"{slices} slices of {data.size[0]}x{data.size[1]}, {len(val_cases)} validation cases"
        + (f"; the crop cuts {lost} voxels of label off" if lost else "")
    )
