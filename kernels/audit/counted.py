"""python -m nerd_fast.kernels.audit --counts: what the kernels do on three GPUs, counted, and the time that it bounds.

Each kernel of the paper's sizes and of 14 classes is compiled for each GPU's architecture, a sample of its programs is
executed as PTX on the CPU, and the counts are held to the budgets of `reach`. About ten minutes on two cores.
"""

import itertools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from nerd_fast.kernels.audit import gpus, model, page, reach
from nerd_fast.kernels.audit.counting import cases, count_configuration

BATCHES = (14, 128)  # of the modelled step: the paper's, and a large one
MODELLED = (True, 16, 1, "contiguous")


def report(processes, to_page=None):
    """Counts everything and prints it, into the tables of `to_page` too; the breaches, in words."""
    print(gpus.ASSUMPTIONS, end="\n\n")
    breaches, entries, modelled_steps = [], [], []
    todo = list(itertools.product(cases(), gpus.GPUS))
    configurations, architectures = [job[0] for job in todo], [job[1].architecture for job in todo]
    spawn = multiprocessing.get_context("spawn")  # a forked child of a process that has run torch may hang
    with ProcessPoolExecutor(processes, spawn) as pool:
        done = pool.map(count_configuration, configurations, architectures)
        for (configuration, gpu), counts in zip(todo, done, strict=True):
            print(f"{configuration}, batch {counts[0].batch}, {gpu.name}", *table(gpu, counts), sep="\n  ")
            entries.append((gpu, reach.name_of(configuration), counts))
            found = [figure for count in counts for figure in reach.figures(configuration, count)]
            if is_modelled(configuration):
                print(*modelled(gpu, configuration, counts), sep="\n  ")
                modelled_steps.append((gpu, steps(gpu, configuration, counts)))
                found += reach.step_figures(*modelled_steps[-1])
            breaches += [figure.breach for figure in found if figure.breach]
            for_now = [figure for figure in found if figure.for_now is not None]
            print(*(f"  yet to reach {f.reach:g}: {f}" for f in for_now), sep="\n", end="\n\n", flush=True)
    if to_page:
        page.insert(to_page, page.text(entries, modelled_steps))
    return breaches


def is_modelled(configuration):
    c = configuration
    return (c.modulates, c.in_channels, c.out_channels, c.layout) == MODELLED


def steps(gpu, configuration, counts):
    """{batch: modelled Step} from the Counts of a configuration."""
    by_kernel = {count.kernel: count for count in counts}
    return {batch: model.step(gpu, configuration, by_kernel, batch) for batch in BATCHES}


def modelled(gpu, configuration, counts):
    """Lines: the modelled step at each batch."""
    lines = ["", model.ASSUMPTIONS]
    for batch, step in steps(gpu, configuration, counts).items():
        parts = ", ".join(f"{name} {1e6 * seconds:.0f}" for name, seconds in step.kernels.items())
        lines.append(
            f"batch {batch}, modelled: {parts}, in all {1e6 * step.total:.0f} us of which the calibrator's backward "
            f"{step.calibrator_share:.0%}; share of copy bandwidth {step.share:.2f}, "
            f"{step.bounded_share:.2f} with no kernel below its bounds"
        )
    return lines


def table(gpu, counts):
    """Lines: the counts of each kernel, instructions by kind, sectors, and bounds in microseconds."""
    lines = []
    for count in counts:
        least = gpus.bounds(gpu, count)
        bound = ", ".join(f"{name} {microseconds:.1f}" for name, microseconds in least.items())
        kinds = ", ".join(f"{kind} {number:.0f}" for kind, number in count.kinds.items() if number >= 0.5)
        over = ", ".join(f"{tensor} {what} {times:.2f}" for (tensor, what), times in count.sectors.items())
        lines += [
            f"{count.kernel}: {count.programs} programs of {count.warps} warps, {count.resident} on a multiprocessor "
            f"({count.registers} registers, {count.shared_bytes} bytes of shared memory)",
            f"  instructions of a thread: {count.instructions:.0f} ({kinds})",
            f"  of a warp: {count.wavefronts:.0f} wavefronts (ideal {count.ideal_wavefronts:.0f}), "
            f"{count.shuffles:.0f} shuffles, {count.barriers:.0f} barriers",
            f"  DRAM {count.dram_bytes / 1e6:.1f} MB; bytes of sectors over bytes needed: {over}",
            f"  least microseconds: {bound}",
        ]
    return lines
