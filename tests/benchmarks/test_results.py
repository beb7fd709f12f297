"""A results file is written whole, read back equal, and refused in one line when it is something else."""

import json
from pathlib import Path

import pytest

from benchmarks import device, results

SMALL = Path(__file__).parent / "small.json"


def test_what_is_written_is_read(tmp_path):
    found = results.read(SMALL)
    path = results.write(found, tmp_path / "new")
    assert path == tmp_path / "new" / "a-cpu-2-threads-2026-11-22.json"
    assert results.read(path) == found
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not a JSON file"),
        ("[]", "results of version None, expected 1"),
        ('{"benchmarks": [], "version": "5.3.1"}', "results of version 5.3.1, expected 1"),
        (None, "cannot be read"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "file.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        results.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_every_row_is_a_line_of_its_file(tmp_path):
    found = results.read(SMALL)
    lines = results.write(found, tmp_path / "r.json").read_text().splitlines()
    assert sum(line.startswith('  {"workload"') for line in lines) == len(found["heads"]) + len(found["steps"])


def test_the_description_of_this_device_names_what_a_reader_needs():
    import torch

    info = device.describe(torch.device("cpu"))
    assert json.loads(json.dumps(info)) == info
    assert info["torch"] == torch.__version__
    assert info["name"]
    assert device.file_name(info).endswith(f"-threads-{info['date']}.json")
