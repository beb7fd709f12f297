"""The two ways to run a head: `torch` (any device) and `triton` (the fused kernels), behind one contract.

What either runs are operations of one name and signature each: `selection.IN_TORCH` lists them, `fused.call` runs them
by kernels, and `selection.run` chooses.
"""
