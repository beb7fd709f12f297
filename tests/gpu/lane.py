"""The GPU lane, `make gpu`: everything that a CUDA GPU shows, in one folder, within nine minutes on one card.

    python -m tests.gpu.lane --out gpu-results

Each part has a log and a time limit of its own; `summary.json` says how each ended. A part that
fails does not keep the others from running; the exit code is 1 when any of them failed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch

SANITIZER = "compute-sanitizer"
WHOLE_LANE_S = 530


def parts(out):
    """(name, command, limit in seconds), cheapest and most telling first."""
    python = [sys.executable, "-m"]
    pytest = [*python, "pytest", "-q", "-p", "no:cacheprovider"]
    yield "doctor", [*python, "nerd_fast", "doctor"], 30
    yield "parity", [*pytest, "tests/test_functional.py", "-k", "triton", f"--junitxml={out / 'parity.xml'}"], 200
    yield "device", [*pytest, "tests/gpu", f"--junitxml={out / 'device.xml'}"], 150
    yield "timings", [*python, "benchmarks.quick", "--out", str(out / "timings.json")], 90
    if shutil.which(SANITIZER):
        for tool in ("memcheck", "racecheck"):
            yield tool, [SANITIZER, "--tool", tool, "--error-exitcode", "9", *python, "tests.gpu.small_cases"], 60


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


def main():
    parser = argparse.ArgumentParser(description="Run everything that needs a CUDA GPU.")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder of the results")
    out = parser.parse_args().out
    if not torch.cuda.is_available():
        sys.exit("make gpu needs a CUDA GPU: torch.cuda.is_available() is False here. `make test` runs without one.")
    out.mkdir(parents=True, exist_ok=True)
    ended, deadline = [], time.monotonic() + WHOLE_LANE_S
    for name, command, limit in parts(out):
        ended.append(run(name, command, max(1, min(limit, deadline - time.monotonic())), out))
        print("{part:10} exit {exit_code:4} {seconds:7.1f} s".format(**ended[-1]), flush=True)
    if not shutil.which(SANITIZER):
        print(f"{SANITIZER} is not installed: memory and race checks not run")
    device = torch.cuda.get_device_name()
    summary = {"device": device, "torch": torch.__version__, "cuda": torch.version.cuda, "parts": ended}
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    sys.exit(int(any(part["exit_code"] for part in ended)))


if __name__ == "__main__":
    main()
