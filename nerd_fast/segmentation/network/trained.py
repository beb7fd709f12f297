"""The network of a run, as its checkpoint holds it."""

from pathlib import Path

import torch

from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.network.network import build_network, check_normalised
from nerd_fast.segmentation.runs.checkpoints import load_weights, read_checkpoint
from nerd_fast.segmentation.runs.loading import RunData
from nerd_fast.segmentation.runs.runs import config_of


def load_run(options):
    """The network of a run on the device asked for, its configuration, its data and the checkpoint's path."""
    path = Path(options.run) / f"{options.checkpoint}.ckpt"
    checkpoint = read_checkpoint(path)
    config, data = config_of(checkpoint, path), RunData.of_checkpoint(checkpoint, path)
    if getattr(options, "window", None) is not None:
        check_normalised(config, options.window)
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
