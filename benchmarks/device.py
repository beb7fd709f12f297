"""The device that is measured, and what a reader needs to judge its figures: names, versions, commit."""

import platform
import re
import subprocess
from datetime import date
from importlib import metadata
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]


def choose(name=None):
    """The device called `name` ("cpu" or "cuda"), by default CUDA where there is one. Raises ValueError without it.

    A CUDA device has its index: torch.cuda.set_per_process_memory_fraction takes none without.
    """
    if name not in (None, "cpu", "cuda"):
        raise ValueError(f"device: expected 'cpu' or 'cuda', got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda: PyTorch sees no CUDA device here; use cpu, or check nvidia-smi")
    kind = name or ("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(kind, torch.cuda.current_device()) if kind == "cuda" else torch.device(kind)


def describe(device):
    """Name, driver, versions, commit and date, as a results file keeps them."""
    info = {
        "type": device.type,
        "name": _cpu_name(),
        "threads": torch.get_num_threads(),
        "driver": None,
        "cuda": None,
        "torch": torch.__version__,
        "triton": _triton_version(),
        "python": platform.python_version(),
        "commit": _commit(),
        "date": date.today().isoformat(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        info |= {
            "name": properties.name,
            "threads": None,
            "driver": _driver(),
            "cuda": torch.version.cuda,
            "capability": f"{properties.major}.{properties.minor}",
            "memory_gib": round(properties.total_memory / 2**30, 1),
        }
    return info


def title(info):
    """The device in a few words: "AMD EPYC, 2 threads" or "NVIDIA H200"."""
    return info["name"] if info["type"] == "cuda" else f"{info['name']}, {info['threads']} threads"


def file_name(info):
    """`<device>-<date>.json`, the name of a results file."""
    return re.sub(r"[^a-z0-9]+", "-", title(info).lower()).strip("-") + f"-{info['date']}.json"


def _cpu_name():
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _triton_version():
    try:
        return metadata.version("triton")
    except metadata.PackageNotFoundError:
        return None


def _commit():
    commit = _output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    return commit and commit + ("+changes" if _output("git", "-C", str(ROOT), "status", "-uno", "--porcelain") else "")


def _driver():
    found = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return found and found.splitlines()[0]


def _output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None
