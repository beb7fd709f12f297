"""The first call of a fresh process: with an empty and with a warm Triton cache, or on a CPU without one.

Measured from the call of a head whose input lies on the device to the end of its backward: the import of Triton (told
apart as well), compilation or the look-up in the cache, and the launches. Run as a module it is that process and prints
its seconds.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

from benchmarks.device import ROOT


def measure(device, runs=3):
    """A row per cache state ("empty" and "warm" on CUDA, "none" on a CPU): that of the median of `runs` processes."""
    states = ("empty", "warm") if device.type == "cuda" else ("none",)
    calls = {state: [] for state in states}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as cache:
            for state in states:
                calls[state].append(_fresh_process(device, cache))
    middle = {state: sorted(taken, key=lambda call: call["seconds"])[runs // 2] for state, taken in calls.items()}
    return [{"cache": state, **call} for state, call in middle.items()]


def _fresh_process(device, cache):
    environment = {**os.environ, "TRITON_CACHE_DIR": cache}
    command = [sys.executable, "-m", "benchmarks.cold_start", device.type]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def first_call(device_type):
    """{"seconds", "import_seconds"} of the first forward and backward of a head in this process.

    The second is the part of the first that imports Triton, 0 on a CPU, whose backend does without.
    """
    import torch

    from nerd_fast import NeRDm

    head = NeRDm(16, bias=True, backend="triton" if device_type == "cuda" else "torch").to(device_type)
    x = torch.randn(14, 16, 160, 224, device=device_type, requires_grad=True)
    synchronise = torch.cuda.synchronize if device_type == "cuda" else lambda: None
    synchronise()
    begin = time.perf_counter()
    if device_type == "cuda":
        import triton  # noqa: F401  the head's call would import it
    imported = time.perf_counter() if device_type == "cuda" else begin
    head(x).sum().backward()
    synchronise()
    return {"seconds": round(time.perf_counter() - begin, 4), "import_seconds": round(imported - begin, 4)}


if __name__ == "__main__":
    print(json.dumps(first_call(sys.argv[1])))
