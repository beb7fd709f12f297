"""Masks as files, and what each says of its making: that is how a rerun knows what is done, and what is not its own.

The field `descrip` of the header holds `nerd-fast mask MAKING VOXELS`, two hashes: of the checkpoint, the options and
the images, and of the voxels. A mask whose voxels have another hash was edited by somebody since.
"""

import hashlib
from enum import Enum
from pathlib import Path

import numpy as np

from nerd_fast.segmentation.base.errors import DataError
from nerd_fast.segmentation.data.grids import Grid
from nerd_fast.segmentation.data.volumes import read_grid, read_volume, write_mask

MARK = "nerd-fast mask"


class MaskState(Enum):
    """What is at the path of a mask."""

    ABSENT = "nothing"
    FINISHED = "the mask that would be made"
    DAMAGED = "a mask of ours that cannot be read"
    OTHER = "a mask of ours, made with another checkpoint, other options or of other images"
    FOREIGN = "a file that is not ours, or a mask that was edited since"


def write_made_mask(path: Path, mask: np.ndarray, like: Grid, making: str) -> None:
    """Writes a mask (X, Y, Z) as `volumes.write_mask` does; `making` is a hash of up to 32 digits."""
    write_mask(path, mask, like, description=f"{MARK} {making} {_voxel_hash(mask)}")


def state_of_mask(path: Path, making: str) -> tuple[MaskState, str]:
    """What is at `path`, where the mask of that making belongs, and a reason where it cannot be read."""
    if not path.exists():
        return MaskState.ABSENT, ""
    try:
        described = read_grid(path).header["descrip"].tobytes().rstrip(b"\0").decode("latin-1")
    except DataError as error:
        return MaskState.FOREIGN, str(error)
    if not described.startswith(f"{MARK} "):
        return MaskState.FOREIGN, ""
    hashes = described.removeprefix(f"{MARK} ").split()
    try:
        voxels = _voxel_hash(read_volume(path, nonfinite="keep").data)
    except DataError as error:
        return MaskState.DAMAGED, str(error)
    if hashes[1:] and hashes[1] != voxels:
        return MaskState.FOREIGN, ""
    return (MaskState.FINISHED if hashes == [making, voxels] else MaskState.OTHER), ""


def _voxel_hash(mask):
    values = np.ascontiguousarray(mask, dtype=np.float32)
    return hashlib.sha256(values.tobytes()).hexdigest()[:24]
