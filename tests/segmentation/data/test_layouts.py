import csv
import json

import nibabel as nib
import nrrd
import numpy as np
import pytest

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.data.layouts import LAYOUTS, find_cases
from nerd_fast.segmentation.data.prepared import prepare_case
from nerd_fast.segmentation.data.splits import split_of
from tests.segmentation.images import AFFINE, ramp, write_case, write_nifti


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


def test_wmh2017_in_all_its_folders(tmp_path):
    dataset = find_cases(wmh_fake(tmp_path))
    assert dataset.layout == "wmh2017"
    assert dataset.channels == ("FLAIR", "T1")
    assert {case.name: (case.site, case.part) for case in dataset.cases} == {
        "Utrecht_0": ("Utrecht", "training"),
        "Utrecht_2": ("Utrecht", "training"),
        "Singapore_50": ("Singapore", "training"),
        "Amsterdam_GE3T_100": ("Amsterdam_GE3T", "training"),
        "test_Amsterdam_Philips_VU_.PETMR_01._155": ("Amsterdam_Philips_VU_.PETMR_01.", "test"),
    }
    assert all(path.parent.name == "pre" for case in dataset.cases for path in case.channels.values())
    prepared = {case.name: case for case in prepare_all(dataset)}
    assert prepared["Utrecht_0"].ignore is None


def test_wmh2017_label_two_is_background_and_ignored(tmp_path):
    dataset = find_cases(wmh_fake(tmp_path))
    assert (dataset.label_values, dataset.ignore_values) == ((0, 1), (2,))
    prepared = {case.name: case for case in prepare_all(dataset)}["Utrecht_2"]
    assert np.argwhere(prepared.truth).tolist() == [[4, 1, 1]]
    assert np.argwhere(prepared.ignore).tolist() == [[3, 2, 2]]
    assert prepared.label.sum() == 1


def test_wmh2017_of_one_old_archive_and_original_images(tmp_path):
    wmh_fake(tmp_path / "all")
    (tmp_path / "all/training/Amsterdam").rename(tmp_path / "old")
    dataset = find_cases(tmp_path / "old", layout="wmh2017-orig", channels=["FLAIR"])
    assert [(case.name, case.site) for case in dataset.cases] == [("GE3T_100", "GE3T")]
    assert dataset.cases[0].channels["FLAIR"] == tmp_path / "old/GE3T/100/orig/FLAIR.nii.gz"


def test_la2018(tmp_path):
    for folder, name in (("Training Set", "ABC"), ("Training Set", "DEF"), ("Testing Set", "XYZ")):
        place = tmp_path / folder / name
        place.mkdir(parents=True)
        nrrd.write(str(place / "lgemri.nrrd"), ramp(dtype=np.uint8))
        if folder == "Training Set":
            nrrd.write(str(place / "laendo.nrrd"), (255 * (ramp() > 100)).astype(np.uint8))
    dataset = find_cases(tmp_path)
    assert dataset.layout == "la2018"
    assert [(case.name, case.part, case.label is None) for case in dataset.cases] == [
        ("XYZ", "test", True),
        ("ABC", "training", False),
        ("DEF", "training", False),
    ]
    assert set(np.unique(prepare_all(dataset)[1].truth)) == {0, 1}


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


def test_bids_with_sessions_and_derivatives(tmp_path):
    dataset = find_cases(bids_fake(tmp_path), channels=["FLAIR", "T1"])
    assert (dataset.layout, dataset.label) == ("bids", "lesion")
    assert [(case.name, case.patient) for case in dataset.cases] == [
        ("sub-01_ses-1", "sub-01"),
        ("sub-01_ses-2", "sub-01"),
        ("sub-02_ses-1", "sub-02"),
    ]
    assert dataset.cases[0].channels["T1"].name == "sub-01_ses-1_T1w.nii.gz"
    assert len(prepare_all(dataset)) == 3
    assert find_cases(tmp_path).channels == ("FLAIR", "T1w")


def test_bids_with_two_runs_or_two_labels_asks(tmp_path):
    bids_fake(tmp_path)
    rater = tmp_path / "derivatives/raters/sub-01/ses-1/anat"
    write_nifti(rater / "sub-01_ses-1_label-tumour_mask.nii.gz")
    with pytest.raises(DataError, match="labels lesion, tumour; expected the name of one"):
        find_cases(tmp_path)
    assert find_cases(tmp_path, label="tumour").cases[1].label is None
    write_nifti(tmp_path / "sub-01/ses-1/anat/sub-01_ses-1_run-2_FLAIR.nii.gz")
    with pytest.raises(DataError, match="a second FLAIR of sub-01_ses-1"):
        find_cases(tmp_path, label="lesion")


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


def test_folder_of_cases(tmp_path):
    for seed, name in enumerate(("b", "a")):
        write_case(tmp_path / name, seed=seed)
    write_nifti(tmp_path / "a" / "extra.nii.gz")
    (tmp_path / "a" / ".12.partial.T1.nii.gz").write_bytes(b"")
    (tmp_path / "split.json").write_text('{"train": ["a"], "test": ["b"]}')
    dataset = find_cases(tmp_path)
    assert (dataset.layout, dataset.channels, dataset.label) == ("folder", ("FLAIR", "T1"), "lesion")
    assert dataset.names == ["a", "b"]
    assert split_of(dataset) == {"train": ["a"], "val": [], "test": ["b"]}
    assert dataset.describe().endswith("layout folder, 2 cases, channels FLAIR, T1, 2 labels (lesion)")
    assert [case.name for case in dataset.subset(["b", "a"])] == ["b", "a"]


def test_folder_with_sites_and_chosen_channels(tmp_path):
    write_case(tmp_path / "Oslo" / "1")
    write_case(tmp_path / "Rome" / "1", label=None)
    dataset = find_cases(tmp_path, channels=["T1"], label="lesion")
    assert [(case.name, case.site, case.label is None) for case in dataset.cases] == [
        ("Oslo_1", "Oslo", False),
        ("Rome_1", "Rome", True),
    ]
    assert set(dataset.cases[0].channels) == {"T1"}


def test_one_case_is_a_folder_of_one(tmp_path):
    dataset = find_cases(write_case(tmp_path / "patient 7"))
    assert dataset.names == ["patient_7"]


def test_missing_channel_stays_listed_where_it_was_expected(tmp_path):
    write_case(tmp_path / "a")
    write_case(tmp_path / "b", channels=("FLAIR",))
    case = find_cases(tmp_path, channels=["FLAIR", "T1"]).cases[1]
    assert case.channels["T1"] == tmp_path / "b" / "T1.nii.gz"
    with pytest.raises(DataError, match=r"b/T1.nii.gz: no such file"):
        prepare_case(case, channels=["FLAIR", "T1"], label="lesion", size=(6, 5), axis=2)


def test_folders_that_tell_no_channels_or_two_labels_ask(tmp_path):
    write_case(tmp_path / "a", channels=("x",), label=None)
    write_case(tmp_path / "b", channels=("y",), label=None)
    with pytest.raises(DataError, match="no image that each of the 2 cases has; names are x, y"):
        find_cases(tmp_path)
    write_case(tmp_path / "a", label="mask")
    write_case(tmp_path / "b", label="lesion")
    with pytest.raises(DataError, match="may all be the label: lesion, mask"):
        find_cases(tmp_path)


def test_two_files_for_one_channel_are_refused(tmp_path):
    write_case(tmp_path / "a")
    write_nifti(tmp_path / "a" / "T1.nii")
    with pytest.raises(DataError, match=r"a second file for T1, beside T1.nii"):
        find_cases(tmp_path)


def test_one_name_for_two_channels_is_refused(tmp_path):
    nnunet_fake(tmp_path)
    about = json.loads((tmp_path / "dataset.json").read_text())
    (tmp_path / "dataset.json").write_text(json.dumps({**about, "channel_names": {"0": "MR", "1": "MR"}}))
    with pytest.raises(DataError, match="channels of the same name: MR; expected one of each"):
        find_cases(tmp_path)


def test_one_image_for_two_channels_or_for_channel_and_label_is_refused(tmp_path):
    write_case(tmp_path / "a")
    with pytest.raises(DataError, match=r"lesion.nii.gz: one image for lesion and for the label of a"):
        find_cases(tmp_path, channels=["FLAIR", "lesion"], label="lesion")
    (tmp_path / "manifest.csv").write_text("case,FLAIR,T1,label\na,a/T1.nii.gz,a/T1.nii.gz,a/lesion.nii.gz\n")
    with pytest.raises(DataError, match=r"T1.nii.gz: one image for FLAIR and for T1 of a"):
        find_cases(tmp_path)


def test_links_are_followed_but_not_in_circles(tmp_path):
    write_case(tmp_path / "elsewhere" / "a")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").symlink_to(tmp_path / "elsewhere" / "a")
    (tmp_path / "elsewhere" / "a" / "up").symlink_to(tmp_path / "elsewhere")
    assert find_cases(tmp_path / "data").names[0] == "a"
    assert find_cases(tmp_path / "elsewhere").names == ["a"]


def test_nothing_to_find_says_what_was_expected(tmp_path):
    with pytest.raises(DataError, match=r"no case.*FLAIR and T1.*wmh2017"):
        find_cases(tmp_path, channels=["FLAIR", "T1"])
    with pytest.raises(DataError, match="no such folder"):
        find_cases(tmp_path / "absent")
    with pytest.raises(ValueError, match="layout is 'x'; expected auto, manifest"):
        find_cases(tmp_path, layout="x")
    (tmp_path / "file").write_text("x")
    for layout in ("auto", *LAYOUTS):
        with pytest.raises(DataError, match=str(tmp_path / "file")):
            find_cases(tmp_path / "file", layout=layout)


def test_real_data_is_found(real_data):
    la = find_cases(real_data / "la")
    assert (la.channels, la.label, len(la.cases)) == (("image",), "label", 22)
    assert {part: len(names) for part, names in split_of(la).items()} == {"train": 14, "val": 2, "test": 6}
    ms = find_cases(real_data / "ms")
    assert (ms.channels, ms.label, split_of(ms)["test"]) == (("FLAIR", "T1"), "lesion", ["case03"])


def test_stored_orientation_does_not_matter(tmp_path):
    write_case(tmp_path / "a")
    turned = nib.as_closest_canonical(nib.load(tmp_path / "a" / "T1.nii.gz"))
    turned.to_filename(tmp_path / "a" / "T1.nii.gz")
    assert not np.array_equal(turned.affine, AFFINE)
    assert len(prepare_all(find_cases(tmp_path))) == 1
