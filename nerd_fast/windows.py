"""Where features lie: one window of one image for the whole batch, or one for each of its samples."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from nerd_fast.distances import resolve_window
from nerd_fast.integers import pixels

Position = Sequence[int]
Positions = Position | Sequence[Position] | Tensor
"""One position, (r, c) or (k, r, c), or one per sample: a sequence of B of them, or an integer tensor (B, d)."""

Window = tuple[tuple[int, ...], tuple[int, ...]]  # origin, extent


def apply_in_windows(
    apply: Callable[[Tensor, tuple[int, ...], tuple[int, ...]], Tensor],
    x: Tensor,
    origin: Positions | None,
    extent: Positions | None,
) -> Tensor:
    """`apply(x, origin, extent)`, once for each window there is in the batch, with its samples in their order.

    x (B, C, *spatial). Samples of equal windows go into one call. Memory formats are kept, features are copied only
    where samples of one window stand apart in the batch, and gradients are those of the separate calls.

    Raises ValueError or TypeError for what `windows_of` refuses.
    """
    if origin is None and extent is None:
        whole = tuple(x.shape[2:])
        return apply(x, (0,) * len(whole), whole)
    windows = windows_of(x, origin, extent)
    runs: list[tuple[Window, int]] = []  # of neighbouring samples: their window and how many they are
    for window in windows:
        if runs and runs[-1][0] == window:
            runs[-1] = (window, runs[-1][1] + 1)
        else:
            runs.append((window, 1))
    if len(runs) == 1:
        return apply(x, *runs[0][0])
    lengths = [length for _, length in runs]
    parts = x.split(lengths)
    results: list[Any] = [None] * len(runs)
    for first, (window, _) in enumerate(runs):
        if results[first] is not None:
            continue
        equal = [number for number, (other, _) in enumerate(runs) if other == window]
        together = parts[first] if len(equal) == 1 else torch.cat([parts[number] for number in equal])
        for number, result in zip(
            equal, apply(together, *window).split([lengths[number] for number in equal]), strict=True
        ):
            results[number] = result
    return torch.cat(results)


def windows_of(x: Tensor, origin: Positions | None, extent: Positions | None) -> list[Window]:
    """The windows of the samples of x (B, C, *spatial): one for all of them, or B.

    Raises ValueError or TypeError unless origin and extent are a position for the batch or one for each sample, and
    every window lies in its image.
    """
    origins, extents = (
        positions(name, value, x.dim() - 2, x.shape[0]) for name, value in (("origin", origin), ("extent", extent))
    )
    if isinstance(origins, list) or isinstance(extents, list):
        samples = len(origins if isinstance(origins, list) else extents or ())
        of_samples = zip(_for_each(origins, samples), _for_each(extents, samples), strict=True)
        windows = [resolve_window(x.shape[2:], *places, sample) for sample, places in enumerate(of_samples)]
        return windows or [resolve_window(x.shape[2:], None, None)]
    return [resolve_window(x.shape[2:], origins, extents)]


def positions(
    name: str, value: Positions | None, dims: int, samples: int | None = None
) -> tuple[int, ...] | list[tuple[int, ...]] | None:
    """The argument `name` as a position (tuple) for the batch or as a list of one for each sample; None stays None.

    A tensor is read, which makes a CPU wait for a GPU that it lies on; while PyTorch compiles its values are not known.
    Raises ValueError or TypeError for what is neither, and where there are `samples` and not as many positions.
    """
    if value is None:
        return None
    if isinstance(value, Tensor) and torch.compiler.is_compiling():
        raise TypeError(
            f"{name}: the values of a tensor are not known while PyTorch compiles or exports; pass {name}.tolist(), "
            "made outside of what is compiled"
        )
    if hasattr(value, "tolist"):  # tensors and NumPy's arrays
        value = value.tolist()
    entries = tuple(value) if isinstance(value, (list, tuple)) else None
    if entries is not None and not any(_is_sequence(entry) for entry in entries) and (entries or samples):
        return pixels(name, entries, dims)
    if entries is None or not all(_is_sequence(entry) for entry in entries):
        raise TypeError(_expected(name, dims, samples, value))
    if samples is not None and len(entries) != samples:
        raise ValueError(_expected(name, dims, samples, f"{len(entries)} positions"))
    return [pixels(f"{name}[{sample}]", entry, dims) for sample, entry in enumerate(entries)]


def _is_sequence(entry: Any) -> bool:
    return isinstance(entry, (list, tuple)) or (not isinstance(entry, int) and getattr(entry, "ndim", 0) > 0)


def _for_each(places: tuple[int, ...] | list[tuple[int, ...]] | None, samples: int) -> list[Any]:
    return places if isinstance(places, list) else [places] * samples


def _expected(name: str, dims: int, samples: int | None, found: Any) -> str:
    axes = "(r, c)" if dims == 2 else "(k, r, c)"
    each = "one per sample" if samples is None else f"one for each of the {samples} samples of x"
    shape = f"(B, {dims})" if samples is None else f"({samples}, {dims})"
    return (
        f"{name}: expected one position {axes} for the whole batch, or {each}, as a list of tuples or an integer "
        f"tensor {shape}; got {found if isinstance(found, str) else repr(found)}"
    )
