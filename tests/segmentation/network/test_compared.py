"""Runs side by side have names that can be drawn, written and told apart."""

import os

import pytest

from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.network.compared import names_of_runs


def test_runs_of_one_name_are_refused():
    with pytest.raises(UsageError, match="folders of different names"):
        names_of_runs(["a/run", "b/run"])


def test_a_name_that_is_not_text_is_escaped():
    folder = os.fsdecode(b"runs/nerdm\xff")
    assert names_of_runs([folder]) == {"nerdm\\xff": folder}
