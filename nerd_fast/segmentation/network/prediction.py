"""A mask for each case, in the geometry of its first channel; what is done is not done again, other files stay."""

import hashlib
import json
from pathlib import Path

import torch

from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.base.files import check_folder, check_not_dangling, check_not_inputs, remove_leftovers
from nerd_fast.segmentation.data.cases import Case, images_in
from nerd_fast.segmentation.data.headers import stem, suffix
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.data.splits import hash_file
from nerd_fast.segmentation.network.inference import mask_of
from nerd_fast.segmentation.network.mask_files import MaskState, state_of_mask, write_made_mask
from nerd_fast.segmentation.network.trained import load_run
from nerd_fast.segmentation.runs.loading import prepare


def write_masks(options) -> list[Path]:
    """Write the masks that are missing, damaged or, with `overwrite`, there already, as the `PredictOptions` say.

    Returns the paths of all masks, and says each one on standard output as it is there.

    Raises UsageError before a mask is made where one would take the place of an input or of a file that is not ours,
    and, where `overwrite` is false, of a mask that was made by another checkpoint, with other options or of other
    images.
    """
    check_folder(options.out)
    network, _, data, checkpoint = load_run(options)
    data = data.read_as(options)
    cases = {Path(options.out) / f"{case.name}.nii.gz": case for case in _input_cases(options.input, data)}
    check_not_dangling(cases)
    check_not_inputs(cases, [file for case in cases.values() for file in case.files])
    made_by = _made_by(checkpoint, data, options)
    makings = {path: _making(case, made_by) for path, case in cases.items()}
    done = _finished(makings, options.overwrite)
    for path, case in cases.items():
        if path in done:
            print(f"{path}: done before")
            continue
        remove_leftovers(path)
        prepared = prepare(case, data, labelled=False, whole=options.window is not None)
        mask = _label_values(prepared.geometry.paste(mask_of(network, prepared, options)), data)
        write_made_mask(path, mask, prepared.volume, makings[path])
        print(path)
    return list(cases)


def _finished(makings, overwrite):
    """The paths of masks that need not be made; UsageError for files that may not be replaced."""
    states = {path: state_of_mask(path, making) for path, making in makings.items()}
    for state, reason in states.values():
        if state is MaskState.DAMAGED:
            print(f"{reason}; it is made again")
    refused = [(MaskState.FOREIGN, "They are left as they are: choose another --out")]
    if not overwrite:
        refused.append((MaskState.OTHER, "Use --overwrite, or choose another --out"))
    for kind, remedy in refused:
        names = ", ".join(path.name for path, (state, _) in states.items() if state is kind)
        if names:
            raise UsageError(
                f"--out {next(iter(makings)).parent}: found {kind.value}: {names}; expected none but the masks of this "
                f"command. {remedy}"
            )
    return set() if overwrite else {path for path, (state, _) in states.items() if state is MaskState.FINISHED}


def _made_by(checkpoint, data, options):
    """A hash of the checkpoint file and of all that changes a mask besides the images."""
    chosen = {name: getattr(options, name) for name in ("threshold", "flips", "window")}
    reading = {name: getattr(data, name) for name in ("nonfinite", "allow_geometry_mismatch")}
    return _hash(hash_file(checkpoint), chosen, reading)


def _making(case, made_by):
    images = [(name, hash_file(path), case.component.get(name)) for name, path in case.channels.items()]
    return _hash(made_by, images)


def _hash(*content):
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _label_values(mask, data):
    """Class numbers as the values that the label files use."""
    return torch.tensor(data.label_values, dtype=torch.uint8)[torch.from_numpy(mask).long()].numpy()


def _input_cases(inputs, data):
    cases = [case for item in inputs for case in _cases_of_input(Path(item), data)]
    names = [case.name for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"--input: several cases are named {', '.join(twice)}; expected one mask for each name")
    return cases


def _cases_of_input(path, data):
    if suffix(path) and not path.is_dir():
        if len(data.channels) != 1:
            raise UsageError(
                f"--input {path}: one image, but the network reads {', '.join(data.channels)}. "
                "Name a folder that holds a file of each name"
            )
        name = stem(path) if stem(path) != data.channels[0] else path.resolve().parent.name
        return [Case(name, {data.channels[0]: path})]
    if path.is_dir() and set(data.channels) <= set(images := images_in(path)):
        return [Case(path.resolve().name, {name: images[name] for name in data.channels})]
    return find_cases(path, channels=data.channels).cases
