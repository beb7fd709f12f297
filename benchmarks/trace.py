"""A torch profiler trace of one training step of a peer, to open in a trace viewer (Perfetto, chrome://tracing)."""

import torch
from torch.profiler import ProfilerActivity, profile


def write(peer, inputs, path):
    """Runs a step to warm up and a traced one, and writes the trace as JSON."""
    x, grad = inputs

    def step():
        torch.autograd.grad(peer.call(x), [x, *peer.parameters], grad)

    step()
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * x.is_cuda]
    with profile(activities=activities, record_shapes=True, profile_memory=True) as profiler:
        step()
        if x.is_cuda:
            torch.cuda.synchronize()
    path.parent.mkdir(parents=True, exist_ok=True)
    profiler.export_chrome_trace(str(path))
