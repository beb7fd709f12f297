"""A torch profiler trace of one training step of a peer, to open in a trace viewer (Perfetto, chrome://tracing)."""

import torch
from torch.profiler import ProfilerActivity, profile


def write(step, device, path):
    """Runs a step to warm up and a traced one, and writes the trace as JSON."""
    step()
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * (device.type == "cuda")]
    with profile(activities=activities, record_shapes=True, profile_memory=True) as profiler:
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
    path.parent.mkdir(parents=True, exist_ok=True)
    profiler.export_chrome_trace(str(path))
