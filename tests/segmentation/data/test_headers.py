import pytest

from nerd_fast.segmentation.data.headers import describe, stem, suffix
from tests.segmentation.images import ramp, write_nifti


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a/FLAIR.nii.gz", ("FLAIR", ".nii.gz")),
        ("T1.nii", ("T1", ".nii")),
        ("sub-1.2_T1w.NII.GZ", ("sub-1.2_T1w", ".nii.gz")),
        ("lgemri.nrrd", ("lgemri", ".nrrd")),
        ("notes.txt", ("notes.txt", "")),
        ("scan.gz", ("scan.gz", "")),
    ],
)
def test_stem_and_suffix_of_image_names(path, parts):
    assert (stem(path), suffix(path)) == parts


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_stream_stands_at_the_first_voxel(tmp_path, name):
    path = write_nifti(tmp_path / name)
    with open(path, "rb") as file:
        description = describe(path, file)
        assert description.shape == (6, 5, 4)
        assert description.nbytes == 240
        assert description.stream(file).read(240) == ramp().tobytes(order="F")
