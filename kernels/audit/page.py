"""The counts as tables of docs/kernels.md, between two marker comments: `--counts --page docs/kernels.md`."""

from pathlib import Path

from nerd_fast.kernels.audit import gpus

BEGIN, END = "<!-- counts:begin -->", "<!-- counts:end -->"


def text(entries, steps):
    """Markdown of (Gpu, configuration name, Counts) entries, and of the modelled (Gpu, {batch: Step})."""
    parts = [f"```text\n{gpus.ASSUMPTIONS}\n```"]
    for gpu in dict.fromkeys(gpu for gpu, _, _ in entries):
        rows = [_row(gpu, name, count) for g, name, counts in entries if g is gpu for count in counts]
        head = (
            "kernel",
            "head",
            "programs on a multiprocessor",
            "instructions a thread",
            "shared wavefronts a warp (ideal)",
            "shuffles a warp",
            "barriers",
            "DRAM, us",
            "shared, us",
            "issue, us",
        )
        parts.append(f"**{gpu.name}**, batch 16, bounds counted:\n\n" + _table(head, rows))
    head = (
        "GPU",
        "batch",
        "forward",
        "apply backward",
        "calibrator",
        "in all",
        "calibrator's share",
        "of a copy",
        "bounded",
    )
    rows = [_step_row(gpu, batch, step) for gpu, by_batch in steps for batch, step in by_batch.items()]
    parts.append(
        "Training step of NeRDm, C 16, K 1, **modelled** microseconds, the share of a copy's bandwidth, "
        "and that share with no kernel below its bounds:\n\n"
    )
    parts[-1] += _table(head, rows)
    return "\n\n".join(parts)


def insert(path, new):
    """Puts `new` between the markers of the page. Raises ValueError where they are not there once, in order."""
    page = Path(path).read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after or END in before + after:
        raise ValueError(f"{path}: expected one {BEGIN} and one {END} after it")
    Path(path).write_text(f"{before}{BEGIN}\n\n{new}\n\n{END}{after}", encoding="utf-8")


def _row(gpu, name, count):
    least = gpus.bounds(gpu, count)
    return (
        f"`{count.kernel}`",
        name,
        count.resident,
        f"{count.instructions:,.0f}",
        f"{count.wavefronts:,.0f} ({count.ideal_wavefronts:,.0f})",
        f"{count.shuffles:,.0f}",
        f"{count.barriers:.0f}",
        f"{least['DRAM']:.1f}",
        f"{least['shared']:.1f}",
        f"{least['issue']:.1f}",
    )


def _step_row(gpu, batch, step):
    micro = [f"{1e6 * step.kernels[name]:.0f}" for name in ("apply_forward", "apply_backward", "calibrator_backward")]
    return (
        gpu.name,
        batch,
        *micro,
        f"{1e6 * step.total:.0f}",
        f"{step.calibrator_share:.0%}",
        f"{step.share:.2f}",
        f"{step.bounded_share:.2f}",
    )


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
