"""Who is trained on and who is tested on: by patient, stratified by site, seeded; and the hashes of the files."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nerd_fast.segmentation.base.faults import data_error, reason_of
from nerd_fast.segmentation.data.cases import Case, DataSet
from nerd_fast.segmentation.data.json_file import read_json

PARTS = ("train", "val", "test")


def split_of(dataset: DataSet) -> dict[str, list[str]] | None:
    """The split that a data set brings along: cases of train, val and test. None where it brings none.

    Raises:
        DataError: a split that does not fit the cases.
    """
    source = dataset.split_source
    if isinstance(source, Path):
        return load_split(source, dataset.cases)
    return source and check_split(source, dataset.cases, dataset.root)


def load_split(path: str | os.PathLike, cases: Sequence[Case]) -> dict[str, list[str]]:
    """Reads `{"train": [...], "val": [...], "test": [...]}`, names of cases, and checks it against the cases.

    nnU-Net's `splits_final.json` is read too: its first fold, with the cases of the test folder as the test.

    Raises:
        DataError: not such a file; a case that is absent, listed twice or in two parts; a patient in two parts.
    """
    path = Path(path)
    content = read_json(path)
    if isinstance(content, list) and content and isinstance(content[0], dict):
        content = {**content[0], "test": [case.name for case in cases if case.part == "test"]}
    return check_split(content, cases, path)


def check_split(
    split: Mapping[str, list[str]], cases: Sequence[Case], where: str | os.PathLike
) -> dict[str, list[str]]:
    """The split with each of train, val and test, if nothing is wrong with it. Raises what `load_split` raises."""
    if not isinstance(split, Mapping) or set(split) - set(PARTS) or not all(_is_names(split[part]) for part in split):
        raise data_error(
            where,
            found=f"a split of the form {_form(split)}",
            expected='{"train": [names of cases], "val": [...], "test": [...]}',
            remedy="correct the file",
        )
    found = split_faults(split, cases)
    if found:
        raise data_error(
            where,
            found="; ".join(found),
            expected=f"each case once, of {', '.join(sorted(case.name for case in cases))}",
            remedy="correct the split",
        )
    return {part: list(split.get(part, [])) for part in PARTS}


def split_faults(split: Mapping[str, list[str]], cases: Sequence[Case]) -> list[str]:
    """What is wrong with a split, one sentence each; empty when it is sound."""
    known = {case.name: case for case in cases}
    faults = []
    absent = sorted({name for names in split.values() for name in names} - set(known))
    if absent:
        faults.append(f"cases that are not there: {', '.join(absent)}")
    for part, names in split.items():
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            faults.append(f"cases listed twice in {part}: {', '.join(twice)}")
    for kind, owner in (("cases", lambda name: name), ("patients", lambda name: known[name].patient)):
        parts = defaultdict(set)
        for part, names in split.items():
            for name in set(names) & set(known):
                parts[owner(name)].add(part)
        shared = [f"{key} ({' and '.join(sorted(found))})" for key, found in parts.items() if key and len(found) > 1]
        if shared:
            faults.append(f"{kind} in more than one part: {', '.join(sorted(shared))}")
    return faults


def make_split(
    cases: Sequence[Case],
    *,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    counts: tuple[int, int, int] | None = None,
    seed: int = 0,
) -> dict[str, list[str]]:
    """Splits the cases into train, val and test of these fractions, or exactly these `counts` of scans.

    All scans of a patient go to one part; a case of unknown patient is a patient of its own. Every site is divided in
    the same proportion. The order is that of SHA-256 of the seed and the patient: the same for ever, on every machine.
    Cases without a label are left out. Without `counts`, the labelled cases of the source's own test part, where it has
    one, are the test, and the others are divided into train and val.

    Raises:
        DataError: fewer cases than `counts`; a part that should hold a case and would hold none.
    """
    labelled = [case for case in cases if case.label is not None]
    held_out = sorted(case.name for case in labelled if case.part == "test") if counts is None else []
    if not held_out:
        return _divide(labelled, _sizes(labelled, fractions, counts), seed)
    others = [case for case in labelled if case.part != "test"]
    return {**_divide(others, _sizes(others, (*fractions[:2], 0), None), seed), "test": held_out}


def _divide(cases: Sequence[Case], sizes: Mapping[str, int], seed: int) -> dict[str, list[str]]:
    groups = defaultdict(list)
    for case in cases:
        groups[case.site or "", case.patient or f"case {case.name}"].append(case.name)
    by_site = defaultdict(list)
    for site, patient in sorted(groups, key=lambda key: _rank(seed, *key)):
        by_site[site].append((site, patient))
    # Sites in step: the n-th of a site stands where its share of the site ends, so that any cut takes an equal share.
    position = {
        key: ((index + 0.5) / len(keys), _rank(seed, *key))
        for keys in by_site.values()
        for index, key in enumerate(keys)
    }
    split = {part: [] for part in PARTS}
    for key in sorted(groups, key=position.__getitem__):
        names = groups[key]
        part = next((p for p in PARTS if len(split[p]) + len(names) / 2 <= sizes[p]), None)
        if part is None and sum(sizes.values()) == len(cases):
            part = max(PARTS, key=lambda p: sizes[p] - len(split[p]))
        if part is not None:
            split[part] += names
    empty = [part for part in PARTS if sizes[part] and not split[part]]
    if empty:
        raise data_error(
            "split",
            found=f"{len(cases)} labelled cases of {len(groups)} patients, which leave nothing for {', '.join(empty)}",
            expected=f"enough patients for parts of {', '.join(f'{sizes[p]} ({p})' for p in PARTS)} cases",
            remedy="add cases or give a split file",
        )
    return {part: sorted(names) for part, names in split.items()}


def hash_files(cases: Iterable[Case], root: str | os.PathLike = "/") -> dict[str, str]:
    """SHA-256 of each file of the cases, by its path relative to `root`. Raises DataError for a file that is absent."""
    paths = sorted({path for case in cases for path in case.files})
    return {os.path.relpath(path, root): hash_file(path) for path in paths}


def hash_file(path: str | os.PathLike) -> str:
    """SHA-256 of a file, as hexadecimal digits. Raises DataError for a file that is absent."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise data_error(
            path, found=reason_of(error), expected="a file to read", remedy="check the data set"
        ) from error


def _sizes(cases, fractions, counts) -> dict[str, int]:
    total = len(cases)
    if counts is None:
        val, test = (round(total * fraction / sum(fractions)) for fraction in fractions[1:])
        val, test = (max(n, 1) if fraction > 0 else 0 for n, fraction in zip((val, test), fractions[1:], strict=True))
        counts = (total - val - test, val, test)
    if sum(counts) > total or min(counts) < 0:
        raise data_error(
            "split",
            found=f"{total} labelled cases",
            expected=f"at least {sum(max(n, 0) for n in counts)} for parts of {counts}",
            remedy="choose smaller parts",
        )
    return dict(zip(PARTS, counts, strict=True))


def _rank(seed: int, site: str, patient: str) -> str:
    return hashlib.sha256(f"{seed}/{site}/{patient}".encode()).hexdigest()


def _is_names(names: object) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _form(split: object) -> str:
    return f"{{{', '.join(map(str, split))}}}" if isinstance(split, Mapping) else type(split).__name__
