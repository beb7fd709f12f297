"""What a run keeps of its data, so that later scans are cut as those it was trained on, whatever their headers say."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.data.cases import Case
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.runs.loading import RunData, load_training, prepare
from tests.segmentation.images import write_case
from tests.segmentation.runs_for_tests import tiny_config


@pytest.fixture
def folder(tmp_path):
    """Three cases of 1x1x1 mm, whose slices lie across the last axis."""
    for seed, name in enumerate(("a", "b", "c")):
        write_case(tmp_path / name, seed=seed, shape=(20, 18, 16), affine=np.eye(4))
    (tmp_path / "split.json").write_text('{"train": ["a", "b"], "val": ["c"], "test": []}')
    return tmp_path


def loaded(folder, **options):
    return load_training(tiny_config(folder, folder / "run", **options))[0]


def with_spacing(folder, name, spacing):
    """The case again, its voxels the same, its header of another spacing."""
    files = {}
    for channel in ("FLAIR", "T1"):
        image = nib.load(folder / name / f"{channel}.nii.gz")
        files[channel] = folder / f"other_{channel}.nii.gz"
        nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj), np.diag([*spacing, 1])), files[channel])
    return Case("other", files)


def test_a_run_keeps_axis_spacing_and_padding(folder):
    data = loaded(folder)
    assert (data.axis, data.spacing, data.padding) == (2, [1, 1], "background")
    assert loaded(folder, axis=0).axis == 0


def test_the_axis_of_the_run_cuts_a_later_scan_whatever_its_spacing(folder, capsys):
    data = loaded(folder)
    (case,) = find_cases(folder).subset(["a"])
    expected = prepare(case, data, labelled=False)
    capsys.readouterr()
    found = prepare(with_spacing(folder, "a", (1.2, 1, 1)), data, labelled=False)
    np.testing.assert_array_equal(found.images, expected.images)
    assert capsys.readouterr().err == ""


def test_pixels_of_another_size_than_the_run_has_are_said(folder, capsys):
    data = loaded(folder)
    prepare(with_spacing(folder, "a", (1, 1.3, 1)), data, labelled=False)
    assert "warning: other: pixels of 1x1.3 mm, where others have 1x1 mm" in capsys.readouterr().err


def test_training_cases_across_different_axes_are_refused_until_one_is_chosen(folder):
    write_case(folder / "b", seed=1, shape=(20, 18, 16), affine=np.diag([1.2, 1, 1, 1]))
    with pytest.raises(DataError, match=r"axis 0 in 1, such as b of 1\.2x1x1 mm; axis 2 in 2.*--axis"):
        loaded(folder)
    assert loaded(folder, axis=2).axis == 2


def test_data_of_an_older_run_are_read_as_it_read_them(folder, capsys):
    now = loaded(folder).__dict__
    older = {name: now[name] for name in now if name not in ("padding", "spacing", "allow_geometry_mismatch")}
    data = RunData.of_checkpoint({"data": {**older, "axis": None}}, "last.ckpt")
    (case,) = find_cases(folder).subset(["a"])
    found = prepare(case, data, labelled=False)
    assert found.geometry.axis == 2
    assert "cut across axis 2 by its spacing, for the run does not say across which" in capsys.readouterr().err
    assert found.padding.tolist() == [0, 0]
    assert prepare(case, replace(data, padding="background"), labelled=False).padding.min() > 0
