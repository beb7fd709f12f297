"""Data sets as people have them: the files of each case, found by the way the folder is laid out.

| layout | recognised by |
|---|---|
| `manifest` | a `.csv` or `.json` file that lists the cases, or a folder with `manifest.csv` or `manifest.json` |
| `wmh2017`, `wmh2017-orig` | `<site>/.../<id>/wmh.nii.gz` beside `pre/` and `orig/` (WMH Segmentation Challenge 2017) |
| `la2018` | `<id>/lgemri.nrrd` and `laendo.nrrd` (Atrial Segmentation Challenge 2018) |
| `nnunet` | `dataset.json` and `imagesTr/<case>_0000.nii.gz` (nnU-Net raw, version 1 or 2) |
| `msd` | `dataset.json` that lists pairs under `training` (Medical Segmentation Decathlon) |
| `bids` | `sub-<patient>/[ses-<n>/]anat/*_<channel>.nii.gz`, labels in `derivatives/` (BIDS 1.11) |
| `folder` | `<case>/<channel>.nii.gz` and `<case>/<label>.nii.gz`, or the same below a folder per site |

A reader opens no image: what is absent or damaged is for `verify` to report, all of it at once, or for the first read
to refuse. A `split.json` in the folder is the data set's split.
"""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from nerd_fast.segmentation.base.faults import absent, data_error
from nerd_fast.segmentation.data import layouts_listed, layouts_named
from nerd_fast.segmentation.data.cases import Case, DataSet

__all__ = ["LAYOUTS", "Case", "DataSet", "find_cases"]

LAYOUTS = {
    "manifest": (layouts_listed.is_manifest, layouts_listed.read_manifest),
    "wmh2017": (layouts_named.is_wmh2017, layouts_named.read_wmh2017),
    "wmh2017-orig": (lambda root: False, layouts_named.read_wmh2017_orig),
    "la2018": (layouts_named.is_la2018, layouts_named.read_la2018),
    "nnunet": (layouts_listed.is_nnunet, layouts_listed.read_nnunet),
    "msd": (layouts_listed.is_msd, layouts_listed.read_msd),
    "bids": (layouts_named.is_bids, layouts_named.read_bids),
    "folder": (layouts_named.is_folder, layouts_named.read_folder),
}
"""Per layout: does it recognise a root on its own (`auto` asks in this order), and the reader."""


def find_cases(
    root: str | os.PathLike,
    *,
    channels: Sequence[str] | None = None,
    label: str | None = None,
    layout: str = "auto",
) -> DataSet:
    """Finds the cases under `root`, a folder or a manifest file, by name.

    `layout` is a key of `LAYOUTS`, or `auto` for the first that recognises the root. Without `channels` and `label`
    the layout's own are taken; in plain folders the label is the file with a usual name (`label`, `lesion`, ...) and
    the channels are the other names that every case has. A channel that a case lacks stays listed, at the path
    where it was expected; a label that it lacks is None.

    Raises:
        DataError: no such folder, no case in it, two cases of one name, two files for one channel, unknown channels.
        ValueError: an unknown layout.
    """
    root = Path(root)
    if layout != "auto" and layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}; expected auto, {', '.join(LAYOUTS)}")
    if not root.exists():
        raise data_error(
            root, found=absent(root, "no such folder or file"), expected="a data set", remedy="check the path"
        )
    if layout == "auto":
        layout = next((name for name, (recognises, _) in LAYOUTS.items() if recognises(root)), None)
    try:
        dataset = LAYOUTS[layout][1](root, channels, label) if layout else None
    except OSError as error:
        raise data_error(root, found=str(error), expected="a folder to read", remedy="check its permissions") from error
    if dataset is None or not dataset.cases:
        raise data_error(
            root,
            found="no case" + (f" (read as the layout {layout})" if layout else ""),
            expected=f"a folder per case with {' and '.join(channels or ['its images'])} (.nii.gz, .nii, .nrrd), or "
            f"one of the layouts {', '.join(LAYOUTS)}",
            remedy="check the folder and the names of the channels",
        )
    _check_once(dataset)
    return dataset


def _check_once(dataset: DataSet) -> None:
    """Raises DataError where a name or an image stands for two: cases, channels, a channel and the label."""
    for what, names, remedy in (
        ("cases", dataset.names, "rename one"),
        ("channels", dataset.channels, "name each of them once"),
    ):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise data_error(
                dataset.root,
                found=f"{what} of the same name: {', '.join(twice)}",
                expected="one of each",
                remedy=remedy,
            )
    for case in dataset.cases:
        roles: dict[tuple[Path, int | None], list[str]] = {}
        for role, path in case.channels.items():
            roles.setdefault((path, case.component.get(role)), []).append(role)
        if case.label is not None:
            roles.setdefault((case.label, None), []).append("the label")
        for (path, _), taken in roles.items():
            if len(taken) > 1:
                raise data_error(
                    path,
                    found=f"one image for {' and for '.join(taken)} of {case.name}",
                    expected="an image of its own for each channel and for the label",
                    remedy="correct the names of channels and label",
                )
