from pathlib import Path

import pytest

from nerd_fast.segmentation.data.cases import Case, safe_name


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("Utrecht", "0"), "Utrecht_0"),
        (("Philips_VU .PETMR_01.", "155"), "Philips_VU_.PETMR_01._155"),
        (("a/b", "ü:*?"), "a_b_____"),
        ((), ""),
    ],
)
def test_names_of_cases_are_names_of_files_too(parts, name):
    assert safe_name(*parts) == name


def test_file_that_two_channels_share_is_listed_once():
    shared, label = Path("image.nii.gz"), Path("label.nii.gz")
    assert Case("a", {"FLAIR": shared, "T1": shared}, label).files == [shared, label]
    assert Case("a", {"FLAIR": shared}).files == [shared]
