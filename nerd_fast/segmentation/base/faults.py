"""What is wrong with a file, in four parts: where, what was found, what was expected, what to do."""

import os
from dataclasses import dataclass

from nerd_fast.segmentation.base.errors import DataError


@dataclass(frozen=True)
class Fault:
    """The four parts of a data error; `str` gives them as one line."""

    file: str
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.found}; expected {self.expected}: {self.remedy}"


def data_error(file: str | os.PathLike, *, found: str, expected: str, remedy: str) -> DataError:
    """A DataError of one string that carries its parts in `fault`, so that a report can lay them out."""
    fault = Fault(str(file), found, expected, remedy)
    error = DataError(str(fault))
    error.fault = fault
    return error


def absent(path: str | os.PathLike, words: str = "no such file") -> str:
    """What to call a path where nothing is: a link that leads nowhere looks like a file in a listing."""
    return f"a link to {os.readlink(path)}, where nothing is" if os.path.islink(path) else words


def reason_of(error: Exception) -> str:
    """Why a file could not be read, without the path and the number that the system's own message repeats."""
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return absent(error.filename)
    return (getattr(error, "strerror", None) or str(error)).lower()


def fault_of(error: DataError) -> Fault:
    """The parts of an error; one that was not made by `data_error` goes whole into `found`."""
    return getattr(error, "fault", Fault("data set", str(error), "a data set that can be read", "see the message"))
