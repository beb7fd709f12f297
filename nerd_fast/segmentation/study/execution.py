"""`nerd-fast reproduce`: the paper's Table 1 or 2 on given data, run by run, as often as it takes.

In the folder of the study: `runs/` (a folder each, as `nerd-fast train` and `evaluate` leave it), `table.md` (results
beside the paper's, differences to the U-Net, what was chosen, what is missing), `results.csv`, `differences.csv`,
`cases.csv` (every metric of every scan), `scores.png`, `losses.png` (training loss), `missed.png` and
`over_segmented.png` (Fig. 4 and 5).
"""

import gc
import time
from dataclasses import replace
from pathlib import Path

import torch

from nerd_fast.segmentation.base.errors import CheckpointError, DataError, Interrupted, NonFiniteError, UsageError
from nerd_fast.segmentation.data.cases import WMH2017
from nerd_fast.segmentation.data.slices import common_axis, first_grids, largest_size
from nerd_fast.segmentation.data.verify import verify_dataset
from nerd_fast.segmentation.network.trained import device_of
from nerd_fast.segmentation.runs.loading import find_data
from nerd_fast.segmentation.runs.runs import LAST
from nerd_fast.segmentation.scores.scoring import check_label_2, evaluate_run
from nerd_fast.segmentation.study.output import draw_figures, write_tables
from nerd_fast.segmentation.study.protocol import PROTOCOLS, crop_size, plan, resolve
from nerd_fast.segmentation.study.study import SPLIT, choose_split, note_failure, open_study, state_of
from nerd_fast.segmentation.training.session import train_run


def carry_out(options) -> int:
    """Do what is missing of the study, and write its tables after every run.

    A run that diverges, whose checkpoint is damaged or that runs out of memory is noted and left; the others go on. The
    exit code is then 5, 4 or 2 instead of 0.

    Raises UsageError and DataError before anything is trained: for options that cannot be, for data that do not fit the
    protocol, and for a folder that holds another study or runs of other options.
    """
    runs, options, description = _prepare(options)
    states, codes = {planned: state_of(planned) for planned in runs}, []
    print("\n".join(description))
    _say(states)
    if not options.status:
        missing = [planned for planned, state in states.items() if not state.evaluated]
        codes = [_finish(planned, states, options, description) for planned in missing]
        draw_figures(options.out, states, options, again=bool(missing))
    text = write_tables(options.out, states, options, description)
    print(f"\n{text}\n{options.out}")
    return max(codes, default=0)


def _prepare(options):
    """The runs of the study, the options with nothing left open, and what there is to say about data and protocol."""
    protocol = PROTOCOLS[options.study]
    device_of(options.accelerator)  # that there is one, before anything is written
    dataset = find_data(options)
    if options.channels is None and len(dataset.channels) != len(protocol.channels):
        raise DataError(
            f"{options.data}: found the channels {', '.join(dataset.channels)}; expected {len(protocol.channels)} as "
            f"in the paper ({', '.join(protocol.channels)}). Choose with --channels, or check the folder"
        )
    if len(dataset.label_values) != 2:
        raise DataError(
            f"{options.data}: found the label values {', '.join(map(str, dataset.label_values))}; expected background "
            "and one class as in the paper. Choose with --label-values"
        )
    check_label_2(options.label_2, dataset.layout in WMH2017, options.data)
    split, source = choose_split(dataset, options, protocol)
    if not split["train"] or not split["test"]:
        raise DataError(f"{options.data}: {source} has no case to train or to test on; expected one or more of each")
    grids = first_grids(dataset.cases, dataset.channels[0])
    used = {name: grids[name] for names in split.values() for name in names}
    axis = common_axis(used, dataset.root) if options.axis is None else options.axis
    size = crop_size(options, largest_size(grids, axis))
    options = resolve(options, sum(grids[name].shape[axis] for name in split["train"]))
    runs = plan(
        options,
        size=size,
        split_file=Path(options.out) / SPLIT,
        channels=dataset.channels,
        label=dataset.label,
    )
    if not options.status and not all(state_of(planned).evaluated for planned in runs):
        _check_cases(dataset, split, options)
    open_study(options.out, options.study, split, source, dataset)
    counts = "/".join(str(len(names)) for names in split.values())
    paper = "/".join(map(str, protocol.counts))
    description = [
        f"Data in {dataset.describe()}.",
        f"Cases to train/validate/test: {counts} (paper: {paper}); {source}.",
        f"Slices: {size[0]}x{size[1]} (paper: {protocol.crop[0]}x{protocol.crop[1]}).",
    ]
    if protocol.scans_share_patients and not any(case.patient for case in dataset.cases):
        description.append(
            "The challenge has more scans than patients and no key to tell which: two scans of one patient may lie on "
            "both sides of the split."
        )
    if options.quick:
        description.append(
            f"A quick study, not the paper's: filters up to {options.filters}, {len(options.seeds)} seeds, "
            f"{options.epochs} epochs, {'every slice' if options.every == 1 else f'one slice in {options.every}'}, "
            f"batches of {options.batch_size}."
        )
    return runs, options, description


def _check_cases(dataset, split, options):
    """Raise DataError with all that is wrong with any case of the split: a night of training should not end on it."""
    cases = tuple(dataset.subset(name for names in split.values() for name in names))
    print(f"Reading all of the {len(cases)} cases once, to see that they can be studied", flush=True)
    report = verify_dataset(
        replace(dataset, cases=cases),
        split=split,
        axis=options.axis,
        percentiles=options.percentiles,
        nonfinite=options.nonfinite,
        allow_geometry_mismatch=options.allow_geometry_mismatch,
    )
    faults = [str(problem) for problem in report.errors]
    faults += [f"error: {case.name}: no label {dataset.label or ''}" for case in cases if case.label is None]
    if faults:
        raise DataError(
            f"{options.data}: cannot be studied:\n  " + "\n  ".join(faults) + "\n"
            "Mend the files, or leave the cases out with --split"
        )


def _finish(planned, states, options, description):
    """Train and evaluate one run and put its new state in `states`; returns 0, or the exit code of what stopped it."""
    number = list(states).index(planned) + 1
    print(f"\nRun {number} of {len(states)}: {planned.model}, seed {planned.seed}", flush=True)
    note_failure(planned, None)
    code, started = 0, time.perf_counter()
    try:
        if not states[planned].trained:
            planned.training.resume = (Path(planned.folder) / LAST).exists()
            train_run(planned.training)
        evaluate_run(planned.evaluation)
    except (NonFiniteError, CheckpointError, torch.OutOfMemoryError) as error:
        code = getattr(error, "exit_code", UsageError.exit_code)
        note_failure(planned, error)
        print(f"{planned.folder}: {error}", flush=True)
    except (Interrupted, KeyboardInterrupt):
        write_tables(options.out, {**states, planned: state_of(planned)}, options, description)
        raise
    gc.collect()  # a trainer and its data refer to one another, and would otherwise stay for many runs
    print(f"{time.perf_counter() - started:.0f} s", flush=True)
    states[planned] = state_of(planned)
    write_tables(options.out, states, options, description)
    return code


def _say(states):
    width = max(len(planned.model) for planned in states)
    for planned, state in states.items():
        print(f"  {planned.model:{width}}  seed {planned.seed}  {state}")
