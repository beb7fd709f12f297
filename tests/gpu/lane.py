"""The GPU lane, `make gpu`: everything that a CUDA GPU shows, in one folder, within nine minutes on one card.

    python -m tests.gpu.lane --out gpu-results

Each part has a time limit of its own, and all of them together WHOLE_LANE_S: where time runs out, the last go short. A
part that fails does not keep the others from running; the exit code is 1 when any of them failed. The folder holds
`summary.json` (how each part ended, written anew after each), `timings.json` and `logs.tar` (what each part said).

Where no package index can be reached, `make gpu-offline PYTHON=...` takes a Python that has torch with CUDA, triton,
numpy and pytest. It installs this checkout alone; what needs the data of the trainer or drawn cases is left out there.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import torch

SANITIZER = "compute-sanitizer"
WHOLE_LANE_S = 530


def parts(out):
    """(name, command, limit in seconds), most telling first.

    Most of the time goes into compiling, about a second for each of some 200 kernels of the parity tests: the small
    cases run once by themselves before a sanitizer, under which their compilation would take minutes, runs them.
    """
    python = [sys.executable, "-m"]
    pytest = [*python, "pytest", "-q", "-p", "no:cacheprovider"]
    yield "doctor", [*python, "nerd_fast", "doctor"], 30
    yield "parity", [*pytest, "tests/test_functional.py", "-k", "triton", f"--junitxml={out / 'parity.xml'}"], 300
    yield "timings", [*python, "benchmarks.quick", "--out", str(out / "timings.json")], 90
    yield "device", [*pytest, "tests/gpu", f"--junitxml={out / 'device.xml'}"], 250
    streams = ["tests/test_norm.py", "tests/test_position_map.py", "-k", "triton", f"--junitxml={out / 'streams.xml'}"]
    yield "streams", [*pytest, *streams], 150
    yield "small_cases", [*python, "tests.gpu.small_cases"], 100
    if shutil.which(SANITIZER):
        for tool in ("memcheck", "racecheck"):
            yield tool, [SANITIZER, "--tool", tool, "--error-exitcode", "9", *python, "tests.gpu.small_cases"], 150


def run(name, command, limit, out):
    """How one part ended: its exit code (124 past its limit) and the seconds it took; its output is in NAME.log."""
    environment = {**os.environ, "NERD_FAST_DEVICE": "cuda"}
    environment.pop("TRITON_INTERPRET", None)
    if name == "memcheck":
        environment["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"
    started = time.monotonic()
    with open(out / f"{name}.log", "w", encoding="utf-8") as log:
        try:
            code = subprocess.run(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment, timeout=limit, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = 124
    return {"part": name, "exit_code": code, "seconds": round(time.monotonic() - started, 1)}


def put_away(name, out):
    """Moves the log of a part, and what pytest wrote of it, into the one archive."""
    with tarfile.open(out / "logs.tar", "a") as archive:
        for path in (out / f"{name}.log", out / f"{name}.xml"):
            if path.exists():
                archive.add(path, path.name)
                path.unlink()


def main():
    parser = argparse.ArgumentParser(description="Run everything that needs a CUDA GPU.")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder of the results")
    out = parser.parse_args().out
    if not torch.cuda.is_available():
        sys.exit("make gpu needs a CUDA GPU: torch.cuda.is_available() is False here. `make test` runs without one.")
    out.mkdir(parents=True, exist_ok=True)
    (out / "logs.tar").unlink(missing_ok=True)
    ended, deadline = [], time.monotonic() + WHOLE_LANE_S
    for name, command, limit in parts(out):
        ended.append(run(name, command, max(1, min(limit, deadline - time.monotonic())), out))
        put_away(name, out)
        print("{part:11} exit {exit_code:4} {seconds:7.1f} s".format(**ended[-1]), flush=True)
        summary = {
            "device": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "parts": ended,
        }
        (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    if not shutil.which(SANITIZER):
        print(f"{SANITIZER} is not installed: memory and race checks not run")
    sys.exit(int(any(part["exit_code"] for part in ended)))


if __name__ == "__main__":
    main()
