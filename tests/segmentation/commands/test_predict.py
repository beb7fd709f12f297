"""predict: masks in the geometry of the input, and a rerun that makes what is missing and nothing else."""

import json
import os
import shutil
import signal

import nibabel as nib
import numpy as np
import pytest
import torch

from nerd_fast.segmentation.network import prediction
from tests.segmentation.runs_for_tests import arguments, command, in_child, refused


@pytest.fixture
def made(monkeypatch):
    """The cases whose masks are computed, in order."""
    cases, mask_of = [], prediction.mask_of

    def noted(network, prepared, options):
        cases.append(prepared.name)
        return mask_of(network, prepared, options)

    monkeypatch.setattr(prediction, "mask_of", noted)
    return cases


def test_predict_writes_masks_in_the_geometry_of_the_input(run, data, tmp_path):
    code, printed, _ = command("predict", "--run", run, "--input", data / "case04", "--out", tmp_path)
    assert code == 0
    source, mask = nib.load(data / "case04" / "FLAIR.nii.gz"), nib.load(tmp_path / "case04.nii.gz")
    assert str(tmp_path / "case04.nii.gz") in printed
    assert mask.shape == source.shape
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(mask.affine, source.affine)
    for code in ("sform_code", "qform_code"):
        assert mask.header[code] == source.header[code]


def test_predict_of_a_data_set_is_predict_of_its_cases(run, data, tmp_path):
    assert command("predict", "--run", run, "--input", data, "--out", tmp_path, "--flips")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"case0{number}.nii.gz" for number in (1, 2, 3, 4)]


@pytest.fixture(scope="module")
def flair_run(data, tmp_path_factory):
    """A run of one channel."""
    folder = tmp_path_factory.mktemp("flair") / "run"
    assert command(*arguments(data, folder, epochs=1, channels=["FLAIR"]))[0] == 0
    return folder


def test_predict_takes_a_single_image_for_a_network_of_one_channel(flair_run, data, tmp_path):
    words = ("predict", "--run", flair_run, "--out", tmp_path / "masks", "--input")
    image = data / "case04" / "FLAIR.nii.gz"
    shutil.copy(image, tmp_path / "patient.nii.gz")
    assert command(*words, image, tmp_path / "patient.nii.gz")[0] == 0
    masks = [nib.load(tmp_path / "masks" / name).get_fdata() for name in ("case04.nii.gz", "patient.nii.gz")]
    np.testing.assert_array_equal(*masks)


def test_predict_refuses_a_single_image_where_more_channels_are_read(run, data, tmp_path):
    words = ("predict", "--run", run, "--out", tmp_path / "masks", "--input", data / "case04" / "FLAIR.nii.gz")
    refused(2, *words, leaves=tmp_path / "masks", says=["FLAIR, T1"])


def test_predict_refuses_two_cases_of_one_name(run, data, tmp_path):
    words = ("predict", "--run", run, "--out", tmp_path, "--input", data / "case04", data)
    refused(2, *words, leaves=tmp_path, says=["case04"])


def test_a_rerun_makes_what_is_missing_and_leaves_the_rest_alone(run, data, tmp_path, made):
    words = ("predict", "--run", run, "--input", data, "--out", tmp_path)
    assert command(*words)[0] == 0
    kept = (tmp_path / "case01.nii.gz").stat().st_mtime_ns
    (tmp_path / "case02.nii.gz").unlink()
    made.clear()
    code, printed, _ = command(*words)
    assert code == 0
    assert made == ["case02"]
    assert f"{tmp_path / 'case01.nii.gz'}: done before" in printed
    assert (tmp_path / "case01.nii.gz").stat().st_mtime_ns == kept


def test_a_damaged_mask_is_made_again(run, data, tmp_path, made):
    words = ("predict", "--run", run, "--input", data / "case04", "--out", tmp_path)
    assert command(*words)[0] == 0
    path = tmp_path / "case04.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert command(*words)[0] == 0
    assert made == ["case04", "case04"]
    assert path.read_bytes() == whole


def other_checkpoint(run, data, words):
    path = run / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["network.final_conv.bias"] += 1
    torch.save(checkpoint, path)
    return words


def other_threshold(run, data, words):
    return (*words, "--threshold", "0.3")


def other_image(run, data, words):
    shutil.copy(data / "case03" / "FLAIR.nii.gz", data / "case04" / "FLAIR.nii.gz")
    return words


@pytest.mark.parametrize("change", [other_checkpoint, other_threshold, other_image])
def test_a_mask_made_otherwise_is_no_finished_mask(run, data, tmp_path, made, change):
    run, data = shutil.copytree(run, tmp_path / "run"), shutil.copytree(data, tmp_path / "data")
    words = ("predict", "--run", run, "--input", data / "case04", "--out", tmp_path / "masks")
    assert command(*words)[0] == 0
    path = tmp_path / "masks" / "case04.nii.gz"
    before = path.read_bytes()
    words = change(run, data, words)
    refused(2, *words, says=["case04.nii.gz", "--overwrite"])
    assert path.read_bytes() == before
    assert command(*words, "--overwrite")[0] == 0
    assert command(*words)[0] == 0
    assert made == ["case04", "case04"]


def test_nothing_is_made_where_a_file_of_somebody_else_would_be_replaced(run, data, tmp_path, made):
    shutil.copy(data / "case04" / "T1.nii.gz", tmp_path / "case04.nii.gz")
    refused(2, "predict", "--run", run, "--input", data, "--out", tmp_path, says=["case04.nii.gz"])
    assert made == []
    assert [path.name for path in tmp_path.iterdir()] == ["case04.nii.gz"]


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_an_output_that_is_the_scan_itself_is_refused(flair_run, data, tmp_path, link, overwrite):
    scan = tmp_path / "p" / "patient7.nii.gz"
    scan.parent.mkdir()
    shutil.copy(data / "case04" / "FLAIR.nii.gz", scan)
    before, out = scan.read_bytes(), scan.parent
    if link:
        out = tmp_path / "out"
        out.mkdir()
        link(scan, out / "patient7.nii.gz")
    refused(
        2, "predict", "--run", flair_run, "--input", scan, "--out", out, *overwrite, says=["same file as the input"]
    )
    assert scan.read_bytes() == before
    assert os.path.samefile(out / "patient7.nii.gz", scan)


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_the_labels_of_an_nnunet_data_set_are_not_replaced_by_masks(run, data, tmp_path, overwrite, made):
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    for number, channel in enumerate(("FLAIR", "T1")):
        shutil.copy(data / "case04" / f"{channel}.nii.gz", tmp_path / "imagesTr" / f"a_{number:04d}.nii.gz")
    label = tmp_path / "labelsTr" / "a.nii.gz"
    shutil.copy(data / "case04" / "lesion.nii.gz", label)
    about = {"channel_names": {"0": "FLAIR", "1": "T1"}, "labels": {"background": 0, "lesion": 1}}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    before = label.read_bytes()
    words = ("predict", "--run", run, "--input", tmp_path, "--out", tmp_path / "labelsTr", *overwrite)
    refused(2, *words, says=["a.nii.gz: is the same file as the input"])
    assert (label.read_bytes(), made) == (before, [])


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_a_label_that_was_not_fetched_is_not_replaced_by_a_mask(run, data, tmp_path, overwrite, made):
    label = tmp_path / "case04.nii.gz"
    label.symlink_to("../.git/annex/objects/label.nii.gz")
    words = ("predict", "--run", run, "--input", data / "case04", "--out", tmp_path, *overwrite)
    refused(2, *words, says=["case04.nii.gz: is a link to ../.git/annex/objects/label.nii.gz, where nothing is"])
    assert (label.is_symlink(), made) == (True, [])


def edit(path):
    """What a viewer does that an expert corrects a mask with: other voxels, the header as it was."""
    mask = nib.load(path)
    voxels = np.asanyarray(mask.dataobj).copy()
    voxels[0, 0, 0] = 1 - voxels[0, 0, 0]
    nib.save(nib.Nifti1Image(voxels, None, mask.header), path)


def scan_of_somebody(path):
    shutil.copy(path.parent / "scan.nii.gz", path)


@pytest.mark.parametrize("change", [edit, scan_of_somebody, lambda path: path.write_bytes(b"notes")])
def test_overwriting_replaces_only_what_was_made_here(run, data, tmp_path, made, change):
    words = ("predict", "--run", run, "--input", data / "case04", "--out", tmp_path)
    assert command(*words)[0] == 0
    shutil.copy(data / "case04" / "FLAIR.nii.gz", tmp_path / "scan.nii.gz")
    path = tmp_path / "case04.nii.gz"
    change(path)
    before = path.read_bytes()
    for overwrite in ((), ("--overwrite",)):
        refused(2, *words, *overwrite, says=["not ours, or a mask that was edited since: case04.nii.gz"])
    assert path.read_bytes() == before
    assert made == ["case04"]


def predict_and_be_killed(words):
    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    torch.set_num_threads(1)
    command(*words)


def test_a_process_killed_while_it_writes_leaves_no_mask_and_the_next_one_clears_up(run, data, tmp_path):
    words = ("predict", "--run", run, "--input", data / "case04", "--out", tmp_path)
    _, status = os.waitpid(in_child(predict_and_be_killed, words), 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    (leftover,) = tmp_path.iterdir()
    assert leftover.name.startswith(".")
    assert command(*words)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["case04.nii.gz"]
