"""Options as values of the types that their annotations say, however Python's callers hand them in."""

import os
from dataclasses import fields
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "text", NoneType: "None"}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts"}


def make_typed(options: Any) -> None:
    """Makes each field of a dataclass what its annotation says, in place.

    NumPy's numbers become Python's, paths text, tuples and arrays lists. Raises TypeError, "NAME: expected ...; found
    ...", for a value of another type or, where the field has `nargs` in its metadata, another number of values.
    """
    kinds = get_type_hints(type(options))
    for entry in fields(options):
        length, value = entry.metadata.get("nargs"), getattr(options, entry.name)
        try:
            setattr(options, entry.name, _typed(value, kinds[entry.name], length))
        except TypeError:
            expected = _described(kinds[entry.name], length)
            raise TypeError(f"{entry.name}: expected {expected}; found {value!r}") from None


def _typed(value: Any, kind: Any, length: int | None = None) -> Any:
    """`value` as one of `kind`: bool, int, float, str, None, a Literal, a list or a dict of these, or a union."""
    if get_origin(kind) in (Union, UnionType):
        for each in get_args(kind):
            try:
                return _typed(value, each, length)
            except TypeError:
                continue
        raise TypeError
    if get_origin(kind) is list:
        entries = value.tolist() if hasattr(value, "tolist") else value
        if isinstance(entries, (list, tuple, range)) and length in (None, len(entries)):
            return [_typed(entry, get_args(kind)[0]) for entry in entries]
        raise TypeError
    if get_origin(kind) is dict:
        if isinstance(value, dict):
            ours, theirs = get_args(kind)
            return {_typed(key, ours): _typed(entry, theirs) for key, entry in value.items()}
        raise TypeError
    value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value  # of NumPy or PyTorch
    if get_origin(kind) is Literal:
        if any(type(value) is type(choice) and value == choice for choice in get_args(kind)):
            return value
        raise TypeError
    if isinstance(value, os.PathLike) and kind is str:
        return os.fspath(value)
    fits = {bool: bool, int: Integral, float: Real, str: str, NoneType: NoneType}[kind]
    if not isinstance(value, fits) or (isinstance(value, bool) and kind is not bool):
        raise TypeError
    return value


def _described(kind: Any, length: int | None) -> str:
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_described(each, length) for each in get_args(kind))
    if get_origin(kind) is list:
        return f"a list of {f'{length} ' if length else ''}{_PLURALS[get_args(kind)[0]]}"
    if get_origin(kind) is dict:
        return "a dictionary"
    if get_origin(kind) is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        return f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
    return _WORDS[kind]
