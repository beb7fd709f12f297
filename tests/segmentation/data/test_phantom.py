import nibabel as nib
import numpy as np
import pytest

from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.data.phantom import make_head, write_phantom
from nerd_fast.segmentation.data.splits import split_of
from nerd_fast.segmentation.data.verify import verify_dataset

SMALL = (48, 56, 6)
COARSE = (4.0, 4.0, 9.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_phantom(tmp_path_factory.mktemp("phantom") / "data", cases=4, shape=SMALL, spacing=COARSE)


@pytest.fixture(scope="module")
def head():
    return make_head(np.random.default_rng(0), (96, 112, 12))


def test_phantom_is_a_sound_data_set(folder):
    dataset = find_cases(folder)
    assert (dataset.channels, dataset.label) == (("FLAIR", "T1"), "lesion")
    assert split_of(dataset) == {"train": ["case01", "case02"], "val": ["case03"], "test": ["case04"]}
    report = verify_dataset(dataset, size=SMALL[:2])
    assert report.problems == (), report.text()


def test_phantom_is_stored_as_scans_are(folder):
    scan, mask = nib.load(folder / "case01/FLAIR.nii.gz"), nib.load(folder / "case01/lesion.nii.gz")
    assert nib.aff2axcodes(scan.affine) == ("L", "A", "S")
    assert scan.header.get_zooms() == COARSE
    assert (scan.get_data_dtype(), mask.get_data_dtype()) == (np.int16, np.uint8)
    assert set(np.unique(np.asarray(mask.dataobj))) == {0, 1}
    np.testing.assert_allclose(nib.affines.apply_affine(scan.affine, (np.array(SMALL) - 1) / 2)[:2], 0)


def test_same_seed_writes_the_same_bytes_and_another_does_not(folder, tmp_path):
    again = write_phantom(tmp_path / "again", cases=4, shape=SMALL, spacing=COARSE)
    other = write_phantom(tmp_path / "other", cases=4, shape=SMALL, spacing=COARSE, seed=1)
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*.nii.gz"))]
    assert len(files) == 12
    for path in files:
        assert (again / path).read_bytes() == (folder / path).read_bytes()
        assert (other / path).read_bytes() != (folder / path).read_bytes()


def test_phantom_is_written_again_over_itself_but_not_over_other_files(tmp_path):
    write_phantom(tmp_path / "data", cases=3, shape=SMALL, spacing=COARSE)
    write_phantom(tmp_path / "data", cases=3, shape=SMALL, spacing=COARSE)
    (tmp_path / "data" / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match=r"holds thesis.tex"):
        write_phantom(tmp_path / "data", cases=3, shape=SMALL, spacing=COARSE)


def test_too_few_cases_for_a_split_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cases is 2; expected 3 or more"):
        write_phantom(tmp_path, cases=2)


def test_lesions_are_bright_on_flair_and_dark_on_t1(head):
    lesion = head["lesion"].astype(bool)
    brain = head["FLAIR"] > np.percentile(head["FLAIR"], 60)
    assert np.median(head["FLAIR"][lesion]) > 1.5 * np.median(head["FLAIR"][brain])
    assert np.median(head["T1"][lesion]) < np.median(head["T1"][brain])


def test_bright_spots_that_are_no_lesions_are_there_too(head):
    """No threshold on FLAIR finds the lesions: within the skull, bright voxels are lesions or not by their place."""
    lesion = head["lesion"].astype(bool)
    x, y = np.meshgrid(np.linspace(-1, 1, 96), np.linspace(-1, 1, 112), indexing="ij")
    within = (x**2 + y**2 < 0.45)[..., None]
    bright = within & (head["FLAIR"] > np.percentile(head["FLAIR"][lesion], 25))
    assert 0.05 < (bright & ~lesion).sum() / bright.sum() < 0.7


@pytest.mark.parametrize("seed", range(4))
def test_every_head_has_lesions_over_its_slices(seed):
    lesion = make_head(np.random.default_rng(seed), (96, 112, 12))["lesion"]
    assert 0.001 < lesion.mean() < 0.02
    assert np.count_nonzero(lesion.any(axis=(0, 1))) >= 8
