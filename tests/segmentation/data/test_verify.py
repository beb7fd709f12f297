import gzip
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from nerd_fast.segmentation.data.cases import Case, DataSet
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.data.splits import split_of
from nerd_fast.segmentation.data.verify import verify_dataset
from tests.segmentation.images import AFFINE, ramp, write_case, write_nifti


@pytest.fixture
def folder(tmp_path):
    """Six sound cases, c0 to c5, no two alike, and a split."""
    for seed in range(6):
        write_case(tmp_path / f"c{seed}", seed=seed)
    (tmp_path / "split.json").write_text('{"train": ["c0", "c1", "c2"], "val": ["c3"], "test": ["c4", "c5"]}')
    return tmp_path


def check(folder, **options):
    return verify_dataset(find_cases(folder, channels=["FLAIR", "T1"], label="lesion"), **options)


def problems(folder, **options):
    return [(problem.severity, problem.case, problem.found) for problem in check(folder, **options).problems]


def test_sound_data_set_has_no_problem(folder):
    report = check(folder, size=(16, 16))
    assert report.problems == ()
    assert report.ok
    assert report.bytes_in_memory == 6 * 4 * 16 * 16 * (2 * 4 + 1)
    assert report.grids["c3"] == {"shape": (6, 5, 4), "spacing_mm": (1.5, 1.25, 3.0), "slicing_axis": 2}
    assert report.text().splitlines()[-1] == "0 errors, 0 warnings: ready"


def break_truncated(case):
    path = case / "T1.nii.gz"
    path.write_bytes(path.read_bytes()[:-20])


def break_checksum(case):
    path = case / "lesion.nii.gz"
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)


def break_nan(case):
    data = ramp(dtype=np.float32)
    data[5, 0, 0] = np.nan
    write_nifti(case / "FLAIR.nii.gz", data)


def break_axes(case):
    write_nifti(case / "lesion.nii.gz", (ramp((5, 6, 4)) > 60).astype(np.uint8))


def break_place(case):
    write_nifti(case / "T1.nii.gz", affine=AFFINE + np.diag([0.2, 0, 0, 0]))


def break_values(case):
    write_nifti(case / "lesion.nii.gz", (3 * (ramp() > 60)).astype(np.uint8))


@pytest.mark.parametrize(
    ("damage", "file", "found"),
    [
        (break_truncated, "T1", "EOFError while reading"),
        (break_checksum, "lesion", "CRC check failed"),
        (lambda case: (case / "T1.nii.gz").unlink(), "T1", "no such file"),
        (lambda case: (case / "T1.nii.gz").write_bytes(b"x"), "T1", "Not a gzipped file"),
        (lambda case: (case / "T1.nii.gz").write_bytes(gzip.compress(b"x")), "T1", "not NIfTI"),
        (break_nan, "FLAIR", "1 of 120 voxels NaN or infinite, in the file the first at (5, 0, 0)"),
        (lambda case: write_nifti(case / "T1.nii.gz", np.full((6, 5, 4), 7, np.int16)), "T1", "the same intensity 7"),
        (lambda case: write_nifti(case / "T1.nii.gz", ramp((6, 5))), "T1", "2-D data"),
        (lambda case: write_nifti(case / "T1.nii.gz", ramp((6, 5, 4, 2))), "T1", "4-D data"),
        (break_axes, "lesion", "shape (5, 6, 4)"),
        (break_place, "T1", "an affine that places the volume up to 1 mm away"),
        (break_values, "lesion", "the label values 3 in 59 voxels"),
    ],
)
def test_each_error_names_case_file_and_what_was_found(folder, damage, file, found):
    damage(folder / "c1")
    report = check(folder)
    assert not report.ok
    (problem,) = report.problems
    assert (problem.severity, problem.case) == ("error", "c1")
    assert problem.file == str(folder / "c1" / f"{file}.nii.gz")
    assert found in problem.found
    assert problem.expected
    assert problem.remedy


def test_all_problems_of_all_cases_come_in_one_report(folder):
    break_truncated(folder / "c0")
    break_nan(folder / "c0")
    break_values(folder / "c2")
    break_checksum(folder / "c5")
    assert [(severity, case) for severity, case, _ in problems(folder)] == [
        ("error", "c0"),
        ("error", "c0"),
        ("error", "c2"),
        ("error", "c5"),
    ]


def test_empty_and_missing_label_are_warnings(folder):
    write_nifti(folder / "c0" / "lesion.nii.gz", np.zeros((6, 5, 4), np.uint8))
    (folder / "c1" / "lesion.nii.gz").unlink()
    report = check(folder)
    assert report.ok
    assert [(p.severity, p.case, p.found) for p in report.problems] == [
        ("warning", "c0", "an empty label"),
        ("warning", "c1", "no label lesion"),
    ]


def test_label_lost_by_the_crop_is_a_warning_with_counts(folder):
    found = [found for _, case, found in problems(folder, size=(2, 2)) if case == "c0"]
    assert found[1] == "4 of 8 voxels of the label outside of the crop to 2x2"


def test_a_label_that_has_to_be_rounded_is_a_warning(folder):
    label = np.zeros((6, 5, 4), np.float32)
    label[1] = 0.98
    write_nifti(folder / "c0" / "lesion.nii.gz", label)
    assert problems(folder) == [("warning", "c0", "20 label voxels up to 0.02 off a whole number are rounded")]


def test_what_is_allowed_is_a_warning(folder):
    break_nan(folder / "c0")
    break_place(folder / "c1")
    assert [severity for severity, *_ in problems(folder)] == ["error", "error"]
    found = problems(folder, nonfinite="zero", allow_geometry_mismatch=True)
    assert [(severity, case) for severity, case, _ in found] == [("warning", "c0"), ("warning", "c1")]
    assert "NaN" in found[0][2]
    assert "an affine that places" in found[1][2]


def test_another_shape_is_an_error_whatever_is_allowed(folder):
    break_axes(folder / "c0")
    ((severity, _, found),) = problems(folder, allow_geometry_mismatch=True)
    assert (severity, found) == ("error", "(5, 6, 4) stored voxels")


def test_a_channel_without_contrast_at_the_percentiles_is_an_error(folder):
    data = np.zeros((6, 5, 4), np.int16)
    data[0] = np.arange(20).reshape(5, 4)  # 101 of 120 voxels are 0
    write_nifti(folder / "c0" / "T1.nii.gz", data)
    assert problems(folder) == []
    assert problems(folder, percentiles=(1, 50)) == [
        ("error", "c0", "the same intensity 0 at the percentiles 1 and 50")
    ]


def test_a_channel_of_nothing_but_nan_is_constant_once_it_is_zero(folder):
    write_nifti(folder / "c0" / "T1.nii.gz", np.full((6, 5, 4), np.nan, dtype=np.float32))
    found = [(severity, found) for severity, _, found in problems(folder, nonfinite="zero")]
    assert found[0] == ("error", "the same intensity 0 in every voxel")
    assert found[1][0] == "warning"


def test_spacing_at_odds_with_the_affine_is_a_warning(folder):
    data = ramp()
    write_nifti(folder / "c0" / "T1.nii.gz", data, edit={"pixdim": [1, 1, 1, 3, 0, 0, 0, 0], "qform_code": 0})
    ((severity, case, found),) = problems(folder)
    assert (severity, case) == ("warning", "c0")
    assert found == "pixdim says [1.0, 1.0, 3.0] mm and the affine [1.25, 1.5, 3.0] mm"


def test_cases_across_different_axes_are_an_error_until_one_is_chosen(folder):
    write_case(folder / "c2", seed=2, affine=np.diag([4.0, 1.25, 3, 1]))
    errors = [found for severity, _, found in problems(folder) if severity == "error"]
    assert len(errors) == 1
    assert "axis 0 in 1, such as c2 of 4x1.25x3 mm; axis 2 in 5" in errors[0]
    assert check(folder, axis=2).ok


def test_pixels_of_another_size_are_a_warning(folder):
    write_case(folder / "c2", seed=2, affine=np.diag([1.5, 0.9, 3, 1]))
    ((severity, case, found),) = problems(folder)
    assert (severity, case) == ("warning", "c2")
    assert "1.5x0.9 mm, where others have 1.5x1.25 mm; nothing is resampled" in found


def test_what_the_crop_cuts_off_the_scan_is_counted(folder):
    found = [found for _, case, found in problems(folder, size=(2, 2)) if case == "c0"]
    assert found[0] == "104 of 120 non-zero voxels (86.7%) lie outside of the crop to 2x2"


def test_doubts_about_a_header_are_warnings_for_channel_and_label_alike(folder):
    sheared = AFFINE.copy()
    sheared[0, 1] = 0.4
    write_case(folder / "c1", seed=1, affine=sheared)
    found = [found for severity, _, found in problems(folder) if severity == "warning"]
    assert sum("off a right angle" in sentence for sentence in found) == 3


def test_a_unit_that_is_not_told_is_a_note_once_for_all_files(folder):
    (note,) = check(folder).notes
    assert note.startswith("no unit of length in the header, taken for mm: 18 files, such as")
    for case in ("c0", "c1"):
        write_nifti(folder / case / "lesion.nii.gz", (ramp() > 90).astype(np.uint8), edit={"xyzt_units": 2})
    assert "16 files" in check(folder).notes[0]


def test_a_mirrored_label_is_counted_where_it_is_taken_for_the_same_place(folder):
    label = np.zeros((6, 5, 4), np.uint8)
    label[0] = 1
    write_nifti(folder / "c0" / "lesion.nii.gz", label, np.diag([1.0, 1, 3, 1]))
    found = [found for _, case, found in problems(folder, size=(5, 5), allow_geometry_mismatch=True) if case == "c0"]
    # Stored to the left as the scan is, the plane lies at its right end, which a crop to 5 of 6 cuts off.
    assert [sentence for sentence in found if sentence.startswith("20 of 20 voxels of the label outside")]


def test_copy_of_a_scan_in_two_parts_is_an_error_however_it_is_compressed(folder):
    content = gzip.decompress((folder / "c0" / "T1.nii.gz").read_bytes())
    (folder / "c4" / "T1.nii.gz").write_bytes(gzip.compress(content, compresslevel=1))
    assert problems(folder) == [("error", "c0", "the same voxels as c4 (test)")]


def test_copy_of_a_scan_in_one_part_is_a_warning(folder):
    shutil.copy(folder / "c0" / "T1.nii.gz", folder / "c1" / "T1.nii.gz")
    assert problems(folder) == [("warning", "c0", "the same voxels as c1 (train)")]


@pytest.mark.parametrize("source", ["folder", "argument", "file"])
def test_split_that_does_not_fit_is_reported_beside_the_rest(folder, source):
    split = {"train": ["c0", "c1", "c2"], "val": ["c3", "c0"], "test": ["c4", "c5", "absent"]}
    options = {}
    if source == "argument":
        options = {"split": split}
    elif source == "file":
        (folder / "mine.json").write_text(json.dumps(split))
        options = {"split": folder / "mine.json"}
    else:
        (folder / "split.json").write_text(json.dumps(split))
    break_values(folder / "c2")
    report = check(folder, **options)
    assert [(p.severity, p.case) for p in report.problems if p.case] == [("error", "c2")]
    told = " ".join(problem.found for problem in report.errors)
    assert "not there: absent" in told
    assert "c0 (train and val)" in told


def test_patient_in_two_parts_is_an_error(folder):
    found = find_cases(folder)
    cases = [Case(c.name, c.channels, c.label, patient="p" if c.name in ("c0", "c4") else None) for c in found.cases]
    dataset = DataSet(found.root, "manifest", tuple(cases), found.channels, "lesion", split_source=split_of(found))
    (problem,) = verify_dataset(dataset, split=split_of(found)).problems
    assert (problem.severity, problem.found) == ("error", "patients in more than one part: p (test and train)")


def test_cases_in_no_part_are_a_warning(folder):
    assert problems(folder, split={"train": ["c0", "c1", "c2"], "val": [], "test": ["c4"]}) == [
        ("warning", "", "cases in no part: c3, c5")
    ]


def test_declared_label_values_replace_those_of_the_layout(folder):
    break_values(folder / "c2")
    dataset = find_cases(folder, channels=["FLAIR", "T1"], label="lesion")
    assert verify_dataset(replace(dataset, label_values=(0, 1, 3))).ok


def test_report_as_json_and_text_say_the_same(folder):
    break_values(folder / "c2")
    write_nifti(folder / "c0" / "lesion.nii.gz", np.zeros((6, 5, 4), np.uint8))
    report = check(folder, size=(16, 16))
    content = json.loads(report.json())
    assert content["format_version"] == 1
    assert content["ok"] is False
    assert content["size"] == [16, 16]
    assert [problem["case"] for problem in content["problems"]] == ["c2", "c0"]
    assert set(content["problems"][0]) == {"severity", "case", "file", "found", "expected", "remedy"}
    lines = report.text().splitlines()
    assert lines[0].startswith(f"{folder}: layout folder, 6 cases, channels FLAIR, T1, label lesion, 16x16")
    assert lines[1].startswith(f"error: c2: {folder / 'c2' / 'lesion.nii.gz'}: the label values 3")
    assert lines[2].startswith("warning: c0: ")
    assert lines[3] == f"note: {content['notes'][0]}"
    assert lines[4] == "1 errors, 1 warnings: not to be trained on"


@pytest.mark.slow
def test_real_data_is_sound(real_data):
    for name, size in (("la", (240, 160)), ("ms", (160, 224))):
        report = verify_dataset(find_cases(real_data / name), size=size)
        assert report.problems == (), report.text()
