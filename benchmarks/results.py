"""The file of a run: every row with its device, versions, commit and parity errors, as JSON.

version    of this layout
device     see `benchmarks.device.describe`
convolutions the type of float32 convolutions in the heads' rows and, as PyTorch is set, in the U-Net's
quick      whether `--benchmark-quick` measured it
copy_gbps  GB/s of a large copy, the ruler for the GB/s of the rows
heads      one row per case and peer, see `benchmarks.heads.measure`
steps      training steps of the U-Net, see `benchmarks.training_step`
limits     largest batches under a memory cap, see `benchmarks.training_step`
scaling    time and memory against the batch and the positions, see `benchmarks.scaling`
cold_start first calls of fresh processes, see `benchmarks.cold_start`
"""

import json
import os
from pathlib import Path

import torch

from benchmarks import device

VERSION = 1
SECTIONS = ("heads", "steps", "limits", "scaling", "cold_start")


def empty(info, copy_gbps, quick):
    """Results of a run that has measured nothing yet."""
    convolutions = {"heads": "float32", "steps": "tf32" if torch.backends.cudnn.allow_tf32 else "float32"}
    return {
        "version": VERSION,
        "device": info,
        "convolutions": convolutions,
        "quick": quick,
        "copy_gbps": copy_gbps,
        **{section: [] for section in SECTIONS},
    }


def write(results, path):
    """Writes the file, whole or not at all, and returns its path; into a folder as `<device>-<date>.json`."""
    path = Path(path)
    if path.suffix != ".json":
        path.mkdir(parents=True, exist_ok=True)
        path = path / device.file_name(results["device"])
    partial = path.with_suffix(".partial")
    with partial.open("w") as file:
        file.write(_one_row_a_line(results))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    return path


def read(path):
    """The results in a file. Raises ValueError, in one line, for a file that is not of this version."""
    try:
        found = json.loads(Path(path).read_text())
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise ValueError(f"{path}: not a JSON file; expected one that `pytest --benchmark` wrote") from None
    version = found.get("version") if isinstance(found, dict) else None
    if version != VERSION or any(section not in found for section in SECTIONS):
        raise ValueError(
            f"{path}: results of version {version}, expected {VERSION}; measure again with: pytest --benchmark"
        )
    return found


def _one_row_a_line(results):
    """JSON that reads and compares well: a line per row."""
    lines = []
    for key, value in results.items():
        if key in SECTIONS:
            rows = ",\n".join("  " + json.dumps(row) for row in value)
            lines.append(f' "{key}": [\n{rows}\n ]' if rows else f' "{key}": []')
        else:
            lines.append(f' "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"
