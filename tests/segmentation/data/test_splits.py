import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.data.cases import Case
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.data.splits import PARTS, hash_files, load_split, make_split
from tests.segmentation.images import write_case


def case(name, *, label="label.nii.gz", **known):
    return Case(str(name), {}, None if label is None else Path(label), **known)


CASES = [case(name, patient=patient) for name, patient in (("a", "p"), ("b", "p"), ("c", None), ("d", None))]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (
            {"train": ["a", "x"], "test": ["y"]},
            "cases that are not there: x, y; expected each case once, of a, b, c, d",
        ),
        ({"train": ["c", "c"]}, "cases listed twice in train: c"),
        ({"train": ["c"], "test": ["c"]}, r"cases in more than one part: c \(test and train\)"),
        ({"train": ["a"], "test": ["b"]}, r"patients in more than one part: p \(test and train\)"),
        ({"train": ["x"], "val": ["c", "c"]}, "not there: x; cases listed twice in val: c"),
        ({"training": ["a"]}, r"a split of the form \{training\}"),
        ({"train": "a"}, r"a split of the form \{train\}"),
        ({"train": [1]}, r"a split of the form \{train\}"),
        (["a"], "a split of the form list"),
        ([], "a split of the form list"),
    ],
)
def test_split_that_does_not_fit_names_all_that_is_wrong(tmp_path, split, message):
    path = tmp_path / "split.json"
    path.write_text(json.dumps(split))
    with pytest.raises(DataError, match=message) as caught:
        load_split(path, CASES)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [None, "{", "\xff"])
def test_split_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "split.json"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"split\.json"):
        load_split(path, CASES)


def test_split_file_with_parts_left_out(tmp_path):
    path = tmp_path / "split.json"
    path.write_text('{"test": ["a", "b"], "train": ["d"]}')
    assert load_split(path, CASES) == {"train": ["d"], "val": [], "test": ["a", "b"]}


def test_paper_split_is_even_over_the_sites():
    cases = [case(f"{site}_{n}", site=site) for site in ("Utrecht", "Singapore", "GE3T") for n in range(20)]
    split = make_split(cases, counts=(42, 6, 12), seed=3)
    for part, share in (("train", 14), ("val", 2), ("test", 4)):
        assert Counter(name.split("_")[0] for name in split[part]) == {
            "Utrecht": share,
            "Singapore": share,
            "GE3T": share,
        }
    assert make_split(cases, counts=(42, 6, 12), seed=3) == split
    assert make_split(cases[::-1], counts=(42, 6, 12), seed=3) == split
    assert make_split(cases, counts=(42, 6, 12), seed=4) != split


def test_split_of_a_seed_stays_the_same_for_ever():
    cases = [case(f"case{n:02d}") for n in range(10)]
    assert make_split(cases, seed=0) == {
        "train": ["case00", "case01", "case02", "case04", "case05", "case07", "case09"],
        "val": ["case08"],
        "test": ["case03", "case06"],
    }


@given(
    patients=st.lists(st.tuples(st.integers(0, 12), st.sampled_from([None, "Oslo", "Rome"])), min_size=12, max_size=40),
    seed=st.integers(0, 99),
)
def test_every_case_lands_in_one_part_and_no_patient_in_two(patients, seed):
    cases = [case(n, patient=f"{site} {p}", site=site) for n, (p, site) in enumerate(patients)]
    try:
        split = make_split(cases, seed=seed)
    except DataError:
        assert len({c.patient for c in cases}) < 12
        return
    assert sorted(name for names in split.values() for name in names) == sorted(c.name for c in cases)
    home = {name: part for part, names in split.items() for name in names}
    parts = {}
    for c in cases:
        assert parts.setdefault(c.patient, home[c.name]) == home[c.name]
    assert all(split[part] for part in PARTS)


def test_counts_below_the_number_of_cases_leave_the_rest_out():
    split = make_split([case(n) for n in range(20)], counts=(5, 2, 3))
    assert [len(split[part]) for part in PARTS] == [5, 2, 3]


def test_test_part_of_the_source_is_the_test_unless_counts_are_given():
    cases = [case(n, part="test" if n < 4 else "training") for n in range(24)]
    split = make_split(cases)
    assert split["test"] == ["0", "1", "2", "3"]
    assert [len(split[part]) for part in PARTS] == [18, 2, 4]
    assert [len(names) for names in make_split(cases, counts=(10, 4, 10)).values()] == [10, 4, 10]


def test_cases_without_a_label_take_no_part():
    cases = [case(n, label=None if n < 10 else "label.nii.gz", part="test" if n < 10 else None) for n in range(20)]
    split = make_split(cases)
    assert sorted(name for names in split.values() for name in names) == [str(n) for n in range(10, 20)]
    assert split["test"]


def test_split_without_enough_cases_is_refused():
    with pytest.raises(DataError, match=r"2 labelled cases; expected at least 7 for parts of \(4, 1, 2\)"):
        make_split(CASES[:2], counts=(4, 1, 2))
    with pytest.raises(DataError, match="4 labelled cases of 1 patients, which leave nothing for"):
        make_split([case(n, patient="p") for n in range(4)])


def test_part_of_no_share_stays_empty():
    split = make_split([case(n) for n in range(6)], fractions=(0.5, 0, 0.5))
    assert [len(split[part]) for part in PARTS] == [3, 0, 3]


def test_hash_of_every_file_by_its_relative_path(tmp_path):
    write_case(tmp_path / "a")
    dataset = find_cases(tmp_path)
    hashes = hash_files(dataset.cases, tmp_path)
    assert sorted(hashes) == ["a/FLAIR.nii.gz", "a/T1.nii.gz", "a/lesion.nii.gz"]
    assert hashes["a/T1.nii.gz"] == hashlib.sha256((tmp_path / "a/T1.nii.gz").read_bytes()).hexdigest()
    (tmp_path / "a/T1.nii.gz").unlink()
    with pytest.raises(DataError, match=str(Path("a/T1.nii.gz"))):
        hash_files(dataset.cases, tmp_path)
