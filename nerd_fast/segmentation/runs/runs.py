"""The folder of a run: who may write to it, and the configuration beside the checkpoints."""

import contextlib
import fcntl
import os
import platform
import socket
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch
import yaml
from lightning_utilities.core.rank_zero import rank_zero_only

import nerd_fast
from nerd_fast.doctor import PACKAGES, version_of
from nerd_fast.segmentation.base.config import TrainConfig
from nerd_fast.segmentation.base.errors import CheckpointError, UsageError
from nerd_fast.segmentation.base.files import check_folder, what_is_missing, whole_file

LAST, BEST, CONFIG, METRICS, LOCK = "last.ckpt", "best.ckpt", "config.yaml", "metrics.csv", ".lock"


@contextlib.contextmanager
def open_run(folder, resume=False):
    """Make the folder, lock it against other processes, and sweep up what a killed run left half written.

    The kernel holds the lock and drops it when the process ends, however it ends: there are no stale locks. A run that
    fails before it has written anything leaves no folder that was not there before.
    Raises UsageError where the folder cannot be written, is in use, holds a run and `resume` is false, or holds files
    of these names that no run wrote, CheckpointError where there is a run to resume, but for its last checkpoint.
    """
    folder = Path(folder)
    check_folder(folder)
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK, "a+", encoding="utf-8")  # noqa: SIM115 the lock lives as long as the run
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror}). Choose another --out") from error
    with lock:
        _lock(lock, folder)
        try:
            _check_contents(folder, resume)
            for leftover in folder.glob(".[0-9]*.partial.*"):
                leftover.unlink(missing_ok=True)
            yield folder
        except BaseException:
            _remove_if_empty(folder, new)
            raise


def is_first_process() -> bool:
    """Whether this is the first of the processes that train together, the one to say things; Lightning knows."""
    return getattr(rank_zero_only, "rank", 0) == 0  # there is no rank before Lightning is imported, which takes seconds


def _check_contents(folder, resume):
    held = [name for name in (LAST, BEST, METRICS) if (folder / name).exists()]
    if held and not resume:
        raise UsageError(
            f"{folder}: holds a run already ({', '.join(held)}). Continue it with --resume, or choose another --out"
        )
    if not held and (folder / CONFIG).exists() and not _is_whole_config(folder / CONFIG):
        raise UsageError(
            f"{folder / CONFIG}: is there already and was not written by this command, which would replace it with all "
            "options of the run. It is left as it is: choose another --out"
        )
    if held and LAST not in held:
        raise CheckpointError(
            f"{folder / LAST}: no such checkpoint, but {', '.join(held)} of its run; expected the one to go on from. "
            "Restore it, or train again with another --out"
        )


def _is_whole_config(path):
    """Whether a file holds every option of a run, as `write_config` writes them."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    needed = {entry.name for entry in fields(TrainConfig)} - {"resume", "override"}
    return isinstance(content, dict) and needed <= set(content)


def _remove_if_empty(folder, new):
    if {path.name for path in folder.iterdir()} == {LOCK}:
        (folder / LOCK).unlink()
    for path in new:
        with contextlib.suppress(OSError):  # one that is not empty stays
            path.rmdir()


def _lock(lock, folder):
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, worker processes do not inherit it
        if not os.path.samestat(os.fstat(lock.fileno()), os.stat(folder / LOCK)):
            raise FileNotFoundError(f"{folder / LOCK} was removed while it was opened")
    except OSError as error:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        raise UsageError(f"{folder}: in use by {holder}. Wait for it, or choose another --out") from error
    lock.seek(0)
    holder = lock.read()
    if holder and not holder.startswith("process "):
        raise UsageError(f"{folder / LOCK}: was not written by this command. It is left as it is: choose another --out")
    lock.truncate(0)
    lock.write(f"process {os.getpid()} on {socket.gethostname()}")
    lock.flush()


def environment(accelerator="auto"):
    """What a run is made with: versions, device and threads, which its last bits depend on besides options and data.

    A dict of plain values. `commit` is that of this package's checkout, with `+` where files differ from it, and None
    where it is installed otherwise.
    """
    on_gpu = accelerator != "cpu" and torch.cuda.is_available()
    return {
        "nerd-fast": nerd_fast.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: version_of(name) for name in PACKAGES},
        "torch": str(torch.__version__),  # with the build, such as +cu130, which the package's own version may lack
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if on_gpu else _processor(),
        "threads": torch.get_num_threads(),
    }


def _commit():
    root = Path(nerd_fast.__file__).parents[1]
    if not (root / ".git").exists():  # an installed package may lie within a repository of something else
        return None
    git = ["git", "-C", str(root)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True, check=False)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if changed.returncode else "")


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def write_config(config, folder):
    """Write the configuration as `config.yaml`, which `nerd-fast train --config` reads."""
    content = asdict(config)
    for name in ("resume", "override"):
        del content[name]
    with whole_file(Path(folder) / CONFIG) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def read_config(folder):
    """The options in the `config.yaml` of a run, as a dict. Raises UsageError where there is none to read."""
    if not folder:
        raise UsageError("--out is missing: the folder of the run to resume")
    path = Path(folder) / CONFIG
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"{path}: no such file{what_is_missing(path)}, so there is no run to resume. Leave out --resume"
        ) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    return _known(content, path)


def resumed(folder: str | Path) -> TrainConfig:
    """The options that the run in `folder` goes on with: those of its last checkpoint, else those it was started with.

    Raises UsageError where there is no run, CheckpointError where its checkpoint cannot be used.
    """
    if not folder or not (Path(folder) / LAST).exists():
        return replace(config_in(folder), resume=True)
    from nerd_fast.segmentation.runs.checkpoints import read_checkpoint  # with Lightning, which takes seconds

    path, beside = Path(folder) / LAST, Path(folder) / CONFIG
    config = config_of(read_checkpoint(path), path)
    # A process that is killed may leave the new checkpoint beside the old file; and somebody may have edited it.
    lines = config_in(folder).differences(config) if beside.exists() else []
    if lines:
        print(
            f"{beside}: differs from the options in {LAST}, which count:\n  " + "\n  ".join(lines) + "\n"
            "Choose other options on the command line, with --override",
            file=sys.stderr,
        )
    return replace(config, out=str(folder), resume=True, override=False)


def config_in(folder):
    """The TrainConfig in the `config.yaml` of a run. Raises UsageError where there is none to read."""
    return _config(read_config(folder), Path(folder) / CONFIG)


def config_of(checkpoint, path):
    """The TrainConfig in a checkpoint that `read_checkpoint` returned."""
    return _config(_known(checkpoint["config"], path), path)


def _config(content, path):
    try:
        return TrainConfig(**content)
    except (TypeError, ValueError, UsageError) as error:
        raise UsageError(
            f"{path}: its configuration cannot be used ({error}), expected what `nerd-fast train` wrote. "
            "Restore it, or train again"
        ) from error


def _known(content, path):
    names = {entry.name for entry in fields(TrainConfig)}
    unknown = sorted(set(content) - names) if isinstance(content, dict) else ["no options at all"]
    if unknown:
        raise UsageError(f"{path}: holds options that this version does not know: {', '.join(map(str, unknown))}")
    return content
