"""A mask for each case, in the geometry of its first channel; what is done is not done again.

The field `descrip` of a mask's header says what it was made of: a hash over the checkpoint, the options that change a
mask, and the images. A mask is done when it can be read to its end and that hash is the one it would get now.
"""

import hashlib
import json
from pathlib import Path

import torch

from nerd_fast.segmentation.base.errors import DataError, UsageError
from nerd_fast.segmentation.base.files import check_folder, remove_leftovers
from nerd_fast.segmentation.data.cases import Case, images_in
from nerd_fast.segmentation.data.headers import stem, suffix
from nerd_fast.segmentation.data.layouts import find_cases
from nerd_fast.segmentation.data.splits import hash_file
from nerd_fast.segmentation.data.volumes import read_volume, write_mask
from nerd_fast.segmentation.network.inference import mask_of
from nerd_fast.segmentation.network.trained import load_run
from nerd_fast.segmentation.runs.loading import prepare


def write_masks(options) -> list[Path]:
    """Write the masks that are missing, damaged or, with `overwrite`, there already, as the `PredictOptions` say.

    Returns the paths of all masks, and says each one on standard output as it is there.

    Raises UsageError before a mask is made where one is there that was made by another checkpoint, with other options
    or of other images, and `overwrite` is false.
    """
    check_folder(options.out)
    network, _, data, checkpoint = load_run(options)
    data = data.read_as(options)
    made_by = _made_by(checkpoint, data, options)
    cases = {Path(options.out) / f"{case.name}.nii.gz": case for case in _input_cases(options.input, data)}
    done = set() if options.overwrite else _done(cases, made_by, data)
    for path, case in cases.items():
        if path in done:
            print(f"{path}: done before")
            continue
        remove_leftovers(path)
        prepared = prepare(case, data, labelled=False, whole=options.window is not None)
        mask = _label_values(prepared.geometry.paste(mask_of(network, prepared, options)), data)
        write_mask(path, mask, prepared.volume, description=_description(case, made_by))
        print(path)
    return list(cases)


def _done(cases, made_by, data):
    """The paths of finished masks; UsageError for masks that were made otherwise."""
    found = {path: _description_in(path) for path in cases if path.exists()}
    whole = {path: text for path, text in found.items() if text is not None}
    done = {path for path, text in whole.items() if text == _description(cases[path], made_by)}
    others = ", ".join(path.name for path in whole if path not in done)
    if others:
        raise UsageError(
            f"--out {next(iter(cases)).parent}: found masks made with another checkpoint, other options or other "
            f"images: {others}; expected none but those of this command. Use --overwrite, or choose another --out"
        )
    return done


def _made_by(checkpoint, data, options):
    """A hash of the checkpoint file and of all that changes a mask besides the images."""
    chosen = {name: getattr(options, name) for name in ("threshold", "flips", "window")}
    reading = {name: getattr(data, name) for name in ("nonfinite", "allow_geometry_mismatch")}
    return _hash(hash_file(checkpoint), chosen, reading)


def _description(case, made_by):
    images = [(name, hash_file(path), case.component.get(name)) for name, path in case.channels.items()]
    return f"nerd-fast mask {_hash(made_by, images)}"


def _description_in(path):
    """What the header of a mask says of its making, or None where the file is damaged."""
    try:
        header = read_volume(path, nonfinite="keep").header
    except DataError as error:
        print(f"{error}; it is made again")
        return None
    return header["descrip"].tobytes().rstrip(b"\0").decode("latin-1")


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
