"""Throughput and memory of the heads against every peer.

`pytest --benchmark` measures, `python -m benchmarks.check FILE` holds the figures against what must be reached,
`python -m benchmarks.report` makes the README's table and plots.
"""
