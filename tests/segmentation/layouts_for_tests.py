"""Small data sets in the layouts of others, and all of their cases read."""

import json

import numpy as np

from nerd_fast.segmentation.data.prepared import prepare_case
from tests.segmentation.images import ramp, write_case, write_nifti


def prepare_all(dataset, size=(16, 16)):
    """Every case, read and cut: proof that the files found are the ones to read."""
    return [
        prepare_case(
            case,
            channels=dataset.channels,
            label=dataset.label if case.label else None,
            size=size,
            axis=2,
            label_values=dataset.label_values,
            ignore_values=dataset.ignore_values,
        )
        for case in dataset.cases
    ]


def wmh_fake(root):
    places = [
        ("training/Utrecht/0", 0),
        ("training/Utrecht/2", 2),
        ("training/Singapore/50", 0),
        ("training/Amsterdam/GE3T/100", 0),
        ("test/Amsterdam/Philips_VU .PETMR_01./155", 0),
    ]
    for seed, (place, other) in enumerate(places):
        for variant in ("pre", "orig"):
            write_case(root / place / variant, channels=("FLAIR", "T1", "3DT1"), label=None, seed=seed)
        label = np.zeros((6, 5, 4), dtype=np.float32)
        label[1, 1, 1] = 1
        label[2, 2, 2] = other
        write_nifti(root / place / "wmh.nii.gz", label)
    write_nifti(root / "training/Amsterdam/GE3T/100/orig/FLAIR_mask.nii.gz")
    write_nifti(root / "additional_annotations/observer_o3/training/Utrecht/0/wmh.nii.gz")
    return root


def nnunet_fake(root, *, split=True):
    for name, images, label in (("a", "imagesTr", "labelsTr"), ("b", "imagesTr", "labelsTr"), ("c", "imagesTs", None)):
        for number in range(2):
            write_nifti(root / images / f"{name}_{number:04d}.nii.gz", ramp() + number)
        if label:
            write_nifti(root / label / f"{name}.nii.gz", (ramp() % 4 // 2 * 3).astype(np.uint8))
    about = {
        "channel_names": {"1": "T1", "0": "FLAIR"},
        "labels": {"background": 0, "lesion": [1, 2], "core": 2, "ignore": 3},
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(about))
    if split:
        (root / "splits_final.json").write_text(json.dumps([{"train": ["a"], "val": ["b"]}, {"train": [], "val": []}]))
    return root


def bids_fake(root):
    for place in ("sub-01/ses-1", "sub-01/ses-2", "sub-02/ses-1"):
        scan = place.replace("/", "_")
        write_nifti(root / place / "anat" / f"{scan}_FLAIR.nii.gz")
        write_nifti(root / place / "anat" / f"{scan}_T1w.nii.gz")
        (root / place / "anat" / f"{scan}_FLAIR.json").write_text("{}")
        mask = (ramp() > 60).astype(np.uint8)
        write_nifti(root / "derivatives/raters" / place / "anat" / f"{scan}_space-orig_label-lesion_mask.nii.gz", mask)
        write_nifti(root / "derivatives/hdbet" / place / "anat" / f"{scan}_desc-brain_mask.nii.gz", mask)
    return root


def manifest_rows(root):
    for name in ("one", "two", "three"):
        write_case(root / "data" / name)
    return [
        {
            "case": name,
            "site": "here",
            "patient": f"patient {name}",
            "split": part,
            "label": f"data/{name}/lesion.nii.gz",
            "channels": {"FLAIR": f"data/{name}/FLAIR.nii.gz", "T1": f"data/{name}/T1.nii.gz"},
        }
        for name, part in (("one", "train"), ("two", "val"), ("three", "test"))
    ]
