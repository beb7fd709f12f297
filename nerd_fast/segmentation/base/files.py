"""Output files that appear whole or not at all, and never in the place of a file that is not ours."""

import json
import os
from collections.abc import Callable, Iterable
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from nerd_fast.segmentation.base.errors import UsageError
from nerd_fast.segmentation.base.faults import absent


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
    for leftover in path.parent.glob(f".[0-9]*.partial.{escape(path.name)}"):
        leftover.unlink(missing_ok=True)


def check_folder(path):
    """Raise UsageError unless files can be written in the folder at `path`, which may be yet to be made.

    For a command to call before it works for minutes; it makes nothing.
    """
    path = Path(path)
    there = next(each for each in (path, *path.parents) if os.path.lexists(each))
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return
    reason = "no permission" if there.is_dir() else f"{there} is {'a file' if there.exists() else absent(there)}"
    raise UsageError(f"{path}: cannot be written ({reason}), expected a folder to write to. Choose another --out")


def check_file(path):
    """Raise UsageError unless a file can be written at `path`, as `check_folder`."""
    if Path(path).is_dir():
        raise UsageError(f"{path}: cannot be written (it is a folder), expected a file. Choose another --out")
    check_not_dangling([path])
    check_folder(Path(path).parent)


def check_not_dangling(paths: Iterable[str | os.PathLike]) -> None:
    """Raise UsageError where a path is a link to nothing, such as git-annex leaves for a file yet to be fetched.

    The output would take the link's place, and the link is all there is of that file here.
    """
    for path in map(Path, paths):
        if path.is_symlink() and not path.exists():
            raise UsageError(
                f"{path}: is {absent(path)}; expected nothing there, or a file. It is left as it is: "
                "choose another --out"
            )


def what_is_missing(path: str | os.PathLike) -> str:
    """Why nothing is at `path`: the first link on the way to it that leads nowhere, in a sentence's end, or nothing."""
    path = Path(path)
    broken = [each for each in (path, *path.parents) if each.is_symlink() and not each.exists()]
    return f" ({broken[-1]} is {absent(broken[-1])})" if broken else ""


def check_outputs(paths: Iterable[str | os.PathLike], is_ours: Callable[[Path], bool], what: str) -> None:
    """Raise UsageError unless each path is free or holds a file that is ours, for a command to call before it works.

    `is_ours` tells by the content of a regular file whether an earlier call of the command wrote it, and `what` says
    what that is: a mistyped --out must not cost a scan, a split or another program's result.
    """
    for path in map(Path, paths):
        check_file(path)
        if path.exists() and not (path.is_file() and is_ours(path)):
            raise UsageError(
                f"{path}: is there already and was not written by this command; expected nothing there, or {what}. "
                "It is left as it is: choose another --out"
            )


def check_not_inputs(paths: Iterable[str | os.PathLike], inputs: Iterable[str | os.PathLike]) -> None:
    """Raise UsageError where an output is the same file as an input, whatever links lie between their names."""
    files = {}
    for source in inputs:
        with suppress(OSError):  # what is absent is no file to lose, and is reported where it is read
            files.setdefault(_identity(source), source)
    for path in paths:
        with suppress(OSError):
            if source := files.get(_identity(path)):
                raise UsageError(
                    f"{path}: is the same file as the input {source}, which it would replace; expected a file of its "
                    "own. Choose another --out"
                )


def is_json_with(path: str | os.PathLike, **values: object) -> bool:
    """Whether a file is a JSON object with these values; `...` stands for any."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and all(
        name in content and (value is ... or content[name] == value) for name, value in values.items()
    )


def begins_with(path: str | os.PathLike, text: str) -> bool:
    """Whether a file begins with that text."""
    try:
        with open(path, "rb") as file:
            return file.read(len(text.encode())) == text.encode()
    except OSError:
        return False


def _identity(path):
    found = os.stat(path)
    return found.st_dev, found.st_ino


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
