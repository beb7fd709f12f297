"""Whole numbers as users hand them in: Python's, NumPy's, tensors of one, and the sizes that PyTorch traces."""

import operator
from collections.abc import Mapping, Set
from typing import Any

import torch

MOST_PIXELS = 2**62  # along an axis: twice as many fit into the int64 that positions are counted in


def whole_number(value: Any) -> Any:
    """`value` as an int; a size that PyTorch holds as a symbol or, in a trace, as a tensor stays what it is.

    Raises TypeError for what is none: a fraction, also one without a rest, a truth value, text.
    """
    if isinstance(value, (int, torch.SymInt)) and not isinstance(value, bool):
        return value
    if isinstance(value, bool) or getattr(value, "dtype", None) is torch.bool or getattr(value, "ndim", 0) > 0:
        raise TypeError(f"expected a whole number, got {value!r}")
    if isinstance(value, torch.Tensor) and torch.jit.is_tracing():  # type: ignore[attr-defined]
        return value
    return operator.index(value)


def in_order(value: Any) -> tuple[Any, ...]:
    """The entries of a sequence. Raises TypeError for what has no entries, or none in an order that means anything."""
    if isinstance(value, (str, bytes, Set, Mapping)):
        raise TypeError(f"expected a sequence, got {value!r}")
    return tuple(value)


def at_least_one(name: str, value: Any) -> int:
    """The argument `name`, a width, as an int.

    Raises TypeError for what is no whole number, ValueError for one below 1 and for one that no tensor is as wide as.
    """
    expected = f"{name}: expected a whole number of at least 1 and below 2^31, got {value!r}"
    try:
        number: int = whole_number(value)
    except TypeError:
        raise TypeError(expected) from None
    if not 1 <= number < 2**31:
        raise ValueError(expected)
    return number


def pixels(name: str, value: Any, dims: int | None = None) -> tuple[int, ...]:
    """The argument `name` as whole numbers of pixels, one for each of the `dims` spatial axes, or of 2 or 3.

    Raises TypeError for what is no sequence of whole numbers, ValueError for another number of them and for a number
    beyond `MOST_PIXELS`.
    """
    axes = f"{dims} whole numbers" if dims else "2 or 3 whole numbers, (H, W) or (D, H, W)"
    expected = f"{name}: expected {axes}, one per spatial axis"
    try:
        numbers = tuple(whole_number(entry) for entry in in_order(value))
    except TypeError:
        raise TypeError(f"{expected}, got {value!r}") from None
    if len(numbers) not in ((dims,) if dims else (2, 3)):
        raise ValueError(f"{expected}, got {len(numbers)}: {numbers}")
    if any(isinstance(number, int) and abs(number) > MOST_PIXELS for number in numbers):
        raise ValueError(f"{expected} and of at most 2^62 pixels, got {numbers}")
    return numbers
