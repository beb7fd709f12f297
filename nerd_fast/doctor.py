"""`nerd-fast doctor`: what is installed, which devices there are, and which backend a head would use here and why."""

import os
import platform
from importlib import metadata

import torch

import nerd_fast
from nerd_fast.backends import fused

PACKAGES = (
    "torch",
    "triton",
    "numpy",
    "monai",
    "pytorch-lightning",
    "nibabel",
    "scipy",
    "jsonargparse",
    "safetensors",
    "pynrrd",
    "matplotlib",
    "tensorboard",
)


def run():
    """Print the report."""
    print("\n".join(report()))


def report():
    """The report, one line for each finding."""
    lines = [f"nerd-fast {nerd_fast.__version__}, Python {platform.python_version()}, {platform.platform()}"]
    lines += [f"  {name:18} {version_of(name)}" for name in PACKAGES]
    lines += [f"CPU: {os.cpu_count()} cores, {torch.get_num_threads()} threads for torch", f"  head: {_backend('cpu')}"]
    if not torch.cuda.is_available():
        built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
        return [*lines, f"GPU: none; {built}"]
    for number in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(number)
        lines += [
            f"GPU {number}: {device.name}, sm_{device.major}{device.minor}, {device.total_memory / 2**30:.1f} GiB",
            f"  head: {_backend(f'cuda:{number}')}",
        ]
    return lines


def version_of(name):
    """The version of an installed package, or "absent"."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def _backend(device):
    """What `backend="auto"` takes on this device for the paper's heads: 16 channels, hidden layers of 32 and 32."""
    x = torch.zeros(1, 16, 1, 1, device=device)
    if not x.is_cuda:
        return "torch (the Triton kernels need CUDA tensors)"
    reason = fused.obstacle(
        x,
        variant="nerdm",
        out_channels=1,
        hidden_channels=(32, 32),
        activation="relu",
        precision=fused.resolve_precision(None),
    )
    return "triton" if reason is None else f"torch, because {reason}"
