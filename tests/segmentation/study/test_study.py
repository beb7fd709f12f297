import json
from collections import Counter
from pathlib import Path

import pytest

from nerd_fast.segmentation.base.errors import DataError, UsageError
from nerd_fast.segmentation.data.cases import Case, DataSet
from nerd_fast.segmentation.study.protocol import PROTOCOLS
from nerd_fast.segmentation.study.reproduce import ReproduceOptions
from nerd_fast.segmentation.study.study import State, choose_split, open_study

WMH = PROTOCOLS["wmh"]


def dataset(root=Path("data"), sites=("Utrecht", "Singapore", "Amsterdam"), each=20, part=None, **fields):
    cases = [
        Case(f"{site}_{number}", {"FLAIR": root / f"{site}_{number}"}, root / "label", site, None, part)
        for site in sites
        for number in range(each)
    ]
    return DataSet(root, "wmh2017", tuple(cases), ("FLAIR",), "wmh", **fields)


def counts(split):
    return [len(split[part]) for part in ("train", "val", "test")]


def test_sixty_scans_are_split_as_in_the_paper_and_evenly_by_site():
    split, source = choose_split(dataset(), ReproduceOptions("wmh"), WMH)
    assert counts(split) == [42, 6, 12]
    assert "42/6/12 as in the paper" in source
    assert Counter(name.split("_")[0] for name in split["test"]) == {"Utrecht": 4, "Singapore": 4, "Amsterdam": 4}


def test_of_wmh_the_training_folders_alone_are_split():
    training, test = dataset(part="training"), dataset(sites=("Test",), each=110, part="test")
    both = DataSet(training.root, "wmh2017", training.cases + test.cases, ("FLAIR",), "wmh")
    split, _ = choose_split(both, ReproduceOptions("wmh"), WMH)
    assert not any(name.startswith("Test") for names in split.values() for name in names)


def test_fewer_scans_are_split_in_proportion_and_it_is_said():
    split, source = choose_split(dataset(each=5), ReproduceOptions("wmh"), WMH)
    assert counts(split) == [10, 2, 3]
    assert "10/2/3 in the proportions of the paper's 42/6/12" in source


def test_a_split_that_comes_with_the_data_is_used():
    mine = {"train": ["A_0"], "val": ["A_1"], "test": ["A_2"]}
    split, source = choose_split(dataset(sites=("A",), each=3, split_source=mine), ReproduceOptions("wmh"), WMH)
    assert split == mine
    assert source == "the split that comes with data"


def test_another_seed_is_another_split():
    first, second = (choose_split(dataset(), ReproduceOptions("wmh", split_seed=seed), WMH)[0] for seed in (0, 1))
    assert first != second


def test_two_scans_are_no_study():
    with pytest.raises(DataError, match="2 cases with a label; expected 60 as in the paper, or 3 or more"):
        choose_split(dataset(sites=("A",), each=2), ReproduceOptions("wmh"), WMH)


@pytest.fixture
def on_disk(tmp_path):
    """A data set whose files exist, as `open_study` hashes them, and the folder of the study."""
    found = dataset(tmp_path / "data", sites=("A",), each=4)
    found.root.mkdir()
    for case in found.cases:
        for path in case.files:
            path.write_text(f"content of {path.name}")
    return found, tmp_path / "study"


def started(found, folder, *, study="wmh", **options):
    """The split of a study that is started or continued in `folder`."""
    split, source = choose_split(found, ReproduceOptions(study, **options), PROTOCOLS[study])
    open_study(folder, study, split, source, found)
    return split


def trained(folder):
    """The study has a run with a checkpoint."""
    (folder / "runs" / "u-net-64-seed0").mkdir(parents=True)
    (folder / "runs" / "u-net-64-seed0" / "last.ckpt").touch()


def test_the_split_is_written_once_and_kept(on_disk):
    found, folder = on_disk
    split = started(found, folder)
    assert json.loads((folder / "split.json").read_text()) == split
    assert started(found, folder) == split


def test_a_file_that_changed_since_the_study_began_is_named(on_disk):
    found, folder = on_disk
    started(found, folder)
    trained(folder)
    (found.root / "A_2").write_text("changed")
    with pytest.raises(DataError, match=r"data have changed since the study was started:\n  A_2 has changed"):
        started(found, folder)


def test_another_split_in_the_same_folder_is_refused(on_disk):
    found, folder = on_disk
    started(found, folder)
    trained(folder)
    with pytest.raises(DataError, match=r"test: \['A_\d'\] -> \['A_\d'\]"):
        started(found, folder, split_seed=1)


def test_the_other_study_in_the_same_folder_is_refused(on_disk):
    found, folder = on_disk
    started(found, folder)
    trained(folder)
    with pytest.raises(UsageError, match="holds the study wmh, not la"):
        started(found, folder, study="la")


def test_before_anything_is_trained_the_data_may_be_mended(on_disk):
    found, folder = on_disk
    started(found, folder)
    (found.root / "A_2").write_text("mended")
    before = (folder / "study.json").read_text()
    started(found, folder)
    assert (folder / "study.json").read_text() != before


def test_a_folder_with_tables_of_something_else_is_refused_and_stays(on_disk):
    found, folder = on_disk
    folder.mkdir()
    (folder / "table.md").write_text("another table")
    with pytest.raises(UsageError, match=r"study: holds table\.md of something else"):
        started(found, folder)
    assert [path.name for path in folder.iterdir()] == ["table.md"]


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (State(0, 90, False), "not started"),
        (State(12, 90, False), "12 of 90 epochs"),
        (State(90, 90, False), "trained, not evaluated"),
        (State(90, 90, True), "finished"),
        (State(3, 90, False, "the loss is nan"), "failed after 3 of 90 epochs: the loss is nan"),
    ],
)
def test_a_state_says_how_far_a_run_is(state, text):
    assert str(state) == text
