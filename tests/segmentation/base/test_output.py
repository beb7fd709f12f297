"""Output goes on, or is dropped, whatever becomes of its reader and whatever names are printed."""

import io
import os
import subprocess
import sys

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
