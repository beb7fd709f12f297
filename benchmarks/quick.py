"""The shortest answer: fused against conv1x1 and eager PyTorch on two workloads, with the share of copy bandwidth.

python -m benchmarks.quick --out timings.json [--device cuda]
"""

import argparse
import sys

from benchmarks import bandwidth, device, heads, results, tables
from benchmarks.workloads import cases

WORKLOADS = ("wmh", "large-batch")
PEERS = ("conv1x1", "reference", "fused")


def timings(target, workloads=WORKLOADS, peers=PEERS, effort=heads.QUICK):
    """Results (as a results file holds them) of these peers in the plain case of these workloads."""
    found = results.empty(device.describe(target), bandwidth.copy_gbps(target), quick=True)
    for case in cases(workloads, target.type, quick=True):
        found["heads"] += heads.measure(case, peers, target, effort, found["copy_gbps"])[0]
    return found


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick", description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="file for the results, or folder for <device>-<date>.json")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="by default cuda where there is one")
    options = parser.parse_args(arguments)
    try:
        found = timings(device.choose(options.device))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(tables.text(found))
    if options.out:
        print(f"\nresults: {results.write(found, options.out)}")
    return int(not all(row["modes"] for row in found["heads"]))


if __name__ == "__main__":
    sys.exit(main())
