import csv
import json

import numpy as np
import pytest

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.data.splits import split_of
from tests.segmentation.images import ramp, write_nifti
from tests.segmentation.layouts_for_tests import manifest_rows, nnunet_fake, prepare_all


def test_nnunet(tmp_path):
    dataset = find_cases(nnunet_fake(tmp_path))
    assert dataset.layout == "nnunet"
    assert dataset.channels == ("FLAIR", "T1")
    assert (dataset.label_values, dataset.ignore_values) == ((0, 1, 2), (3,))
    assert [(case.name, case.part) for case in dataset.cases] == [("a", "training"), ("b", "training"), ("c", "test")]
    assert dataset.cases[0].channels["T1"].name == "a_0001.nii.gz"
    assert dataset.cases[2].label is None
    assert split_of(dataset) == {"train": ["a"], "val": ["b"], "test": ["c"]}
    assert prepare_all(dataset)[0].ignore.sum() == 60


def test_nnunet_of_version_one_and_one_of_its_channels(tmp_path):
    nnunet_fake(tmp_path, split=False)
    about = {"modality": {"0": "FLAIR", "1": "T1"}, "labels": {"0": "background", "3": "lesion"}, "training": []}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    dataset = find_cases(tmp_path, channels=["T1"])
    assert (dataset.layout, dataset.channels, dataset.label_values) == ("nnunet", ("T1",), (0, 3))
    assert set(dataset.cases[0].channels) == {"T1"}
    assert set(np.unique(prepare_all(dataset)[0].label)) == {0, 1}
    with pytest.raises(DataError, match="channels T2 and label label asked for; expected channels of FLAIR, T1"):
        find_cases(tmp_path, channels=["T2"])


@pytest.mark.parametrize("entries", [3, [3], [{"label": "x.nii"}], [{"image": "x.nii", "label": 1}]])
def test_msd_with_entries_that_are_no_files(tmp_path, entries):
    (tmp_path / "imagesTr").mkdir()
    about = {"modality": {"0": "T1"}, "labels": {"0": "background"}, "training": entries}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    with pytest.raises(DataError, match=r"dataset\.json: the entry"):
        find_cases(tmp_path)


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"modality": [1], "labels": {}}', '{"modality": {"x": "T1"}, "labels": {}}', '{"modality": 3}'],
)
def test_nnunet_with_an_unusable_description(tmp_path, content):
    nnunet_fake(tmp_path)
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DataError, match=r"dataset\.json"):
        find_cases(tmp_path)


def test_msd_with_two_channels_in_one_file(tmp_path):
    images = np.stack([ramp(), ramp()[::-1]], axis=-1)
    for name in ("BRATS_001", "BRATS_002"):
        write_nifti(tmp_path / f"imagesTr/{name}.nii.gz", images)
        write_nifti(tmp_path / f"labelsTr/{name}.nii.gz", (ramp() > 60).astype(np.uint8))
    write_nifti(tmp_path / "imagesTs/BRATS_003.nii.gz", images)
    about = {
        "modality": {"0": "FLAIR", "1": "T1w"},
        "labels": {"0": "background", "1": "tumour"},
        "training": [
            {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
            for name in ("BRATS_001", "BRATS_002")
        ],
        "test": ["./imagesTs/BRATS_003.nii.gz"],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    dataset = find_cases(tmp_path)
    assert dataset.layout == "msd"
    assert [(case.name, case.part) for case in dataset.cases] == [
        ("BRATS_001", "training"),
        ("BRATS_002", "training"),
        ("BRATS_003", "test"),
    ]
    prepared = prepare_all(dataset, (6, 5))[0]
    np.testing.assert_array_equal(prepared.images[:, 0], prepared.images[:, 1, ::-1])


@pytest.mark.parametrize("kind", ["csv", "json list", "json object"])
def test_manifest(tmp_path, kind):
    rows = manifest_rows(tmp_path)
    if kind == "csv":
        path = tmp_path / "manifest.csv"
        flat = [{**{k: v for k, v in row.items() if k != "channels"}, **row["channels"]} for row in rows]
        with open(path, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(flat[0]))
            table.writeheader()
            table.writerows(flat)
    else:
        path = tmp_path / "manifest.json"
        path.write_text(json.dumps(rows if kind == "json list" else {"cases": rows}))
    for root in (tmp_path, path):
        dataset = find_cases(root)
        assert (dataset.layout, dataset.channels) == ("manifest", ("FLAIR", "T1"))
        assert (dataset.cases[0].name, dataset.cases[0].site, dataset.cases[0].patient) == (
            "one",
            "here",
            "patient one",
        )
        assert split_of(dataset) == {"train": ["one"], "val": ["two"], "test": ["three"]}
        assert len(prepare_all(dataset)) == 3
    assert find_cases(path, channels=["T1"]).channels == ("T1",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "0 rows|no case|JSON"),
        ("[1, 2]", "2 of 2 rows"),
        ('{"rows": []}', "no list of cases"),
        ('[{"case": "a", "channels": {}}]', "rows without a case or channels"),
        ('[{"case": "a", "channels": {"T1": 3}}]', "1 of 1 rows without a case or channels"),
        ('[{"case": "a", "channels": {"T1": ""}}, {"case": "b", "channels": {"T1": "x"}}]', "no T1 for case a"),
        ('[{"case": "a", "channels": {"T1": "x"}, "site": [1]}]', "the first in row 1"),
        (
            '[{"case": "a", "channels": {"T1": "x.nii"}}, {"case": "b", "channels": {"T2": "x.nii"}}]',
            "no T2 for case a",
        ),
        ('[{"case": "a", "channels": {"T1": "x"}}, {"case": "a", "channels": {"T1": "x"}}]', "same name: a"),
    ],
)
def test_manifest_that_is_no_table_of_cases(tmp_path, content, message):
    path = tmp_path / "cases.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        find_cases(path)
