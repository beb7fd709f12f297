"""The two ways to run a head: `torch` (any device) and `triton` (the fused kernels), behind one contract.

A backend is a module with `forward` and `backward` of the same signature; `selection.choose` names it.
"""
