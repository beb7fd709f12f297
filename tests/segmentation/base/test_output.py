"""Output goes on, or is dropped, whatever becomes of its reader and whatever names are printed."""

import io
import os
import shlex
import subprocess
import sys
from contextlib import ExitStack

import pytest

from nerd_fast.segmentation.base.output import PatientOutput


def test_a_reader_that_has_gone_ends_nothing():
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as stream:
        output = PatientOutput(stream)
        assert output.write("a line\n" * 100_000) == 700_000
        output.write("another\n")
        output.flush()


def test_what_cannot_be_encoded_is_escaped():
    content = io.BytesIO()
    stream = io.TextIOWrapper(content, encoding="utf-8", errors="strict")
    output = PatientOutput(stream)
    output.write(f"{os.fsdecode(b'scan' + bytes([255]))}: done\n")
    output.flush()
    assert content.getvalue() == b"scan\\udcff: done\n"


def test_it_is_the_stream_in_all_else():
    assert PatientOutput(sys.__stdout__).fileno() == sys.__stdout__.fileno()


def test_a_command_whose_reader_has_gone_says_nothing_of_it():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "nerd_fast", "train", "--help"]
    found = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (found.returncode, found.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    ("closed", "code"),
    [
        ({"stderr": "/dev/full"}, 3),  # the message is lost, the exit code says it
        ({"stdout": "/dev/full"}, 3),
        ({"stdout": "/dev/full", "stderr": "/dev/full"}, 3),
    ],
)
def test_a_stream_that_takes_nothing_changes_no_exit_code(closed, code, tmp_path):
    with ExitStack() as files:
        streams = {name: files.enter_context(open(path, "w")) for name, path in closed.items()}
        arguments = [sys.executable, "-m", "nerd_fast", "verify", "--data", str(tmp_path / "absent")]
        assert subprocess.run(arguments, check=False, **streams).returncode == code


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_output_that_does_not_fit_is_an_error():
    with open("/dev/full", "w") as full:
        found = subprocess.run(
            [sys.executable, "-m", "nerd_fast", "doctor"], check=False, stdout=full, stderr=subprocess.PIPE
        )
    assert found.returncode == 2
    assert b"No space left on device" in found.stderr
    assert b"Traceback" not in found.stderr


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 0), (">&- 2>&-", 0)])
def test_streams_that_were_closed_change_nothing(closed, code):
    command = f"{shlex.quote(sys.executable)} -m nerd_fast doctor {closed}"
    assert subprocess.run(command, shell=True, check=False, capture_output=True).returncode == code
