"""An --out that lands on a file of somebody else is refused before anything is written, whichever command it is."""

import json
import shutil

import pytest

from tests.segmentation.runs_for_tests import arguments, command, refused


@pytest.fixture(scope="module")
def folder(tiny_runs, tmp_path_factory):
    """A copy of the data and of a run, and files that somebody keeps; tests here must leave all of it as it is."""
    folder = tmp_path_factory.mktemp("outputs")
    shutil.copytree(tiny_runs.data, folder / "data")
    shutil.copytree(tiny_runs.nerdm, folder / "run")
    kept = folder / "kept"
    for name in ("config.json", "model.safetensors", "model.pt2", "table.md", "shift.md", "notes.html", "config.yaml"):
        kept.mkdir(exist_ok=True)
        (kept / name).write_text('{"mine": 1}')
    (kept / "manifest.csv").write_text("case,FLAIR,label\na,a.nii.gz,b.nii.gz\n")
    (folder / "link.json").symlink_to(folder / "data" / "split.json")
    return folder


REFUSED = [
    ("verify --data data --out data/split.json", "data/split.json"),
    ("verify --data data --out link.json", "link.json"),
    ("verify --data data --out run/metrics_test.json", "run/metrics_test.json"),
    ("evaluate --run run --data data --out data/split.json", "data/split.json"),
    ("evaluate --run run --data data --out run", "run/metrics.csv"),
    ("evaluate --run run --data data --out kept/manifest.json", "kept/manifest.csv"),
    ("report --run run --data data --out kept/notes.html", "kept/notes.html"),
    ("report --run run --data data --out run/config.yaml", "run/config.yaml"),
    ("export --run run --out kept", "kept/model.safetensors"),
    ("diagnose --run run --data data --subset all --out kept", "kept/shift.md"),
    ("reproduce wmh --data data --quick --accelerator cpu --out data", "data/split.json"),
    ("demo --out kept", "kept/table.md"),
]


@pytest.mark.parametrize(("words", "victim"), REFUSED)
def test_a_file_of_somebody_else_is_refused_and_left_alone(folder, monkeypatch, words, victim):
    monkeypatch.chdir(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    refused(2, *words.split(), says=[victim.split("/")[-1]])
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_configuration_of_somebody_is_not_replaced_by_that_of_the_run(folder, data, tmp_path):
    (tmp_path / "config.yaml").write_text("epochs: 1\n")
    words = arguments(data, tmp_path, epochs=1)
    refused(2, words[0], "--config", tmp_path / "config.yaml", *words[1:], says=["config.yaml"])
    assert (tmp_path / "config.yaml").read_text() == "epochs: 1\n"
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", ".lock"}


def test_a_lock_of_somebody_is_not_written_to(data, tmp_path):
    (tmp_path / ".lock").write_text("mine")
    refused(2, *arguments(data, tmp_path), says=[".lock"])
    assert (tmp_path / ".lock").read_text() == "mine"


def test_what_a_command_wrote_it_writes_again(folder, data, run, tmp_path):
    for words in (
        ("verify", "--data", data, "--out", tmp_path / "report.json"),
        ("evaluate", "--run", run, "--data", data, "--out", tmp_path / "metrics.json"),
    ):
        for _ in range(2):
            code, _, errors = command(*words)
            assert code == 0, errors
    assert json.loads((tmp_path / "report.json").read_text())["ok"]


def test_the_scans_of_somebody_are_not_replaced_by_synthetic_ones(folder, tmp_path):
    scans = tmp_path / "data" / "case01"
    scans.mkdir(parents=True)
    (scans / "FLAIR.nii.gz").write_bytes(b"a patient")
    refused(2, "demo", "--out", tmp_path, "--cases", 3, says=["case01/FLAIR.nii.gz"])
    assert (scans / "FLAIR.nii.gz").read_bytes() == b"a patient"
