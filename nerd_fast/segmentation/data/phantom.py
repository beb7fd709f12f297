"""Synthetic T1 and FLAIR heads with white-matter lesions: a data set to try everything on, made in seconds.

What makes it a task for position: bright FLAIR spots are lesions in the white matter, close to the ventricles and
beneath the cortex, and are not lesions in the cortex itself and in the choroid plexus, where T1 shows the same grey.
"""

import gzip
import json
import os
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.base.files import whole_file

CHANNELS = ("FLAIR", "T1")
LABEL = "lesion"
SPACING = (2.0, 2.0, 5.0)
"""mm; a coarse clinical scan, so that a head fits 96x112 pixels."""

_HEAD = np.array([76.0, 96.0, 88.0])  # half axes in mm; the centre lies at the height of the ventricles
_LOWEST = -18.0  # mm, the bottom slice; from here slices go up towards the vertex
#                FLAIR, T1
_AIR = (0.02, 0.02)
_SCALP = (0.62, 0.95)
_SKULL = (0.10, 0.14)
_FLUID = (0.10, 0.22)
_GREY = (0.58, 0.58)
_WHITE = (0.46, 0.86)
_BRIGHT = (0.92, 0.58)  # lesions and their false friends alike


def write_phantom(
    folder: str | os.PathLike,
    *,
    cases: int = 12,
    shape: tuple[int, int, int] = (96, 112, 12),
    seed: int = 0,
    spacing: tuple[float, float, float] = SPACING,
) -> Path:
    """Writes heads as `<case>/FLAIR.nii.gz`, `T1.nii.gz`, `lesion.nii.gz` with `split.json`; returns the folder.

    `shape` is (X, Y, Z) in voxels of `spacing` mm; a field smaller than the head shows a part of it. A quarter of the
    cases is the test, a twelfth (at least one) the validation. The same arguments write the same bytes, and leave alone
    what they find written.

    Raises:
        ValueError: fewer than three cases.
        UsageError: the folder holds files of other names or of other content, or cannot be written.
    """
    if cases < 3:
        raise ValueError(f"cases is {cases}; expected 3 or more, one each to train, validate and test")
    folder = Path(folder)
    names = [f"case{number + 1:02d}" for number in range(cases)]
    others = sorted({path.name for path in folder.iterdir()} - {*names, "split.json"}) if folder.is_dir() else []
    if others:
        raise UsageError(f"{folder}: holds {', '.join(others[:5])}; expected an empty or new folder: choose another")
    test, val = max(cases // 4, 1), max(cases // 12, 1)
    train = cases - test - val
    split = {"train": names[:train], "val": names[train : train + val], "test": names[train + val :]}
    _write(folder / "split.json", (json.dumps(split, indent=1) + "\n").encode())
    for number, name in enumerate(names):
        images = make_head(np.random.default_rng([seed, number]), shape, spacing)
        for image, data in images.items():
            _write(folder / name / f"{image}.nii.gz", _nifti(data, spacing))
    return folder


def make_head(
    rng: np.random.Generator, shape: tuple[int, int, int], spacing: tuple[float, float, float] = SPACING
) -> dict[str, np.ndarray]:
    """One head, (X, Y, Z) in RAS orientation: FLAIR and T1 as int16, the lesion mask as uint8."""
    space = _Space(rng, shape, spacing)
    anatomy = _anatomy(space)
    lesion, friends = _spots(space, anatomy)
    images = {LABEL: (lesion > 0.5).astype(np.uint8)}
    for index, channel in enumerate(CHANNELS):
        image = np.full(shape, _AIR[index])
        for tissue, share in anatomy.layers():
            image += share * (tissue[index] - image)
        image *= 1 + 0.05 * space.noise(6)
        image += np.maximum(lesion, friends) * (_BRIGHT[index] - image)
        images[channel] = _scan(space, image)
    return images


@dataclass
class _Space:
    """Positions in mm from the centre of the head, and the randomness of one case."""

    rng: np.random.Generator
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]

    def __post_init__(self):
        starts = [-(n - 1) / 2 * s for n, s in zip(self.shape[:2], self.spacing[:2], strict=True)] + [_LOWEST]
        axes = [start + np.arange(n) * s for start, n, s in zip(starts, self.shape, self.spacing, strict=True)]
        self.x, self.y, self.z = np.meshgrid(*axes, indexing="ij")

    def noise(self, scale: float) -> np.ndarray:
        """A smooth random field of zero mean and unit deviation whose bumps are about `scale` mm wide."""
        field = gaussian_filter(self.rng.standard_normal(self.shape), [scale / s for s in self.spacing], mode="wrap")
        return (field - field.mean()) / field.std()

    def inside(self, depth: np.ndarray) -> np.ndarray:
        """The share of a voxel within a shape, from the depth in mm below its surface (negative outside)."""
        return np.clip(0.5 + depth / self.spacing[0], 0, 1)


@dataclass
class _Anatomy:
    """Depth in mm below the surface of the head, the brain and the white matter, and what lies within."""

    space: _Space
    head: np.ndarray
    brain: np.ndarray
    white: np.ndarray
    ventricles: np.ndarray
    nuclei: np.ndarray

    def layers(self):
        """Tissues from the outside in, each with its share of every voxel."""
        inside = self.space.inside
        yield _SCALP, inside(self.head)
        yield _SKULL, inside(self.head - 6)
        yield _FLUID, inside(self.head - 13)
        yield _GREY, inside(self.brain)
        yield _WHITE, inside(self.white)
        yield _GREY, inside(self.nuclei)
        yield _FLUID, inside(self.ventricles)


def _anatomy(space: _Space) -> _Anatomy:
    rng, x, y, z = space.rng, space.x, space.y, space.z
    tilt, shift = rng.normal(0, 0.03), rng.normal(0, 2, 2)
    x, y = x - shift[0] + tilt * y, y - shift[1] - tilt * x
    half = _HEAD * rng.uniform(0.93, 1.02, 3)
    taper = 1 - 0.12 * np.clip(y / half[1], -1, 1)  # a forehead is narrower than the back of the head
    radius = np.sqrt((x / (half[0] * taper)) ** 2 + (y / half[1]) ** 2 + (z / half[2]) ** 2)
    head = (1 - radius) * half[0] + 1.0 * space.noise(30)
    # Zero crossings of a smooth field meander as sulci do; |field| times its scale is about the distance to them in mm.
    sulcus = 7 * np.abs(space.noise(5)) + 0.7 * np.clip(head - 23 + 5 * space.noise(10), 0, None)
    fissure = np.abs(x + space.noise(18)) + np.clip(0.4 * (34 - np.abs(y)), 0, 20) * (z < 42)
    surface = head - 14 + 0.8 * space.noise(5)
    brain = np.minimum(surface, np.minimum(sulcus - 0.7, fissure - 0.7))
    white = np.minimum(surface - 5.5 + space.noise(5), np.minimum(sulcus - 4.2, fissure - 4.5))
    ventricles = _ventricles(space, x, y, z)
    nuclei = np.maximum(
        _depth((np.abs(x) - 26, y - 4, z + 4), (9, 17, 14)),  # putamen
        _depth((np.abs(x) - 10, y + 14, z + 4), (9, 13, 12)),  # thalamus
    )
    return _Anatomy(space, head, brain, white, ventricles, nuclei)


def _ventricles(space: _Space, x, y, z) -> np.ndarray:
    size = space.rng.uniform(0.8, 1.35)
    third = _depth((x, y + 6, z + 8), (2.5, 14, 12))
    bend = 5 + 6 * size + 0.008 * (y - 4) ** 2 * (y < 4) + 0.25 * np.clip(y - 12, 0, None)  # horns spread apart
    lateral = _depth((np.abs(x) - bend, y + 4, z - 12), (5 * size, 36 + 3 * size, 13 * size))
    return np.maximum(third, lateral)


def _depth(offsets, radii) -> np.ndarray:
    """Depth in mm below the surface of an ellipsoid, about, from the offsets to its centre."""
    return (1 - np.sqrt(sum((offset / radius) ** 2 for offset, radius in zip(offsets, radii, strict=True)))) * min(
        radii
    )


def _spots(space: _Space, anatomy: _Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """Shares of every voxel held by lesions and by their false friends."""
    rng = space.rng
    tissue = np.minimum(anatomy.white, -anatomy.ventricles)
    away = np.minimum(anatomy.white, -anatomy.nuclei - 2)
    places = (
        (rng.integers(4, 9), (anatomy.ventricles > -7) & (anatomy.ventricles < -1) & (away > 2), (4, 11)),
        (rng.integers(5, 10), (away > 0.5) & (away < 4) & (anatomy.ventricles < -12), (3, 7)),
        (rng.integers(3, 7), (away > 7) & (anatomy.ventricles < -12), (3, 8)),
    )
    lesion = _blobs(space, places) * space.inside(tissue)
    cortex = (anatomy.brain > 1) & (anatomy.white < -1) & (anatomy.head < 26)
    plexus = (anatomy.ventricles > 1.5) & (space.y < -8)
    friends = _blobs(space, ((rng.integers(10, 16), cortex, (3, 6)), (2, plexus, (2.5, 4))))
    inside = space.inside(anatomy.brain)
    return lesion * inside, friends * inside * (1 - space.inside(anatomy.white) * space.inside(-anatomy.ventricles))


def _blobs(space: _Space, places) -> np.ndarray:
    depth = np.full(space.shape, -np.inf)
    for count, where, (small, large) in places:
        choices = np.argwhere(where)
        for index in space.rng.integers(0, len(choices), count) if len(choices) else ():
            voxel = tuple(choices[index])
            offsets = [axis - axis[voxel] for axis in (space.x, space.y, space.z)]
            depth = np.maximum(depth, _depth(offsets, space.rng.uniform(small, large, 3)))
    return space.inside(depth + 0.7 * space.noise(4))


def _scan(space: _Space, image: np.ndarray) -> np.ndarray:
    """What a scanner makes of it: blur, a smooth bias of some 10 %, Rician noise, an arbitrary gain; int16."""
    rng = space.rng
    blurred = gaussian_filter(image, [0.8 / s for s in space.spacing]) * np.exp(0.1 * space.noise(60))
    noise = 0.025 * rng.standard_normal((2, *space.shape))
    magnitude = np.hypot(blurred + noise[0], noise[1])
    return np.rint(magnitude * rng.uniform(600, 1400)).astype(np.int16)


def _nifti(data: np.ndarray, spacing: tuple[float, float, float]) -> bytes:
    """Stored as scanners often do, the first axis to the left of the patient."""
    affine = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
    affine[:3, 3] = [(n - 1) / 2 * s * sign for n, s, sign in zip(data.shape, spacing, (1, -1, 0), strict=True)]
    affine[2, 3] = _LOWEST
    image = nib.Nifti1Image(data[::-1], affine)
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)


def _write(path: Path, content: bytes) -> None:
    """Somebody's scans may lie under the same names: what is there is never replaced."""
    if path.exists():
        if path.is_file() and path.read_bytes() == content:
            return
        raise UsageError(f"{path}: holds other data than these options make: choose another folder")
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
