"""python -m nerd_fast.kernels.audit: compiles the kernels for every GPU architecture without a GPU and holds them to
a budget.

For each launch it reads registers, stack (spills), shared memory, the accesses of the loop over the batch, the kinds of
instructions, atomics and the width of batch offsets; it exits with 1 if any is past its budget. The default is the
paper's configurations; `--all` adds larger heads, 16-bit features, tf32 and three dimensions, and takes minutes.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass

import torch

from nerd_fast.kernels import compilation, cubin, launch, layout, tiling

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
SHARED_KIB = {75: 48}
LARGER_SHARED_KIB = 99
ATOMIC = re.compile(r"\b(?:red|atom)\.")
INT64_OFFSET = re.compile(r"arith\.muli .*\bi64\b|arith\.muli .*xi64>")


@dataclass(frozen=True)
class Configuration:
    """A head and the features that it is compiled for."""

    modulates: bool
    in_channels: int
    out_channels: int
    hidden_channels: tuple[int, ...]
    precision: str = "ieee"
    dtype: str = "float32"
    channels_last: bool = False
    spatial: tuple[int, ...] = (160, 224)
    activation: str = "relu"

    def __str__(self):
        variant = "nerdm" if self.modulates else "nerdc"
        layout = "channels_last" if self.channels_last else "contiguous"
        hidden = "-".join(map(str, self.hidden_channels))
        size = f"C{self.in_channels} K{self.out_channels} hidden {hidden}"
        rank = f"{len(self.spatial)}d"
        return f"{variant} {size} {self.activation} {rank} {self.dtype} {layout} {self.precision}"


@dataclass(frozen=True)
class Budget:
    """Stack bytes allowed, and bytes per thread that the batch loop must load and store in accesses of `width`."""

    stack: int = 0
    width: int = 16
    loaded: int = 0
    stored: int = 0


@dataclass(frozen=True)
class Finding:
    """What one kernel of one configuration compiled to. Memory accesses are {width: bytes per thread and round}."""

    configuration: str
    kernel: str
    architecture: int
    warps: int
    registers: int
    stack: int
    shared: int
    loads: dict
    stores: dict
    ffma: int
    hmma: int
    hgmma: int
    atomics: int
    int64_offsets: bool
    breaches: tuple[str, ...]


def paper():
    """The paper's sizes at the default precision: U-Nets of 16 and 32 channels, one class, both memory formats."""
    heads = itertools.product((True, False), (16, 32), ((32, 32), (64, 64)), (False, True))
    return [Configuration(m, c, 1, hidden, channels_last=last) for m, c, hidden, last in heads]


def everything():
    """The paper's configurations and what else ships: classes, widths, depths, types, precisions, three dimensions."""
    more = [
        Configuration(m, 32, k, (32, 32), precision, channels_last=last)
        for m, k, precision, last in itertools.product((True, False), (8, 14), ("ieee", "tf32"), (False, True))
    ]
    for m in (True, False):
        more += [Configuration(m, 16, 1, (64, 64), precision) for precision in ("tf32", "tf32x3")]
        more += [Configuration(m, c, 1, (32, 32)) for c in (64, 128, 256)]
        more += [Configuration(m, 16, 1, (32, 32), activation=activation) for activation in ("silu", "tanh")]
        more += [
            Configuration(m, 16, 1, (32, 32), dtype=dtype, channels_last=last)
            for dtype, last in itertools.product(("float16", "bfloat16"), (False, True))
        ]
        more += [
            Configuration(m, 16, 2, (32, 32), spatial=(64, 128, 128), channels_last=last) for last in (False, True)
        ]
        more += [Configuration(m, 16, 1, (128, 128)), Configuration(m, 16, 1, (64, 64, 64, 64))]
    return paper() + more


def launches(configuration, architecture):
    """The Launches of a forward and of a backward that wants every gradient, on tensors without memory."""
    batch, spatial, c, k = 16, configuration.spatial, configuration.in_channels, configuration.out_channels
    last = torch.channels_last if len(spatial) == 2 else torch.channels_last_3d
    memory_format = last if configuration.channels_last else torch.contiguous_format
    dtype = getattr(torch, configuration.dtype)
    x = torch.empty((batch, c, *spatial), dtype=dtype, device="meta", memory_format=memory_format)
    widths = (2 * len(spatial), *configuration.hidden_channels, (2 if configuration.modulates else k) * c)
    weights = [torch.empty(o, i, device="meta") for i, o in itertools.pairwise(widths)]
    biases = [torch.empty(o, device="meta") for o in widths[1:]]
    classifier = torch.empty(k, c, device="meta") if configuration.modulates else None
    head = tiling.Head(
        configuration.modulates,
        c,
        k,
        configuration.hidden_channels,
        len(spatial),
        configuration.activation,
        None,
        configuration.precision,
        divmod(architecture, 10),
    )
    call = launch.Call(head, x, classifier, weights, biases, (0,) * len(spatial), spatial)
    logits = layout.empty_logits(x, k)
    slots = [x, classifier, None, *weights, *biases]
    return [launch.forward_launch(call, logits, None)], launch.backward_launches(call, logits, slots)


def budget(configuration, step):
    """The budget of one launch of a configuration."""
    name = step.kernel.__name__
    if name in ("apply_forward", "apply_backward"):
        tile, item = step.constants, getattr(torch, configuration.dtype).itemsize
        features = tile["S"] * tile["P"] * tile["T"] * item // (32 * step.options["num_warps"])
        stored = features if name == "apply_backward" else 0
        return Budget(width=16 if item == 4 else 8, loaded=features, stored=stored)
    return Budget(stack=0 if configuration in paper() else 128)


def examine(label, step, architecture, allowed):
    """Compiles one Launch and reads it: a Finding, with what is past the budget in words."""
    compiled = compilation.compile_launch(step, divmod(architecture, 10))
    reading = cubin.read(compiled.asm["cubin"])
    loads, stores = reading.streamed_bytes("LDG"), reading.streamed_bytes("STG")
    atomics = len(ATOMIC.findall(compiled.asm["ptx"]))
    int64_offsets = bool(INT64_OFFSET.search(compiled.asm["ttir"]))
    shared, shared_limit = compiled.metadata.shared, 1024 * SHARED_KIB.get(architecture, LARGER_SHARED_KIB)
    breaches = []
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
        step.options["num_warps"],
        reading.registers,
        reading.stack,
        shared,
        loads,
        stores,
        reading.count("FFMA"),
        reading.count("HMMA"),
        reading.count("HGMMA", "UTCHMMA"),
        atomics,
        int64_offsets,
        tuple(breaches),
    )


def examine_configuration(configuration, architecture):
    """The Findings of every launch of one configuration; raises where a forward or backward has too many launches."""
    forward, backward = launches(configuration, architecture)
    if len(forward) > 1 or len(backward) > 3:
        raise RuntimeError(
            f"{configuration}: {len(forward)} forward and {len(backward)} backward launches, 1 and 3 allowed"
        )
    return [examine(str(configuration), step, architecture, budget(configuration, step)) for step in forward + backward]


def table(findings):
    rows = [
        ("arch", "kernel", "warps", "regs", "stack", "shared", "loads", "stores", "FFMA", "HMMA", "HGMMA", "breaches")
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
            loads,
            stores,
            f.ffma,
            f.hmma,
            f.hgmma,
        )
        rows.append((*map(str, row), breaches))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m nerd_fast.kernels.audit", description=__doc__)
    parser.add_argument("--all", action="store_true", help="every configuration, not the paper's alone")
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
    jobs = list(itertools.product(everything() if options.all else paper(), options.architectures))
    findings = []
    spawn = multiprocessing.get_context("spawn")  # a forked child of a process that has run torch may hang
    with ProcessPoolExecutor(options.processes, spawn) as pool:
        for found in pool.map(examine_configuration, *zip(*jobs, strict=True)):
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


if __name__ == "__main__":
    sys.exit(main())
