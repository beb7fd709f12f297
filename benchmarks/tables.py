"""The closing tables of a run, as plain text."""

from benchmarks import device, workloads

COLUMNS = (
    ("inference", 9), ("forward", 9), ("backward", 9), ("training", 9), ("20-80 %", 8), ("±", 7), ("host", 7),
    ("GB/s", 7), ("copy", 6), ("MiB", 9), ("t/conv", 7), ("t/fused", 8), ("m/conv", 7), ("parity", 8),
)  # fmt: skip


def text(results):
    """All tables of a run."""
    info = results["device"]
    versions = f"torch {info['torch']}, triton {info['triton']}, commit {info['commit']}"
    if info["driver"]:
        versions = f"driver {info['driver']}, CUDA {info['cuda']}, {versions}"
    parts = [
        f"{device.title(info)}; {versions}; copy {results['copy_gbps']} GB/s",
        "Times in ms, medians; 20-80 %: spread of training over its median; ±: half the 95 % confidence interval of\n"
        "that median over it; host: host time of a training call (CUDA); GB/s: necessary bytes of training over its\n"
        "time; copy: share of the copy bandwidth; MiB: peak of training above the inputs; t/conv, t/fused, m/conv:\n"
        "time and memory over those of conv1x1 and of fused; parity: largest relative error against the float64\n"
        "oracle. For frozen, inference stands for training.",
    ]
    parts += [_workload_table(rows) for rows in _grouped(results["heads"], "workload")]
    sections = (("steps", _steps), ("limits", _limits), ("scaling", _scaling), ("cold_start", _cold_start))
    parts += [table(results[name]) for name, table in sections if results[name]]
    return "\n\n".join(parts)


def _workload_table(rows):
    first = rows[0]
    known = workloads.WORKLOADS.get(first["workload"])
    size = "x".join(map(str, first["spatial"]))
    lines = [
        f"{first['workload']}: B {first['batch']}, C {first['channels']}, K {first['labels']}, {size}"
        + (f" ({known.meaning})" if known else "")
        + (f"; cut to fit a CPU: {first['cut']}" if first["cut"] else "")
    ]
    lines.append(f"{'':18}" + "".join(f"{name:>{width}}" for name, width in COLUMNS))
    for section in _grouped(rows, "dtype", "layout", "hidden"):
        hidden = "x".join(map(str, section[0]["hidden"]))
        lines.append(f" {section[0]['dtype']}, {section[0]['layout']}, hidden {hidden}")
        lines += [_line(row, section) for row in section]
    return "\n".join(lines)


def _line(row, section):
    label = f"  {row['peer']:16}"
    if row["error"]:
        return f"{label}{row['error']}"
    errors = {name: value for name, value in row["parity"].items() if name != "passed"}
    if not row["parity"]["passed"]:
        told = ", ".join(f"{name} {value:.1e}" for name, value in errors.items())
        return f"{label}fails the parity gate, no figures: {told}"
    cells = _cells(row, {other["peer"]: other for other in section}) | {"parity": f"{max(errors.values()):.0e}"}
    return label + "".join(f"{cells.get(name, ''):>{width}}" for name, width in COLUMNS)


def _cells(row, peers):
    cells = {mode: _milliseconds(figures["median_ms"]) for mode, figures in row["modes"].items()}
    mode = "training" if "training" in row["modes"] else "inference"
    figures = row["modes"][mode]
    cells["20-80 %"], cells["±"] = _spread(figures)
    cells["host"] = "" if figures["host_ms"] is None else _milliseconds(figures["host_ms"])
    cells |= {"GB/s": f"{figures['gbps']:.1f}", "copy": f"{figures['share']:.0%}"}
    cells["MiB"] = f"{row['memory_mib'][mode]:.1f}"
    for peer, column in (("conv1x1", "t/conv"), ("fused", "t/fused")):
        cells[column] = ratio(row, peers.get(peer), mode, "time")
    cells["m/conv"] = ratio(row, peers.get("conv1x1"), mode, "memory")
    return cells


def _spread(figures):
    """The distance of the 20 and 80 % quantiles, and the uncertainty of the median, both over the median."""
    return f"{(figures['q80_ms'] - figures['q20_ms']) / figures['median_ms']:.0%}", f"{figures['uncertainty']:.1%}"


def ratio(row, other, mode, of):
    """Row over other in time or memory of a mode, as text; empty where one of them has none."""
    values = []
    for each in (row, other):
        if each is None or mode not in each["modes"]:
            return ""
        values.append(each["modes"][mode]["median_ms"] if of == "time" else each["memory_mib"][mode])
    return f"{values[0] / values[1]:.2f}" if values[1] else ""


def _steps(rows):
    """The U-Net steps; the head's share is its own forward and backward over the step."""
    first = rows[0]
    lines = [
        f"Training step of the U-Net (filters 16 to 256, forward, loss, backward, Adam), {first['workload']}, "
        f"batch {first['batch']}" + (f"; cut to fit a CPU: {first['cut']}" if first["cut"] else ""),
        f"{'':32}{'ms':>10}{'20-80 %':>9}{'±':>7}{'images/s':>10}{'MiB':>10}{'head share':>12}"
        f"{'t/conv':>8}{'m/conv':>8}",
    ]
    for row in rows:
        name = row["head"] + (", whole step compiled" if row["whole_compiled"] else "")
        if not row["parity"]["passed"]:
            lines.append(f"  {name:30}first loss off by {row['parity']['first_loss']:.1e}, no figures")
            continue
        spread, uncertainty = _spread(row)
        share = "" if row["head_share"] is None else f"{row['head_share']:.1%}"
        floor = next((r for r in rows if (r["head"], r["whole_compiled"]) == ("conv1x1", row["whole_compiled"])), None)
        ratios = [
            f"{row[key] / floor[key]:8.3f}" if floor and floor[key] else "" for key in ("median_ms", "memory_mib")
        ]
        lines.append(
            f"  {name:30}{row['median_ms']:10.1f}{spread:>9}{uncertainty:>7}{row['images_per_s']:10.1f}"
            f"{row['memory_mib']:10.1f}{share:>12}{''.join(ratios)}"
        )
    return "\n".join(lines)


def _limits(rows):
    told = [f"  {row['cap_gib']} GiB, {row['head']}: {row['largest_batch']}" for row in rows]
    return "\n".join(["Largest batch of the U-Net's training step under a memory cap, wmh images", *told])


def _scaling(rows):
    """Training time and memory of each peer along each axis."""
    lines = []
    for along in _grouped(rows, "axis"):
        names = list(dict.fromkeys(row["peer"] for row in along))
        lines.append(f"Training against the {axis_title(along[0])}: ms and MiB, float32, contiguous, hidden 32x32")
        lines.append(f"{'':12}" + "".join(f"{name:>22}" for name in names))
        for point in _grouped(along, "batch", "spatial"):
            at = point[0]["batch"] if along[0]["axis"] == "batch" else "x".join(map(str, point[0]["spatial"]))
            cells = [
                f"{_milliseconds(row['modes']['training']['median_ms']):>11} {row['memory_mib']['training']:>10.1f}"
                if row["modes"]
                else f"{row['error'] or 'fails parity':>22}"
                for row in point
            ]
            lines.append(f"  {at!s:10}" + "".join(cells))
    return "\n".join(lines)


def axis_title(row):
    """The axis of a scaling row, with the size that stays the same along it."""
    size = "x".join(map(str, row["spatial"]))
    return {"batch": f"batch ({size} positions)", "positions": f"positions (batch {row['batch']})"}[row["axis"]]


def _cold_start(rows):
    told = [
        f"  Triton cache {row['cache']}: {row['seconds']:.2f} s, {row['import_seconds']:.2f} s of it import of Triton"
        for row in rows
    ]
    return "\n".join(["First forward and backward of a fresh process, wmh", *told])


def _grouped(rows, *keys):
    groups = {}
    for row in rows:
        groups.setdefault(str([row[key] for key in keys]), []).append(row)
    return list(groups.values())


def _milliseconds(value):
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"
