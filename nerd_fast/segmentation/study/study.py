"""A study on the disk: its data and split, written once, and the state of each of its runs, read from their files."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from nerd_fast.segmentation.base.errors import DataError, UsageError
from nerd_fast.segmentation.base.files import is_json_with, whole_file
from nerd_fast.segmentation.data.splits import hash_files, load_split, make_split, split_of
from nerd_fast.segmentation.runs.runs import LAST, METRICS, config_in
from nerd_fast.segmentation.scores.evaluation import read_results

PICTURES = ("scores.png", "losses.png", "missed.png", "over_segmented.png")
RESULTS = ("table.md", "results.csv", "differences.csv", "cases.csv", *PICTURES)
STUDY, SPLIT, FAILURE = "study.json", "split.json", "failure.txt"
SCORING = ("threshold", "flips", "connectivity", "label_2", "score_in_crop")


@dataclass(frozen=True)
class State:
    """How far a run is: epochs trained, whether its test metrics are there, and why it failed where it did."""

    epochs: int
    of: int
    evaluated: bool
    failure: str | None = None

    @property
    def trained(self):
        return self.epochs >= self.of

    def __str__(self):
        if self.evaluated:
            return "finished"
        if self.failure:
            return f"failed after {self.epochs} of {self.of} epochs: {self.failure}"
        if self.trained:
            return "trained, not evaluated"
        return f"{self.epochs} of {self.of} epochs" if self.epochs else "not started"


def choose_split(dataset, options, protocol):
    """The split of a study and a sentence that says where it comes from.

    The file asked for, else that of the data, else a new one by patient and site: of the paper's sizes where there are
    as many labelled scans or more, in the paper's proportions where there are fewer. Of WMH scans the paper took the 60
    of the training folders.
    """
    if options.split:
        return load_split(options.split, dataset.cases), f"the split in {options.split}"
    split = split_of(dataset)
    if split:
        return split, f"the split that comes with {dataset.root}"
    cases = [case for case in dataset.cases if case.label is not None]
    training = [case for case in cases if case.part != "test"]
    if len(cases) > protocol.cases and len(training) >= protocol.cases:
        cases = training
    if len(cases) < 3:
        raise DataError(
            f"{dataset.root}: {len(cases)} cases with a label; expected {protocol.cases} as in the paper, or 3 or more."
            " Add cases, or name a --split"
        )
    parts = "/".join(map(str, protocol.counts))
    if len(cases) >= protocol.cases:
        chosen = make_split(cases, counts=protocol.counts, seed=options.split_seed)
        return chosen, f"a new split {parts} as in the paper, seed {options.split_seed}"
    chosen = make_split(cases, fractions=protocol.counts, seed=options.split_seed)
    found = "/".join(str(len(names)) for names in chosen.values())
    return chosen, f"a new split {found} in the proportions of the paper's {parts}, seed {options.split_seed}"


def open_study(folder, study, split, source, dataset):
    """Write split and hashes of the data, or compare them with what is there.

    `source` says where the split comes from. Raises DataError where the data or the split have changed since the first
    run of the study was started, UsageError where the folder holds the other study or the results of something else.
    """
    folder = Path(folder)
    files = hash_files(dataset.subset(name for names in split.values() for name in names), dataset.root)
    content = {"study": study, "source": source, "split": split, "files": files}
    others = [name for name in (STUDY, SPLIT, *RESULTS) if (folder / name).exists()]
    if others and not is_json_with(folder / STUDY, study=..., split=..., files=...):
        raise UsageError(f"{folder}: holds {', '.join(others)} of something else than a study. Choose another --out")
    if (folder / STUDY).exists() and any(folder.glob(f"runs/*/{LAST}")):
        _compare(folder / STUDY, content)
    else:
        _write_json(folder / SPLIT, split)
        _write_json(folder / STUDY, content)


def state_of(planned):
    """The `State` of a run. Raises UsageError where its folder holds a run of other options."""
    folder = Path(planned.folder)
    total = planned.training.epochs
    failure = (folder / FAILURE).read_text(encoding="utf-8").strip() if (folder / FAILURE).exists() else None
    if not (folder / LAST).exists():
        return State(0, total, False, failure)
    done = _epochs_in(folder / METRICS)
    differences = planned.training.differences(config_in(folder))
    if differences:
        raise UsageError(
            f"{folder}: holds a run of other options:\n  " + "\n  ".join(differences) + "\nChoose another --out"
        )
    evaluated = done >= total and _is_scored(planned)
    return State(done, total, evaluated, failure)


def rows_of(planned):
    """The evaluation of a finished run, as `evaluation.read_results` reads it."""
    return read_results(metrics_file(planned))


def metrics_file(planned):
    """Where the test metrics of a run are."""
    return Path(planned.folder) / f"metrics_{planned.evaluation.subset}.json"


def note_failure(planned, error):
    """Leave the reason why a run failed in its folder, for `state_of` to find; None removes it."""
    path = Path(planned.folder) / FAILURE
    if error is None:
        path.unlink(missing_ok=True)
        return
    with whole_file(path) as temporary:
        temporary.write_text(" ".join(str(error).split()) + "\n", encoding="utf-8")  # one line, for a table


def _is_scored(planned):
    if not metrics_file(planned).exists():
        return False
    header, wanted = rows_of(planned)["header"], planned.evaluation
    return header["checkpoint"] == f"{wanted.checkpoint}.ckpt" and all(
        header[name] == getattr(wanted, name) for name in SCORING
    )


def _epochs_in(path):
    if not path.exists():
        return 0
    with open(path, newline="", encoding="utf-8") as file:
        return max((int(row["epoch"]) for row in csv.DictReader(file)), default=0)


def _compare(path, content):
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({error}). Choose another --out") from error
    if before.get("study") != content["study"]:
        raise UsageError(f"{path}: holds the study {before.get('study')}, not {content['study']}. Choose another --out")
    splits = [(part, before["split"].get(part), names) for part, names in content["split"].items()]
    lines = [f"{part}: {was} -> {names}" for part, was, names in splits if was != names]
    old, new = before["files"], content["files"]
    lines += [f"{name} has changed" for name in sorted(old.keys() & new.keys()) if old[name] != new[name]]
    lines += [f"{name} is gone" for name in sorted(old.keys() - new.keys())]
    lines += [f"{name} is new" for name in sorted(new.keys() - old.keys())]
    if lines:
        raise DataError(
            f"{path}: the data have changed since the study was started:\n  " + "\n  ".join(lines) + "\n"
            "Restore them, or choose another --out"
        )


def _write_json(path, content):
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
