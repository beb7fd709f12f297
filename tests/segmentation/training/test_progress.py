"""Within an epoch a terminal shows how far it is; a file gets nothing of it."""

import contextlib
import io

from nerd_fast.segmentation.commands.train import train
from tests.segmentation.runs_for_tests import tiny_config


class Terminal(io.StringIO):
    def isatty(self):
        return True


def errors_of(stream, data, out):
    with contextlib.redirect_stderr(stream):
        train(tiny_config(data, out, epochs=2))
    return stream.getvalue()


def test_a_terminal_shows_the_first_batch_of_each_epoch_and_then_clears_the_line(data, tmp_path):
    said = errors_of(Terminal(), data, tmp_path / "run")
    for epoch in (1, 2):
        assert f"\repoch {epoch}/2  batch 1/3  loss " in said
    assert said.endswith("\r\x1b[K")


def test_a_file_gets_no_line_of_progress(data, tmp_path):
    assert "\r" not in errors_of(io.StringIO(), data, tmp_path / "run")
