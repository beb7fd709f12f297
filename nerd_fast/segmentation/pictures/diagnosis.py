"""How the features before the classifier depend on where they are (paper, Fig. 2).

In the folder of the results: `shift.json` and `shift.md` (the numbers of `shift`, per run), `profile.png` (mean and
spread against the distance to the border), `border.png` (what a nearer border changes), `positions_<run>.png` (mean and
spread over the image) and, for NeRD heads, `calibration_<run>.png` (1/sigma(v), -mu/sigma(v), w(v)).
"""

import json
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import torch

import nerd_fast
from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.base.files import check_folder, check_outputs, whole_file
from nerd_fast.segmentation.base.tables import Table
from nerd_fast.segmentation.network.compared import cases_of_run, load_networks, names_of_runs
from nerd_fast.segmentation.network.controls import BlindNeRDm
from nerd_fast.segmentation.pictures.figures import calibration_figure
from nerd_fast.segmentation.pictures.shift import PositionMoments, border_effect, ordinary_variance, profile
from nerd_fast.segmentation.pictures.shift_figures import border_figure, profile_figure
from nerd_fast.segmentation.runs.loading import prepare

NUMBERS, TEXT, PROFILE, BORDER = "shift.json", "shift.md", "profile.png", "border.png"
IMAGES, FEATURES, CALIBRATED = "images", "features", "calibrated features"


@dataclass
class Diagnosis:
    """What was found of one run: moments of images, features and (NeRDm) calibrated features, and the border effect.

    `border` is the root mean square difference at each distance from a border that came nearer, in units of the
    ordinary spread of the features there, NaN where they never vary; None where it was not asked for.
    """

    moments: dict[str, PositionMoments] = field(default_factory=dict)
    border: np.ndarray | None = None

    def shifts(self):
        """{kind: mean over the channels of the share of variance that position explains}."""
        return {kind: float(np.nanmean(moments.shift())) for kind, moments in self.moments.items()}


def diagnose_runs(options) -> tuple[dict[str, Diagnosis], Table, Path]:
    """Diagnose every run on the same cases, as the `DiagnoseOptions` say, and write numbers and figures.

    Returns {run: `Diagnosis`}, the table of the shifts and the folder of the files.
    Raises UsageError for no run, for fewer than two cases, and for a margin that leaves no image.
    """
    runs = names_of_runs(options.run)
    networks, data = load_networks(runs, checkpoint=options.checkpoint, accelerator=options.accelerator)
    folder = Path(options.out or Path(options.run[0]) / "diagnosis")
    _check_folder(folder, runs)
    _check_margin(options.margin, data.size)
    subset = options.subset or ("test" if len(data.split["test"]) > 1 else "all")
    names = chain(*data.split.values()) if subset == "all" else data.split[subset]
    cases = cases_of_run(options.data, options.layout, data, list(names))
    if len(cases) < 2:
        raise UsageError(
            f"--subset {subset}: {len(cases)} cases; the shift is cross-validated over 2 or more. Choose --subset all"
        )
    found = {name: diagnose(network, cases, data, options) for name, network in networks.items()}
    table = shift_table(found, len(cases))
    _write(folder, found, networks, data, table)
    return found, table, folder


def _check_folder(folder, runs):
    """Raise UsageError unless the results can be written there, in place of nothing or of an earlier diagnosis."""
    check_folder(folder)
    names = [NUMBERS, TEXT, PROFILE, BORDER]
    names += [f"{kind}_{name}.png" for kind in ("positions", "calibration") for name in runs]
    # Numbers are written first: what lies beside those of an earlier diagnosis is of it.
    check_outputs([folder / name for name in names], lambda path: are_numbers(folder / NUMBERS), "a diagnosis")


def are_numbers(path):
    """Whether a file holds the numbers of a diagnosis."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    runs = list(content.values()) if isinstance(content, dict) else []
    return bool(runs) and all(isinstance(run, dict) and "shift_per_channel" in run for run in runs)


def diagnose(network, cases, data, options):
    """The `Diagnosis` of a network over the cases; two passes, the first of which gives the unit of the second."""
    found = Diagnosis({kind: PositionMoments() for kind in _kinds(network)})
    for number, case in enumerate(cases):
        for images, features in _features(network, prepare(case, data, labelled=False).images, options.batch_size):
            values = {IMAGES: images, FEATURES: features, CALIBRATED: calibrated(network.final_conv, features)}
            for kind, moments in found.moments.items():
                moments.add(values[kind].numpy(force=True), number)
    if options.margin:
        found.border = _border(network, cases, data, options, found.moments[FEATURES])
    return found


def _border(network, cases, data, options, moments):
    margin, squares = options.margin, 0
    varies = moments.varies()
    deviation = np.where(varies, moments.deviation(), 1)[:, None, None]
    for case in cases:
        images = prepare(case, data, labelled=False).images
        inner = images[..., margin:-margin, margin:-margin]
        passes = (_features(network, part, options.batch_size) for part in (inner, images))
        for (_, near), (_, far) in zip(*passes, strict=True):
            near, far = ((each.numpy(force=True) / deviation)[:, varies] for each in (near, far))
            squares = squares + border_effect(near, far, margin)
    variance = ordinary_variance(moments, margin)
    return np.sqrt(np.divide(squares, variance, where=variance > 0, out=np.full(len(variance), np.nan)))


@torch.inference_mode()
def calibrated(head, features):
    """What NeRDm classifies: `x a(v) + b(v)` for features (B, C, H, W) (eq. 5); other heads leave x as it is."""
    if not isinstance(head, nerd_fast.NeRDm):
        return features
    scale, shift = head.calibration(tuple(features.shape[-2:])).chunk(2)
    return features * scale + shift


def _kinds(network):
    kinds = [IMAGES, FEATURES]
    return [*kinds, CALIBRATED] if isinstance(network.final_conv, nerd_fast.NeRDm) else kinds


def _features(network, images, batch_size):
    """Yields (images, features before the last layer) for batches of slices, both (B, C, H, W) on the device."""
    device = next(network.parameters()).device
    for start in range(0, len(images), batch_size):
        batch = torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size])).to(device)
        yield batch, _last_features(network, batch)


@torch.inference_mode()  # of one call: a generator would keep the mode for whoever runs between its steps
def _last_features(network, batch):
    caught = []
    hook = network.final_conv.register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0]))
    try:
        network(batch.contiguous(memory_format=torch.channels_last))
    finally:
        hook.remove()
    return caught.pop()


def calibration_maps(head, size):
    """{name: (n, H, W)} of a NeRD head over an image: 1/sigma(v) and -mu/sigma(v) of NeRDm, and w(v); else {}."""
    if not isinstance(head, (nerd_fast.NeRDm, nerd_fast.NeRDc)) or isinstance(head, BlindNeRDm):
        return {}  # of a blind head every map is one colour
    with torch.inference_mode():
        maps = {"w(v)": head.position_map(size)[0].flatten(0, 1)}
        if isinstance(head, nerd_fast.NeRDm):
            scale, shift = head.calibration(size).chunk(2)
            maps = {"1/sigma(v)": scale, "-mu/sigma(v)": shift, **maps}
    return {name: values.numpy(force=True) for name, values in maps.items()}


def shift_table(found, cases):
    """The `Table` of the shifts: {run: `Diagnosis`}, a row per run."""
    rows = []
    for name, diagnosis in found.items():
        shifts = diagnosis.shifts()
        cells = [f"{shifts[kind]:.1%}" if kind in shifts else "" for kind in (IMAGES, FEATURES, CALIBRATED)]
        ends = ("", "") if diagnosis.border is None else (f"{diagnosis.border[end]:.2f}" for end in (0, -1))
        rows.append((name, *cells, *ends))
    headings = ("Run", IMAGES.capitalize(), FEATURES.capitalize(), CALIBRATED.capitalize())
    notes = (
        f"Share of variance that position explains, cross-validated over {cases} cases, mean over channels.",
        "Border effect: RMS change of the features when the image is cropped, as a multiple of their ordinary spread "
        "at the same places: at the new border, and farthest from it.",
    )
    return Table("Shift of the features", (*headings, "Border effect", "Farthest from it"), tuple(rows), notes)


def _write(folder, found, networks, data, table):
    size = tuple(data.size)
    with whole_file(folder / NUMBERS) as temporary:
        temporary.write_text(json.dumps(_numbers(found), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with whole_file(folder / TEXT) as temporary:
        temporary.write_text(table.to_markdown(), encoding="utf-8")
    profiles = {
        f"{name}: {kind}": profile(moments)
        for name, diagnosis in found.items()
        for kind, moments in diagnosis.moments.items()
        if kind != IMAGES
    }
    profile_figure(folder / PROFILE, profiles, title="Features against the distance to the border")
    borders = {name: diagnosis.border for name, diagnosis in found.items() if diagnosis.border is not None}
    if borders:
        border_figure(folder / BORDER, borders, title="What changes when the border comes nearer")
    for name, diagnosis in found.items():
        maps = {}
        for kind, moments in diagnosis.moments.items():
            if kind != IMAGES:
                deviation = np.where(moments.varies(), moments.deviation(), 1)[:, None, None]
                maps[f"mean of\n{kind}"] = moments.mean() / deviation
                maps[f"spread of\n{kind}"] = moments.spread() / deviation
        calibration_figure(folder / f"positions_{name}.png", maps, title=f"{name}, in standard deviations")
        if calibration := calibration_maps(networks[name].final_conv, size):
            calibration_figure(folder / f"calibration_{name}.png", calibration, title=name)


def _numbers(found):
    return {
        name: {
            "shift": diagnosis.shifts(),
            "shift_per_channel": {kind: _to_json(moments.shift()) for kind, moments in diagnosis.moments.items()},
            "border_effect": None if diagnosis.border is None else _to_json(diagnosis.border),
        }
        for name, diagnosis in found.items()
    }


def _to_json(values):
    return [None if np.isnan(value) else float(value) for value in values]


def _check_margin(margin, size):
    # A multiple of 16 keeps the pixels where they are in the grids of the four poolings.
    if margin < 0 or margin % 16 or min(size) - 2 * margin < 16:
        raise UsageError(
            f"--margin: expected a multiple of 16 that leaves 16 pixels of {size[0]}x{size[1]}, or 0; found {margin}"
        )
