"""A trained network for use elsewhere.

- `model.safetensors`: the weights, names as in the network's state dict; its metadata hold `config.json`, and
  `load_network` makes the network of them.
- `config.json`: the options and the data of the run: channels and their order, slice size, axis, padding,
  label values, percentiles.
- `model.pt2`: a `torch.export` program of plain ATen operators, which `torch.export.load` runs with PyTorch alone. It
  takes slices (B, C, H, W) in float32, any B, each channel scaled to [0, 1] over its volume, and returns logits
  (B, K, H, W). H and W are fixed: a head depends on positions, and its position map is folded for that size.
"""

import copy
import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

import nerd_fast
from nerd_fast.segmentation.base.config import NOT_PART_OF_A_RUN, TrainConfig
from nerd_fast.segmentation.base.errors import CheckpointError, UsageError
from nerd_fast.segmentation.base.files import check_outputs, is_json_with, what_is_missing, whole_file
from nerd_fast.segmentation.network.network import build_network
from nerd_fast.segmentation.runs.checkpoints import load_weights, read_checkpoint
from nerd_fast.segmentation.runs.loading import RunData
from nerd_fast.segmentation.runs.runs import config_of

FORMAT, FORMAT_VERSION = "nerd-fast network", 1
WEIGHTS, CONFIG, PROGRAM = "model.safetensors", "config.json", "model.pt2"
BATCH = 2  # of the example that the program is traced with; 0 and 1 would be taken for constants


def write_exported(options) -> list[Path]:
    """Write the three files as the `ExportOptions` say; returns their paths.

    Raises CheckpointError and UsageError before any of them is written.
    """
    folder = Path(options.out)
    check_outputs([folder / name for name in (WEIGHTS, CONFIG, PROGRAM)], is_exported, "what this command wrote")
    path = Path(options.run) / f"{options.checkpoint}.ckpt"
    checkpoint = read_checkpoint(path)
    config, data = config_of(checkpoint, path), RunData.of_checkpoint(checkpoint, path)
    network = build_network(config, len(data.channels), data.classes)
    load_weights(network, checkpoint, path)
    size = tuple(options.size or data.size)
    program = export_program(network.eval(), size)
    description = describe(config, data, size)
    with whole_file(folder / WEIGHTS) as temporary:
        # Not save_file, whose file only its owner may read.
        temporary.write_bytes(save(network.state_dict(), metadata={CONFIG: description}))
    with whole_file(folder / CONFIG) as temporary:
        temporary.write_text(description + "\n", encoding="utf-8")
    with whole_file(folder / PROGRAM) as temporary:
        content = io.BytesIO()  # torch's own writer ends the process where a name is not UTF-8
        torch.export.save(program, content)
        temporary.write_bytes(content.getbuffer())
    return [folder / name for name in (WEIGHTS, CONFIG, PROGRAM)]


def is_exported(path):
    """Whether a file of one of the three names is ours: the weights by their metadata, a program by the file beside."""
    if path.name != WEIGHTS:
        return is_json_with(path.with_name(CONFIG), format=FORMAT)
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {}).get(CONFIG, "{}")).get("format") == FORMAT
    except (OSError, SafetensorError, ValueError):
        return False


def export_program(network, size):
    """The `torch.export` program of an evaluated network for slices of `size`, on the CPU, with any number of slices.

    Raises UsageError for a size that the network cannot take.
    """
    network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    if isinstance(network.final_conv, (nerd_fast.NeRDm, nerd_fast.NeRDc)):
        network.final_conv = PositionMap(*network.final_conv.position_map(size))
    example = torch.rand(BATCH, getattr(network, "image_channels", network.conv_0.conv_0.conv.in_channels), *size)
    try:
        with torch.no_grad():
            network(example)
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"--size {size[0]} {size[1]}: the network cannot take it ({error})") from error
    return torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))


class PositionMap(nn.Module):
    """`s_k = sum_c x_c W_kc(v) + beta_k(v)`: features (B, C, H, W) to logits (B, K, H, W) for one H and W."""

    def __init__(self, weight, beta):
        super().__init__()
        self.register_buffer("weight", weight.detach().contiguous())
        self.register_buffer("beta", beta.detach().contiguous())

    def forward(self, features):
        # One output at a time: the product of all of them at once would be K times as large as the features.
        logits = [(features * weight).sum(1) + beta for weight, beta in zip(self.weight, self.beta, strict=True)]
        return torch.stack(logits, 1)


def describe(config, data, size):
    """Options and data of a run as JSON, with the size of the program's slices.

    Names of cases, hashes of files and paths stay behind: a network travels farther than the data it learned from.
    """
    options = {name: value for name, value in asdict(config).items() if name not in NOT_PART_OF_A_RUN}
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "nerd_fast": nerd_fast.__version__,
        "program_size": list(size),
        "config": options,
        "data": asdict(replace(data, split={}, files={})),
    }
    return json.dumps(content, indent=1)


def load_network(path: str | Path) -> tuple[nn.Module, TrainConfig, RunData]:
    """The network in `model.safetensors`, in evaluation mode on the CPU, with its `TrainConfig` and its `RunData`.

    Raises CheckpointError where the file is absent, damaged or not one that `nerd-fast export` wrote.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            content = json.loads(file.metadata()[CONFIG])
            weights = {f"network.{name}": file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 the file is no dict
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as an exported network ({error}){what_is_missing(path)}. Export the run again"
        ) from error
    if (content.get("format"), content.get("format_version")) != (FORMAT, FORMAT_VERSION):
        found = f"{content.get('format')} {content.get('format_version')}"
        raise CheckpointError(f"{path}: expected {FORMAT} {FORMAT_VERSION}; found {found}. Export the run again")
    try:
        config, data = config_of(content, path), RunData.of_checkpoint(content, path)
    except (UsageError, KeyError) as error:
        raise CheckpointError(f"{path}: its description cannot be used ({error}). Export the run again") from error
    network = build_network(config, len(data.channels), data.classes)
    load_weights(network, {"state_dict": weights}, path)
    return network.eval(), config, data
