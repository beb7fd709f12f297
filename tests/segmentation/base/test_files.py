import os

import pytest

from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.base.files import (
    begins_with,
    check_file,
    check_folder,
    check_not_inputs,
    check_outputs,
    is_json_with,
    what_is_missing,
    whole_file,
)


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


def test_what_is_no_file_of_ours_is_never_taken_for_an_output(tmp_path):
    (tmp_path / "ours.json").write_text('{"format": "x", "cases": []}')
    (tmp_path / "theirs.json").write_text('{"format": "y", "cases": []}')
    os.mkfifo(tmp_path / "pipe.json")  # reading it would wait for a writer
    check = [tmp_path / "new.json", tmp_path / "ours.json"]
    check_outputs(check, lambda path: is_json_with(path, format="x", cases=...), "a list")
    for name in ("theirs.json", "pipe.json"):
        with pytest.raises(UsageError, match=f"{name}: is there already .* expected nothing there, or a list"):
            check_outputs([tmp_path / name], lambda path: is_json_with(path, format="x", cases=...), "a list")


def test_a_link_to_nothing_is_no_free_place(tmp_path):
    (tmp_path / "link.json").symlink_to("absent.json")
    with pytest.raises(UsageError, match=r"link\.json: is a link to absent\.json, where nothing is; expected nothing"):
        check_outputs([tmp_path / "link.json"], lambda path: True, "a list")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"null"])
def test_what_is_no_json_object_has_no_values(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert not is_json_with(tmp_path / "a")
    assert not begins_with(tmp_path / "a", "case,")
    assert not is_json_with(tmp_path / "absent")


def test_an_output_that_is_an_input_by_another_name_is_found(tmp_path):
    scan, copy = tmp_path / "scan.nii.gz", tmp_path / "copy.nii.gz"
    for path in (scan, copy):
        path.write_bytes(b"voxels")
    (tmp_path / "folder").symlink_to(tmp_path, target_is_directory=True)
    os.link(scan, tmp_path / "hard.nii.gz")
    (tmp_path / "soft.nii.gz").symlink_to(scan)
    check_not_inputs([copy, tmp_path / "new.nii.gz"], [scan, tmp_path / "absent.nii.gz"])
    for name in ("scan.nii.gz", "hard.nii.gz", "soft.nii.gz", "folder/scan.nii.gz", "folder/folder/hard.nii.gz"):
        with pytest.raises(UsageError, match=f"{name}: is the same file as the input {scan}"):
            check_not_inputs([copy, tmp_path / name], [scan])


def test_a_link_that_leads_nowhere_is_named_wherever_it_is_on_the_way(tmp_path):
    link = tmp_path / "run"
    assert what_is_missing(link / "last.ckpt") == ""
    link.symlink_to("moved")
    for path in (link, link / "last.ckpt", link / "deeper" / "last.ckpt"):
        assert what_is_missing(path) == f" ({link} is a link to moved, where nothing is)"
    (tmp_path / "moved").mkdir()
    assert what_is_missing(link / "last.ckpt") == ""
