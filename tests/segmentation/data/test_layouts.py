import json

import nibabel as nib
import numpy as np
import pytest

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.data.layouts import LAYOUTS, find_cases
from nerd_fast.segmentation.data.splits import split_of
from tests.segmentation.images import AFFINE, write_case, write_nifti
from tests.segmentation.layouts_for_tests import nnunet_fake, prepare_all


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
