"""Counts what the launches of a configuration do, by executing a sample of their programs as PTX."""

from dataclasses import dataclass

import numpy as np

from nerd_fast.kernels.audit import cubin
from nerd_fast.kernels.audit.configurations import BATCH, Configuration, launches
from nerd_fast.kernels.audit.gpus import machine_instructions, resident_programs
from nerd_fast.kernels.audit.ptx import launcher
from nerd_fast.kernels.audit.ptx.counts import SECTOR, kind_of
from nerd_fast.kernels.audit.ptx.memory import Memory

SAMPLE = 8  # programs, evenly over the grid: all tiles of these images are whole, so that programs differ little


@dataclass(frozen=True)
class Count:
    """What one launch does. Figures of a thread or a warp are means over the programs that were executed.

    sectors: {(tensor, "loads" or "stores"): bytes of the sectors that its warps touched, over the distinct bytes}, of
    tensors of which every program touches its own part. rounds: how often the loop over the batch runs.
    """

    configuration: str
    kernel: str
    architecture: int
    batch: int
    programs: int
    warps: int
    registers: int
    shared_bytes: int
    resident: int
    kinds: dict
    instructions: float
    wavefronts: float
    ideal_wavefronts: float
    shuffles: float
    barriers: float
    products: float
    issue_slots: float
    longest_slots: float  # issue slots of the program that has most to do, the first
    float_slots: float
    integer_slots: float
    loop_issue_slots: float  # what of a figure is the loop over the batch
    loop_float_slots: float
    loop_integer_slots: float
    loop_wavefronts: float
    loop_shuffles: float
    rounds: int
    dram_bytes: float
    sectors: dict


def cases():
    """What is counted: both heads at the paper's sizes and at 14 classes, in both memory formats."""
    sizes = ((16, 1), (32, 1), (32, 14))
    return [
        Configuration(modulates, channels, classes, (32, 32), layout=layout)
        for modulates in (True, False)
        for channels, classes in sizes
        for layout in ("contiguous", "channels_last")
    ]


def count_configuration(configuration, architecture, kernels=None):
    """The Counts of the launches of one configuration or normalisation, of all its kernels or of those named."""
    of_head = isinstance(configuration, Configuration)
    made = launches(configuration, architecture, "cpu") if of_head else configuration.launches(architecture, "cpu")
    wanted = [step for step in made if kernels is None or _role(step) in kernels]
    return [count_launch(str(configuration), step, architecture) for step in wanted]


def _role(step):
    """The name of a Launch's kernel, or of the one whose place it takes where layers are narrow."""
    return step.kernel.__name__.removesuffix("_narrow")


def count_launch(label, step, architecture):
    """Compiles and executes one Launch on CPU tensors, whose values do not matter. Raises ValueError for no count."""
    capability = divmod(architecture, 10)
    compiled = launcher.compile_launch(step, capability, machine_code=True)
    programs = np.unique(np.linspace(0, step.programs - 1, SAMPLE).round().astype(int))
    counts = launcher.count(step, capability, Memory(checks=False), compiled, programs)
    if not counts.threads.sum() or not counts.sectors.sum():
        raise ValueError(
            f"{label}: {step.kernel.__name__} counted nothing; a kernel that loads and stores was expected"
        )
    longest = launcher.count(step, capability, Memory(checks=False), compiled, [0])
    reading, shared = cubin.read(compiled[0].asm["cubin"]), compiled[0].metadata.shared
    warps = step.options["num_warps"]
    executed = len(programs) * warps
    slots = np.array([machine_instructions(ins.op) for ins in counts.instructions])
    by_kind, by_warp = counts.by_kind(), counts.by_kind(counts.warps)
    rounds = max(1, round(counts.rounds() / executed))
    dram, sectors = _traffic(counts, step.programs / len(programs))
    issue, floats, integers = counts.warps @ slots / executed
    return Count(
        configuration=label,
        kernel=_role(step),
        architecture=architecture,
        batch=BATCH,
        programs=step.programs,
        warps=warps,
        registers=reading.registers,
        shared_bytes=shared,
        resident=resident_programs(architecture, warps, reading.registers, shared),
        kinds={kind: number / executed / 32 for kind, number in by_kind.most_common()},
        instructions=sum(by_kind.values()) / executed / 32,
        wavefronts=int(counts.wavefronts.sum()) / executed,
        ideal_wavefronts=int(counts.ideal.sum()) / executed,
        shuffles=by_warp["shuffles"] / executed,
        barriers=by_warp["barriers"] / executed,
        products=by_warp["mma"] / executed,
        issue_slots=float(issue),
        longest_slots=float(longest.warps @ slots[:, 0]) / warps,
        float_slots=float(floats),
        integer_slots=float(integers),
        **_in_loop(counts, slots, rounds, executed),
        rounds=rounds,
        dram_bytes=dram,
        sectors=sectors,
    )


def _in_loop(counts, slots, rounds, executed):
    """The figures of the instructions that run at least as often as the loop over the batch."""
    chosen = (counts.warps >= rounds * executed) & (rounds > 1)
    shuffles = [kind_of(ins.op) == "shuffles" for ins in counts.instructions]
    issue, floats, integers = (float(sum_) / executed for sum_ in (counts.warps * chosen) @ slots)
    return {
        "loop_issue_slots": issue,
        "loop_float_slots": floats,
        "loop_integer_slots": integers,
        "loop_wavefronts": int(counts.wavefronts[chosen].sum()) / executed,
        "loop_shuffles": int(counts.warps[chosen & shuffles].sum()) / executed,
    }


def _traffic(counts, scale):
    """(bytes that must come from or go to DRAM, sectors over need of each tensor that programs share out)."""
    total, over = 0, {}
    warp_sectors = counts.sectors_of_tensors()
    for key, (needed, sectors, whole) in counts.touched().items():
        total += SECTOR * min(sectors * scale, whole)
        if sectors * scale <= 1.5 * whole:  # else every program reads the same: a parameter
            over[key] = SECTOR * warp_sectors[key] / needed
    return total, over
