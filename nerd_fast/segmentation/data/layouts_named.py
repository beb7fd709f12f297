"""Layouts in which the names of folders and files say it all: plain folders, WMH 2017, LA 2018, BIDS."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from nerd_fast.segmentation.base.faults import data_error
from nerd_fast.segmentation.data.cases import Case, DataSet, images_in, place_of, safe_name
from nerd_fast.segmentation.data.headers import stem, suffix

LABEL_NAMES = ("label", "lesion", "lesions", "mask", "seg", "segmentation", "wmh", "laendo", "annotation")
"""File names that are taken for the label of a case in a plain folder where none is asked for."""

_PARTS = {"training": "training", "training set": "training", "test": "test", "testing set": "test"}
_BIDS_NAME = re.compile(r"(sub-[^_]+)(?:_(ses-[^_]+))?(?:_(.+))?_([^_]+)")


def is_folder(root: Path) -> bool:
    return root.is_dir()


def read_folder(root: Path, channels: Sequence[str] | None, label: str | None) -> DataSet:
    """`<case>/<channel>.nii.gz`, at any depth; the folders above a case are its site. `root` may itself be a case."""
    found = {Path(folder): images for folder in _folders(root) if (images := images_in(folder))}
    if len(found) > 1:
        found.pop(root, None)
    names = [name for images in found.values() for name in images]
    if channels is not None:
        found = {folder: images for folder, images in found.items() if set(images) & set(channels)}
        if names and not found:
            raise data_error(
                root,
                found=f"images called {', '.join(sorted(set(names)))}",
                expected=f"the channels {', '.join(channels)} in the folder of each case",
                remedy="name other channels, or check the folder",
            )
        names = [name for images in found.values() for name in images]
    if label is None:
        label = _usual_label(root, set(names) - set(channels or ()))
    if channels is None:
        channels = [name for name in dict.fromkeys(names) if name != label and names.count(name) == len(found)]
    if found and not channels:
        raise data_error(
            root,
            found=f"no image that each of the {len(found)} cases has; names are {', '.join(sorted(set(names)))}",
            expected="the same channels in every case",
            remedy="name the channels",
        )
    cases = []
    for folder, images in found.items():
        parts = folder.relative_to(root).parts or (root.resolve().name,)
        cases.append(
            Case(
                name=safe_name(*parts),
                channels={name: images.get(name, place_of(folder, name)) for name in channels},
                label=images.get(label),
                site=safe_name(*parts[:-1]) or None,
            )
        )
    return DataSet(root, "folder", tuple(cases), tuple(channels), label, split_source=_split_file(root))


def is_wmh2017(root: Path) -> bool:
    return any((path.parent / "pre").is_dir() or (path.parent / "orig").is_dir() for path in _wmh_labels(root))


def read_wmh2017(root: Path, channels: Sequence[str] | None, label: str | None, *, variant: str = "pre") -> DataSet:
    """`{training,test}/<site>/[<scanner>/]<id>/{orig,pre}/{FLAIR,T1}.nii.gz` and `<id>/wmh.nii.gz`, or parts of it.

    `pre` holds the bias-corrected images that the challenge provided, `orig` the raw ones. Label 2, other pathology,
    is ignored as in the challenge: neither missed nor wrong (wmh.isi.uu.nl, evaluation).
    """
    channels = tuple(channels or ("FLAIR", "T1"))
    cases = []
    for path in _wmh_labels(root):
        *above, _ = parts = path.parent.relative_to(root).parts
        part = next((_PARTS[name] for name in parts if name in _PARTS), None)
        images = images_in(path.parent / variant) if (path.parent / variant).is_dir() else {}
        cases.append(
            Case(
                name=safe_name(*(name for name in parts if name != "training")),
                channels={name: images.get(name, place_of(path.parent / variant, name)) for name in channels},
                label=path,
                site=safe_name(*(name for name in above if name not in _PARTS)) or None,
                part=part,
            )
        )
    layout = "wmh2017" if variant == "pre" else f"wmh2017-{variant}"
    return DataSet(root, layout, tuple(cases), channels, "wmh", (0, 1), (2,), _split_file(root))


def read_wmh2017_orig(root: Path, channels: Sequence[str] | None, label: str | None) -> DataSet:
    return read_wmh2017(root, channels, label, variant="orig")


def is_la2018(root: Path) -> bool:
    return next(_files_named(root, "lgemri.nrrd"), None) is not None


def read_la2018(root: Path, channels: Sequence[str] | None, label: str | None) -> DataSet:
    """`{Training Set,Testing Set}/<id>/lgemri.nrrd` and `laendo.nrrd`, in which the atrium is 255."""
    cases = []
    for path in _files_named(root, "lgemri.nrrd"):
        parts = path.parent.relative_to(root).parts or (root.resolve().name,)
        truth = path.with_name("laendo.nrrd")
        cases.append(
            Case(
                name=safe_name(parts[-1]),
                channels={"lgemri": path},
                label=truth if truth.exists() else None,
                part=next((_PARTS[name.lower()] for name in parts if name.lower() in _PARTS), None),
            )
        )
    _check_fixed(root, "la2018", channels, ("lgemri",), label, "laendo")
    return DataSet(root, "la2018", tuple(cases), ("lgemri",), "laendo", (0, 255), (), _split_file(root))


def is_bids(root: Path) -> bool:
    return next(root.glob("sub-*/**/anat"), None) is not None


def read_bids(root: Path, channels: Sequence[str] | None, label: str | None) -> DataSet:
    """`sub-<x>/[ses-<y>/]anat/sub-<x>[_ses-<y>]_<channel>.nii.gz`; a channel `T1` is found as `T1w` too.

    Labels lie under `derivatives/` as `..._label-<label>_mask` or `..._dseg`; `label` is the value of that entity, or
    `dseg`. Of several runs or acquisitions of one channel none is preferred: list the files in a manifest.
    """
    scans: dict[str, dict[str, Path]] = {}
    for path in sorted(root.glob("sub-*/**/anat/*")):
        _bids_file(path, scans)
    labels: dict[str, dict[str, Path]] = {}
    for path in sorted((root / "derivatives").glob("**/sub-*")):
        _bids_file(path, labels, of_labels=True)
    kinds = sorted({kind for found in labels.values() for kind in found})
    if label is None and len(kinds) > 1:
        raise data_error(
            root, found=f"labels {', '.join(kinds)}", expected="the name of one", remedy="choose the label by its name"
        )
    label = label or next(iter(kinds), None)
    if channels is None:
        names = [name for images in scans.values() for name in images]
        channels = [name for name in dict.fromkeys(names) if names.count(name) == len(scans)]
    cases = []
    for name, images in scans.items():
        patient = name.split("_")[0]
        folder = root / name.replace("_", "/") / "anat"
        cases.append(
            Case(
                name=safe_name(name),
                channels={
                    wanted: images.get(wanted, images.get(f"{wanted}w", place_of(folder, f"{name}_{wanted}")))
                    for wanted in channels
                },
                label=labels.get(name, {}).get(label),
                patient=patient,
            )
        )
    return DataSet(root, "bids", tuple(cases), tuple(channels), label, split_source=_split_file(root))


def _bids_file(path: Path, found: dict[str, dict[str, Path]], of_labels: bool = False) -> None:
    match = _BIDS_NAME.fullmatch(stem(path))
    if not match or not suffix(path):
        return
    patient, session, entities, kind = match.groups()
    if of_labels:
        named = re.search(r"(?:^|_)label-([^_]+)", entities or "")
        if kind not in ("mask", "dseg") or (kind == "mask" and not named):
            return
        kind = named[1] if named else kind
    scan = f"{patient}_{session}" if session else patient
    other = found.setdefault(scan, {}).setdefault(kind, path)
    if other != path:
        raise data_error(
            path,
            found=f"a second {kind} of {scan}, beside {other.name}",
            expected="one",
            remedy="list the files to use in a manifest",
        )


def _check_fixed(root, layout, channels, known, label, known_label) -> None:
    if set(channels or known) - set(known) or label not in (None, known_label):
        raise data_error(
            root,
            found=f"channels {', '.join(channels or known)} and label {label} asked for",
            expected=f"channels of {', '.join(known)} and the label {known_label}, which the layout {layout} has",
            remedy="leave them out or choose among these",
        )


def _usual_label(root: Path, names: set[str]) -> str | None:
    usual = sorted(name for name in names if name.lower() in LABEL_NAMES)
    if len(usual) > 1:
        raise data_error(
            root,
            found=f"images that may all be the label: {', '.join(usual)}",
            expected="the name of one",
            remedy="name the label and the channels",
        )
    return usual[0] if usual else None


def _split_file(root: Path) -> Path | None:
    path = root / "split.json"
    return path if path.is_file() else None


def _folders(root: Path) -> list[str]:
    found = []
    for folder, below, _ in os.walk(root, followlinks=True):
        if Path(folder).parent.resolve().is_relative_to(Path(folder).resolve()):  # a link back up would never end
            below.clear()
            continue
        below[:] = sorted(name for name in below if not name.startswith("."))
        found.append(folder)
    return found


def _files_named(root: Path, name: str):
    return (Path(folder) / name for folder in _folders(root) if (Path(folder) / name).is_file())


def _wmh_labels(root: Path) -> list[Path]:
    found = _files_named(root, "wmh.nii.gz")
    return [path for path in found if "additional_annotations" not in path.relative_to(root).parts]
