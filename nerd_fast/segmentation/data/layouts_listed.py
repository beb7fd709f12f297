"""Layouts with a file that lists the cases or names the channels: manifest, nnU-Net raw, MSD."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nerd_fast.segmentation.base.faults import data_error, reason_of
from nerd_fast.segmentation.data.cases import Case, DataSet, images_in, place_of, safe_name
from nerd_fast.segmentation.data.headers import stem
from nerd_fast.segmentation.data.json_file import read_json

_COLUMNS = ("case", "site", "patient", "part", "split", "label")


def is_manifest(root: Path) -> bool:
    return _manifest_file(root) is not None


def read_manifest(root: Path, channels: Sequence[str] | None, label: str | None) -> DataSet:
    """A row per case: `case`, a column per channel and, where known, `label`, `site`, `patient`, `part`, `split`.

    As CSV, every column of another name is a channel; as JSON, a list of objects (or `{"cases": [...]}`) that hold the
    channels under `channels`. Paths are relative to the manifest. `split` is train, val or test.

    Raises:
        DataError: not such a table, a case or a channel without a name or a path.
    """
    path = _manifest_file(root)
    if path is None:
        raise data_error(root, found="no manifest", expected="manifest.csv or manifest.json", remedy="write one")
    rows = _csv_rows(path) if path.suffix.lower() == ".csv" else _json_rows(path)
    sound = [_sound_row(row) for row in rows]
    known = dict.fromkeys(name for row in sound if row for name in row["channels"])
    if not all(sound) or not known:
        first = next((index for index, row in enumerate(sound) if not row), 0)
        raise data_error(
            path,
            found=f"{sound.count(None)} of {len(rows)} rows without a case or channels, the first in row {first + 1}",
            expected="names as text, a name under `case` and a file per channel in every row",
            remedy="complete the table",
        )
    channels = tuple(channels or known)
    cases, split = [], {}
    for row in sound:
        missing = [name for name in channels if not row["channels"].get(name)]
        if missing:
            raise data_error(
                path,
                found=f"no {', '.join(missing)} for case {row['case']}",
                expected=f"a file for each of {', '.join(channels)}",
                remedy="complete the row or choose other channels",
            )
        cases.append(
            Case(
                name=safe_name(row["case"]),
                channels={name: path.parent / row["channels"][name] for name in channels},
                label=path.parent / row["label"] if row["label"] else None,
                site=row["site"],
                patient=row["patient"],
                part=row["part"],
            )
        )
        if row["split"]:
            split.setdefault(row["split"], []).append(cases[-1].name)
    return DataSet(path, "manifest", tuple(cases), channels, label or "label", split_source=split or None)


def _sound_row(row: Any) -> dict[str, Any] | None:
    """The row with every column, as text or None, and the channels that have a file; None for what is no such row."""
    if not isinstance(row, Mapping) or not isinstance(row.get("channels"), Mapping):
        return None
    values = [row.get(name) for name in _COLUMNS]
    files = row["channels"].values()
    if not all(value is None or isinstance(value, (str, int)) for value in values) or not row.get("case"):
        return None
    if not files or not all(file is None or isinstance(file, str) for file in files):
        return None
    columns = {
        name: str(value) if value not in (None, "") else None for name, value in zip(_COLUMNS, values, strict=True)
    }
    return {**columns, "channels": row["channels"]}


def is_nnunet(root: Path) -> bool:
    return (root / "dataset.json").is_file() and next((root / "imagesTr").glob("*_0000.*"), None) is not None


def read_nnunet(root: Path, channels: Sequence[str] | None, label: str | None) -> DataSet:
    """`imagesTr/<case>_<channel number>.nii.gz`, `labelsTr/<case>.nii.gz`, `dataset.json`; `imagesTs`, `labelsTs` too.

    Channel names and label values are those of `dataset.json`; voxels of the label named `ignore` are ignored.
    The split is the first fold of `splits_final.json` where there is one, with `imagesTs` as the test.
    """
    names, values, ignored, _ = _described(root)
    channels = _chosen(root, "nnunet", names, channels, label)
    cases = []
    for part, images, labels in (("training", "imagesTr", "labelsTr"), ("test", "imagesTs", "labelsTs")):
        files = images_in(root / images) if (root / images).is_dir() else {}
        truths = images_in(root / labels) if (root / labels).is_dir() else {}
        for name in sorted({key.rpartition("_")[0] for key in files if key.rpartition("_")[2].isdigit()}):
            numbered = [f"{name}_{names.index(channel):04d}" for channel in channels]
            paths = [files.get(file, place_of(root / images, file)) for file in numbered]
            cases.append(Case(name, dict(zip(channels, paths, strict=True)), truths.get(name), part=part))
    split = next((root / name for name in ("split.json", "splits_final.json") if (root / name).is_file()), None)
    return DataSet(root, "nnunet", tuple(cases), channels, "label", values, ignored, split)


def is_msd(root: Path) -> bool:
    return (root / "dataset.json").is_file() and (root / "imagesTr").is_dir()


def read_msd(root: Path, channels: Sequence[str] | None, label: str | None) -> DataSet:
    """`dataset.json` with `training`: a list of `{"image": ..., "label": ...}`; several modalities share a 4-D file."""
    names, values, ignored, about = _described(root)
    channels = _chosen(root, "msd", names, channels, label)
    component = {name: number for number, name in enumerate(names)} if len(names) > 1 else {}
    cases = []
    for part in ("training", "test"):
        for image, truth in _entries(root, about.get(part, [])):
            cases.append(Case(stem(image), dict.fromkeys(channels, image), truth, part=part, component=component))
    split = root / "split.json" if (root / "split.json").is_file() else None
    return DataSet(root, "msd", tuple(cases), channels, "label", values, ignored, split)


def _entries(root: Path, entries: Any) -> list[tuple[Path, Path | None]]:
    """Image and label of each entry of a list in `dataset.json`: a path, or `{"image": path, "label": path}`."""
    found = []
    for entry in entries if isinstance(entries, list) else [entries]:
        entry = entry if isinstance(entry, Mapping) else {"image": entry}
        image, label = entry.get("image"), entry.get("label")
        if not isinstance(image, str) or not (label is None or isinstance(label, str)):
            raise data_error(
                root / "dataset.json",
                found=f"the entry {entry}",
                expected='a list of {"image": path, "label": path}',
                remedy="correct the file",
            )
        found.append((root / image, root / label if label else None))
    return found


def _described(root: Path) -> tuple[list[str], tuple[int, ...], tuple[int, ...], Mapping[str, Any]]:
    """Channel names in the order of their numbers, label values, ignored values, and all of `dataset.json`."""
    path = root / "dataset.json"
    about = _json_of(path, Mapping)
    try:
        numbered = about["channel_names"] if "channel_names" in about else about["modality"]
        names = [str(numbered[number]) for number in sorted(numbered, key=int)]
        return names, *_label_values(about["labels"]), about
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise data_error(
            path,
            found=f"no usable channel_names (or modality) and labels ({type(error).__name__}: {error})",
            expected='{"channel_names": {"0": ...}, "labels": {"background": 0, ...}}',
            remedy="correct the file",
        ) from error


def _chosen(root, layout, known, channels, label) -> tuple[str, ...]:
    known = tuple(known)
    if set(channels or known) - set(known) or label not in (None, "label"):
        raise data_error(
            root,
            found=f"channels {', '.join(channels or known)} and label {label or 'label'} asked for",
            expected=f"channels of {', '.join(known)} and the label `label`, as the layout {layout} has them",
            remedy="leave them out or choose among these",
        )
    return tuple(channels or known)


def _label_values(labels: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Values of background and classes, and of what is ignored, from `{"lesion": 1}` or the older `{"1": "lesion"}`."""
    pairs = [(name, value) if not isinstance(value, str) else (value, int(name)) for name, value in labels.items()]
    ignored = {value for name, value in pairs if name == "ignore"}
    flat = {v for _, value in pairs for v in (value if isinstance(value, list) else [value])}
    return tuple(sorted(flat - ignored)) or (0, 1), tuple(sorted(ignored))


def _manifest_file(root: Path) -> Path | None:
    if root.is_file():
        return root if root.suffix.lower() in (".csv", ".json") else None
    return next((root / name for name in ("manifest.csv", "manifest.json") if (root / name).is_file()), None)


def _csv_rows(path: Path) -> list[dict]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, restkey="", restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise data_error(
            path, found=reason_of(error), expected="a CSV table", remedy="export it again as UTF-8"
        ) from error
    return [
        {
            **{name: row.get(name) for name in _COLUMNS},
            "channels": {k: v for k, v in row.items() if k and k not in _COLUMNS},
        }
        for row in rows
    ]


def _json_rows(path: Path) -> list:
    content = _json_of(path, (list, Mapping))
    rows = content.get("cases") if isinstance(content, Mapping) else content
    if not isinstance(rows, list):
        raise data_error(
            path, found="no list of cases", expected='[...] or {"cases": [...]}', remedy="correct the file"
        )
    return rows


def _json_of(path: Path, kind: type | tuple[type, ...]) -> Any:
    content = read_json(path)
    if not isinstance(content, kind):
        raise data_error(
            path, found=f"a JSON {type(content).__name__}", expected="an object or a list", remedy="correct the file"
        )
    return content
