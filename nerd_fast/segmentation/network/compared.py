"""Several runs side by side: their networks, and cases that all of them can be shown."""

import os
from argparse import Namespace
from pathlib import Path

from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.network.trained import load_run
from nerd_fast.segmentation.runs.loading import cases_named, find_data_of


def names_of_runs(folders):
    """{name: folder}, the name being that of the folder. Raises UsageError where two are called the same."""
    # What is no text in a name is escaped, for names are drawn and written into pages.
    names = [os.fsencode(Path(folder).resolve().name).decode("utf-8", "backslashreplace") for folder in folders]
    if len(set(names)) < len(names):
        raise UsageError(f"--run: expected folders of different names; found {', '.join(names)}")
    return dict(zip(names, folders, strict=True))


def load_networks(runs, *, checkpoint="last", accelerator="auto"):
    """{name: network} of the runs {name: folder}, and their common `RunData`.

    `checkpoint` is "best" or "last", for all runs or as {name: checkpoint}.
    Raises CheckpointError for a run that cannot be read, UsageError for runs of different data: one preparation of a
    scan could not serve them all.
    """
    networks, data = {}, None
    for name, folder in runs.items():
        which = checkpoint if isinstance(checkpoint, str) else checkpoint[name]
        options = Namespace(run=folder, checkpoint=which, accelerator=accelerator)
        networks[name], _, found, _ = load_run(options)
        data = data or found
        if lines := found.differences(data):
            raise UsageError(
                f"--run: {folder} was not trained on the data of {next(iter(runs.values()))}:\n  "
                + "\n  ".join(lines)
                + "\nCompare runs of the same data, split and slice size"
            )
    return networks, data


def cases_of_run(folder, layout, data, names):
    """The cases of these names in the data set at `folder`, read as those of the run were; `data` is its `RunData`.

    Raises DataError where one is missing or there is no name at all.
    """
    return cases_named(find_data_of(data, folder, layout), names, "the data that the run was trained on")
