"""Output files that appear whole or not at all."""

import os
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from nerd_fast.segmentation.base.errors import UsageError


@contextmanager
def whole_file(path, *, size=None):
    """Yield a temporary path in the folder of `path`, ending as `path` does; on success it becomes `path`.

    The file is on the disk before it gets its name, so that neither an exception nor a power cut leaves part of it
    there. The folder is made when missing. Raises UsageError where the file cannot be written; its message says how
    many bytes the file takes, where `size` does.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.partial.{path.name}")
    with _usage_error(path, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_leftovers(path):
    """Remove what killed processes left half written of the file at `path`."""
    path = Path(path)
    for leftover in path.parent.glob(f".*.partial.{escape(path.name)}"):
        leftover.unlink(missing_ok=True)


def check_folder(path):
    """Raise UsageError unless files can be written in the folder at `path`, which may be yet to be made.

    For a command to call before it works for minutes; it makes nothing.
    """
    path = Path(path)
    there = next(each for each in (path, *path.parents) if each.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return
    reason = "no permission" if there.is_dir() else f"{there} is a file"
    raise UsageError(f"{path}: cannot be written ({reason}), expected a folder to write to. Choose another --out")


def check_file(path):
    """Raise UsageError unless a file can be written at `path`, as `check_folder`."""
    if Path(path).is_dir():
        raise UsageError(f"{path}: cannot be written (it is a folder), expected a file. Choose another --out")
    check_folder(Path(path).parent)


@contextmanager
def _usage_error(path, size):
    try:
        yield
    except OSError as error:
        needs = "" if size is None else f", it takes {size} bytes"
        raise UsageError(
            f"{path}: cannot be written ({error.strerror or error}{needs}). "
            "Free space there or choose another output folder"
        ) from error
