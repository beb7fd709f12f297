"""python -m nerd_fast.kernels.audit: compiles the kernels for every GPU architecture without a GPU and holds them to
a budget.

For each launch it reads registers, stack (spills), shared memory, the accesses of the loop over the batch, the kinds of
instructions, atomics and the width of batch offsets; it exits with 1 if any is past its budget. The default is the
paper's configurations on seven architectures. `--all` adds, on four, the corners of what ships: the ends of every range
(channels 1 and 256, classes 1 and 64, layers 1 and 4, widths 8 and 128) and the sizes at which a tile changes, with
precisions, types, memory formats, activations, dimensions and bias in turn; not the product of them all. What compiles
alike is compiled once. On one core the default takes about five minutes, `--all` about an hour.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass

from nerd_fast.kernels.audit import compilation, configurations, counted, cubin, gpus, streams

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
CORNERS = (75, 80, 90, 120)  # FMA alone, mma, wgmma, and the newest of consumers
SHARED_KIB = {75: 48}
LARGER_SHARED_KIB = 99
ATOMIC = re.compile(r"\b(?:red|atom)\.")
INT64_OFFSET = re.compile(r"arith\.muli .*\bi64\b|arith\.muli .*xi64>")


@dataclass(frozen=True)
class Finding:
    """What one kernel of one configuration compiled to.

    Memory accesses of the loop over the batch are {width: bytes per thread and round}; barriers are that loop's.
    """

    configuration: str
    kernel: str
    architecture: int
    warps: int
    registers: int
    stack: int
    shared: int
    resident: int
    loads: dict
    stores: dict
    barriers: int
    ffma: int
    hmma: int
    hgmma: int
    atomics: int
    int64_offsets: bool
    breaches: tuple[str, ...]


def examine(label, step, architecture, allowed):
    """Compiles one Launch and reads it: a Finding, with what is past the budget in words."""
    compiled = compilation.compile_launch(step, divmod(architecture, 10))
    reading = cubin.read(compiled.asm["cubin"])
    loads, stores = reading.streamed_bytes("LDG"), reading.streamed_bytes("STG")
    atomics = len(ATOMIC.findall(compiled.asm["ptx"]))
    int64_offsets = bool(INT64_OFFSET.search(compiled.asm["ttir"]))
    shared, shared_limit = compiled.metadata.shared, 1024 * SHARED_KIB.get(architecture, LARGER_SHARED_KIB)
    warps = step.options["num_warps"]
    resident = gpus.resident_programs(architecture, warps, reading.registers, shared)
    breaches = []
    if resident < allowed.resident:
        breaches.append(f"{resident} programs on a multiprocessor, {allowed.resident} expected")
    if reading.stack > allowed.stack:
        breaches.append(f"{reading.stack} bytes of stack, {allowed.stack} allowed")
    if shared > shared_limit:
        breaches.append(f"{shared} bytes of shared memory, {shared_limit} allowed")
    for what, moved, least in (("loads", loads, allowed.loaded), ("stores", stores, allowed.stored)):
        wide = sum(count for width, count in moved.items() if width >= allowed.width)
        if wide < least:
            breaches.append(f"{wide} of {least} bytes in {what} of {allowed.width} bytes in the batch loop")
    if atomics:
        breaches.append(f"{atomics} atomic instructions")
    if not int64_offsets:
        breaches.append("no 64-bit product among its offsets")
    return Finding(
        label,
        step.kernel.__name__,
        architecture,
        warps,
        reading.registers,
        reading.stack,
        shared,
        resident,
        loads,
        stores,
        reading.streamed_barriers(),
        reading.count("FFMA"),
        reading.count("HMMA"),
        reading.count("HGMMA", "UTCHMMA"),
        atomics,
        int64_offsets,
        tuple(breaches),
    )


def jobs(architectures, everything=False):
    """(configuration, architecture, which of its launches) of all that no job before compiles alike."""
    corners = [*configurations.corners(), *streams.corners()] if everything else []
    paper = [*configurations.paper(), *streams.paper()]
    hardest_first = itertools.product(corners, [a for a in architectures if a in CORNERS])
    seen = set()
    for configuration, architecture in itertools.chain(hardest_first, itertools.product(paper, architectures)):
        new = []
        for index, step in enumerate(_launches(configuration, architecture)):
            key = repr((architecture, step.kernel.__name__, compilation.specialisation(step), step.options))
            if key not in seen:
                seen.add(key)
                new.append(index)
        if new:
            yield configuration, architecture, new


def examine_configuration(configuration, architecture, which=range(4)):
    """The Findings of the launches of one configuration."""
    steps = _launches(configuration, architecture)
    return [
        examine(str(configuration), step, architecture, _budget(configuration, step, architecture))
        for index, step in enumerate(steps)
        if index in which
    ]


def _launches(configuration, architecture):
    of_head = isinstance(configuration, configurations.Configuration)
    return configurations.launches(configuration, architecture) if of_head else configuration.launches(architecture)


def _budget(configuration, step, architecture):
    of_head = isinstance(configuration, configurations.Configuration)
    return configurations.budget(configuration, step, architecture) if of_head else configuration.budget(step)


def table(findings):
    rows = [
        (
            "arch",
            "kernel",
            "warps",
            "regs",
            "stack",
            "shared",
            "programs",
            "loads",
            "stores",
            "bars",
            "FFMA",
            "HMMA",
            "HGMMA",
            "breaches",
        )
    ]
    for f in findings:
        loads, stores = (
            " ".join(f"{w}B:{n}" for w, n in sorted(moved.items())) or "-" for moved in (f.loads, f.stores)
        )
        breaches = "; ".join(f.breaches) or "-"
        row = (
            f.architecture,
            f.kernel,
            f.warps,
            f.registers,
            f.stack,
            f.shared,
            f.resident,
            loads,
            stores,
            f.barriers,
            f.ffma,
            f.hmma,
            f.hgmma,
        )
        rows.append((*map(str, row), breaches))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m nerd_fast.kernels.audit", description=__doc__)
    parser.add_argument("--all", action="store_true", help="the corners of what ships as well, not the paper's alone")
    parser.add_argument("--counts", action="store_true", help="execute and count the kernels instead, on three GPUs")
    parser.add_argument("--page", metavar="FILE", help="with --counts, write the tables between the marks of this page")
    parser.add_argument("--json", metavar="FILE", help="write the findings to this file")
    parser.add_argument(
        "--architectures",
        type=int,
        nargs="+",
        default=ARCHITECTURES,
        choices=ARCHITECTURES,
        metavar="SM",
        help="such as 90",
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="how many kernels to compile at a time")
    options = parser.parse_args(arguments)
    if os.environ.get("TRITON_INTERPRET") == "1":
        parser.error("TRITON_INTERPRET is set: the interpreter compiles nothing. Unset it and run again.")
    if options.page and not options.counts:
        parser.error("--page goes with --counts")
    if options.counts:
        breaches = counted.report(options.processes, options.page)
        print(f"{len(breaches)} figures past their budget", *breaches, sep="\n  ")
        return 1 if breaches else 0
    findings = []
    spawn = multiprocessing.get_context("spawn")  # a forked child of a process that has run torch may hang
    with ProcessPoolExecutor(options.processes, spawn) as pool:
        todo = zip(*jobs(options.architectures, options.all), strict=True)
        for found in pool.map(examine_configuration, *todo):
            print(found[0].configuration, *table(found), sep="\n  ", flush=True)
            findings += found
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump([asdict(finding) for finding in findings], file, indent=1)
    breached = [finding for finding in findings if finding.breaches]
    print(f"{len(findings)} kernels compiled, {len(breached)} past the budget")
    for f in breached:
        print(f"  {f.configuration}: {f.kernel} on sm_{f.architecture}: {'; '.join(f.breaches)}")
    return 1 if breached else 0
