"""A case that any peer runs in a moment."""

import torch

from benchmarks.workloads import Case, Workload

CPU = torch.device("cpu")
CASE = Case(Workload("tiny", 3, 4, 2, (6, 5), "a test"), "float32", "contiguous", (8,))
