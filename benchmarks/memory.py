"""Peak memory of a call above its inputs, from the allocator: counted, not sampled."""

import json
import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(call, device):
    """The most that `call()` has allocated at once, in bytes, above what was allocated before it.

    CUDA: the caching allocator's own statistics. CPU: the allocator's profile, every allocation and release of
    tensor memory by any operator or compiled kernel (buffers that a library takes with malloc are not in it).
    """
    if device.type == "cuda":
        return _cuda_peak(call, device)
    return _cpu_peak(call)


def _cuda_peak(call, device):
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _cpu_peak(call):
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    changes = [event for event in events if event.get("name") == "[memory]" and event["args"]["Device Type"] == 0]
    now = highest = 0
    for change in sorted(changes, key=lambda event: event["ts"]):
        now += change["args"]["Bytes"]
        highest = max(highest, now)
    return highest
