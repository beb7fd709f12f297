import os

import pytest

from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.base.files import check_file, check_folder, whole_file


def test_a_folder_yet_to_be_made_can_be_written_and_is_not_made_by_the_question(tmp_path):
    check_folder(tmp_path / "new" / "folder")
    check_file(tmp_path / "new" / "file.json")
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_a_folder_is_found_before_anything_is_done(tmp_path):
    (tmp_path / "file").touch()
    for check, path in ((check_folder, "file"), (check_folder, "file/in/it"), (check_file, "file/a.json")):
        with pytest.raises(UsageError, match=rf"cannot be written \({tmp_path / 'file'} is a file\)"):
            check(tmp_path / path)
    with pytest.raises(UsageError, match="it is a folder"):
        check_file(tmp_path)


def test_a_folder_without_permission_is_found_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match="no permission"):
        check_folder(tmp_path / "new")


def test_the_file_appears_under_its_name_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "mask.nii.gz"
    with whole_file(path) as temporary:
        temporary.write_text("mask")
        assert temporary.name.endswith(".nii.gz")
        assert not path.exists()
    assert path.read_text() == "mask"
    assert list(path.parent.iterdir()) == [path]


def test_a_new_file_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text("old")
    with whole_file(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text("old")

    def interrupted():
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_a_usage_error_that_names_it(tmp_path):
    (tmp_path / "out").write_text("in the way")
    with (
        pytest.raises(UsageError, match=r"out/mask.nii.gz: cannot be written"),
        whole_file(tmp_path / "out/mask.nii.gz"),
    ):
        pytest.fail("the body ran, though there is nowhere to write")


def test_a_full_disk_is_a_usage_error_and_leaves_no_file(tmp_path):
    def write():
        with whole_file(tmp_path / "mask.nii.gz"), open("/dev/full", "wb", buffering=0) as full:
            full.write(b"mask")

    with pytest.raises(UsageError, match="No space left on device"):
        write()
    assert list(tmp_path.iterdir()) == []
