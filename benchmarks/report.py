"""The README's table and plots from the files in benchmarks/results/: `python -m benchmarks.report`.

The newest file of each device is told, between the two marker comments of README.md; plots stand beside the files.
"""

import argparse
import os
import sys
from pathlib import Path

from benchmarks import device, plots, results
from benchmarks.peers import PEERS
from benchmarks.workloads import HIDDEN

BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
RESULTS = device.ROOT / "benchmarks" / "results"
README = device.ROOT / "README.md"
CUT_MARK = "†"
# Devices that the README answers for; one without a file reads "not measured yet".
EXPECTED = ("NVIDIA H200", "NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 2080 Ti")


def newest(folder):
    """[(path, results)] of the newest file of each device in a folder, GPUs first."""
    files = [(path, results.read(path)) for path in sorted(Path(folder).glob("*.json"))]
    by_device = {}
    for path, found in sorted(files, key=lambda file: file[1]["device"]["date"]):
        by_device[device.title(found["device"])] = (path, found)
    return sorted(by_device.values(), key=lambda file: (file[1]["device"]["type"] != "cuda", str(file[0])))


def section(measured, readme_folder):
    """The text between the markers, of [(path, results)], with the plots drawn beside each file."""
    parts = [_devices(measured)]
    for path, found in measured:
        parts.append(f"### {device.title(found['device'])}\n\n{_provenance(found)}")
        parts.append(_training_table(found["heads"]))
        if found["steps"]:
            parts.append(_step_table(found["steps"]))
        if found["limits"]:
            parts.append(_limit_table(found["limits"]))
        for plot in plots.draw(path, found):
            where = Path(os.path.relpath(plot, readme_folder)).as_posix()
            parts.append(f"![{plot.stem}]({where})")
    return "\n\n".join(parts)


def insert(readme, text):
    """The README with `text` between its markers. Raises ValueError where they are not there once, in order."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1 or readme.index(BEGIN) > readme.index(END):
        raise ValueError(f"README.md: expected one {BEGIN} and one {END} after it")
    before, _, rest = readme.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}"


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results files")
    parser.add_argument("--readme", type=Path, default=README, help="file with the two markers")
    options = parser.parse_args(arguments)
    try:
        readme = options.readme.read_text(encoding="utf-8")
        insert(readme, "")
        text = section(newest(options.results), options.readme.resolve().parent)
        options.readme.write_text(insert(readme, text), encoding="utf-8")
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.readme}: written")
    return 0


def _devices(measured):
    lines = ["| device | measured | training on `wmh`, fused / conv1x1 |", "|---|---|---|"]
    found = {device.title(results["device"]): results for _, results in measured}
    for name in [*found, *(name for name in EXPECTED if name not in found)]:
        date = found[name]["device"]["date"] if name in found else "not measured yet"
        rows = _plain(found[name]["heads"], "wmh") if name in found else {}
        lines.append(f"| {name} | {date} | {_over(rows, 'fused', 'conv1x1')} |")
    return "\n".join(lines)


def _provenance(found):
    info = found["device"]
    told = [f"torch {info['torch']}", f"triton {info['triton']}", f"commit {info['commit']}", info["date"]]
    if info["driver"]:
        told = [f"driver {info['driver']}", f"CUDA {info['cuda']}", *told]
    return f"{', '.join(told)}; copy bandwidth {found['copy_gbps']} GB/s."


def _training_table(rows):
    names = [name for name in PEERS if name != "frozen"]
    lines = [
        "Training (forward and backward) of one head, median ms; float32, contiguous, hidden (32, 32); "
        "peak memory above the inputs.",
        "",
        f"| workload | {' | '.join(names)} | fused / conv1x1 | fused / compiled-folded | memory, fused / conv1x1 |",
        f"|---|{'---:|' * (len(names) + 3)}",
    ]
    cuts = {}
    for workload in dict.fromkeys(row["workload"] for row in rows):
        peers = _plain(rows, workload)
        if not peers:
            continue
        cut = next(iter(peers.values()))["cut"]
        cuts |= {workload: cut} if cut else {}
        cells = [_time(peers.get(name)) for name in names]
        cells += [_over(peers, "fused", "conv1x1"), _over(peers, "fused", "compiled-folded"), _memory_over(peers)]
        name = workload + CUT_MARK if cut else workload
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if cuts:
        lines += ["", f"{CUT_MARK} cut to fit a CPU: " + "; ".join(f"{name} {cut}" for name, cut in cuts.items())]
    return "\n".join(lines)


def _step_table(rows):
    lines = [
        f"Training step of the U-Net (filters 16 to 256), batch {rows[0]['batch']}"
        + (f" (cut: {rows[0]['cut']})" if rows[0]["cut"] else ""),
        "",
        "| head | ms | images/s | peak memory, MiB | head's share of the step |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        name = row["head"] + (", whole step compiled" if row["whole_compiled"] else "")
        if row["median_ms"] is None:
            lines.append(f"| {name} | fails parity | | | |")
            continue
        share = "" if row["head_share"] is None else f"{row['head_share']:.1%}"
        lines.append(
            f"| {name} | {row['median_ms']:.1f} | {row['images_per_s']:.1f} | {row['memory_mib']:.0f} | {share} |"
        )
    return "\n".join(lines)


def _limit_table(rows):
    caps = sorted({row["cap_gib"] for row in rows})
    batches = {(row["head"], row["cap_gib"]): row["largest_batch"] for row in rows}
    lines = [
        "Largest batch of that step under a memory cap",
        "",
        f"| head | {' | '.join(f'{cap} GiB' for cap in caps)} |",
        f"|---|{'---:|' * len(caps)}",
    ]
    for head in dict.fromkeys(row["head"] for row in rows):
        lines.append(f"| {head} | {' | '.join(str(batches.get((head, cap), '')) for cap in caps)} |")
    return "\n".join(lines)


def _plain(rows, workload):
    """{peer: row} of a workload's plain case."""
    key = ("float32", "contiguous", list(HIDDEN))
    return {
        row["peer"]: row
        for row in rows
        if row["workload"] == workload and (row["dtype"], row["layout"], row["hidden"]) == key
    }


def _time(row):
    """Milliseconds of training to three digits, or why there are none."""
    if row is None:
        return ""
    if not row["modes"]:
        return row["error"] or "fails parity"
    median = row["modes"]["training"]["median_ms"]
    return f"{median:.0f}" if median >= 1000 else f"{median:.3g}"


def _over(peers, one, other):
    values = [peers[name]["modes"].get("training") if name in peers else None for name in (one, other)]
    return f"{values[0]['median_ms'] / values[1]['median_ms']:.2f}" if all(values) else ""


def _memory_over(peers):
    values = [peers[name]["memory_mib"] if name in peers else None for name in ("fused", "conv1x1")]
    return f"{values[0]['training'] / values[1]['training']:.2f}" if all(values) else ""


if __name__ == "__main__":
    sys.exit(main())
