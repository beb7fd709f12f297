"""`make docs-check`: every command of README, docs and examples, run in an environment installed as the README says.

    python -m tests.docs.check [--keep FOLDER]

The folder it runs in holds what the pages name: DATA, WMH and LA are data sets (synthetic), DATA/CASE a case.
Trainings are cut to seconds by options added behind the command, which is printed as it ran. What is not run is listed
with the reason.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests.documents import PAGES, ROOT, command_lines

SHORT = {  # what is added behind a command, so that it ends in seconds
    "nerd-fast train": "--epochs 2 --filters 16 --batch-size 4 --accelerator cpu",
    "nerd-fast evaluate": "--accelerator cpu",
    "nerd-fast predict": "--accelerator cpu",
    "nerd-fast reproduce": "--quick --epochs 1 --filters 16 --seeds 0 --accelerator cpu",
}
ELSEWHERE = {  # how a line begins, and who runs it
    "make ": "a lane of its own",
    "pytest": "a lane of its own",
    "nnUNetv2_": "make nnunet",
    "pip install nnunetv2": "make nnunet",
}


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.docs.check", description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="folder to run in, kept afterwards (default: one that is removed)")
    keep = parser.parse_args().keep
    folder = keep or Path(tempfile.mkdtemp(prefix="docs-check-"))
    try:
        failed = check(folder)
    finally:
        if keep is None:
            shutil.rmtree(folder)
    print("failed:\n  " + "\n  ".join(failed) if failed else "every command of the pages runs")
    return 1 if failed else 0


def check(folder):
    """Run everything in `folder`; returns the commands that failed."""
    folder.mkdir(parents=True, exist_ok=True)
    venv.create(folder / "environment", with_pip=True)
    path = f"{folder / 'environment' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    seen, failed = set(), []
    for page in [*PAGES, "examples/README.md", "examples/monai_bundle/README.md"]:
        for line in command_lines(page):
            reason = next((why for start, why in ELSEWHERE.items() if line.startswith(start)), None)
            if reason or line in seen:
                print(f"{page}: not run: {line}  ({reason or 'ran above'})", flush=True)
                continue
            seen.add(line)
            if not runs(page, line, folder, environment):
                failed.append(f"{page}: {line}")
    return failed


def runs(page, line, folder, environment):
    """Run one line as written, but for the options of SHORT, and say how it ended."""
    added = next((options for start, options in SHORT.items() if line.startswith(start)), "")
    installs = line.startswith("pip ") or line.startswith("python -m monai")
    if not installs and not (folder / "DATA").exists():
        write_data(folder, environment)
    done = subprocess.run(
        f"{line} {added}".strip(), shell=True, cwd=ROOT if installs else folder, env=environment,
        executable="/bin/bash", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    print(f"{page}: exit {done.returncode}: {line} {added}", flush=True)
    if done.returncode:
        print(done.stdout[-3000:], flush=True)
    return done.returncode == 0


def write_data(folder, environment):
    """The data sets that the pages name, made with the package as it was installed."""
    code = (
        "from nerd_fast.segmentation.data.phantom import write_phantom as write\n"
        "for name in ('DATA', 'WMH', 'LA'): write(name, cases=4, shape=(64, 64, 6))\n"
        "import shutil; shutil.copytree('DATA/case04', 'DATA/CASE')\n"
        "from pathlib import Path\n"
        "for one in Path('LA').glob('*/T1.nii.gz'): one.unlink()\n"  # a study of one channel
    )
    subprocess.run(["python", "-c", code], cwd=folder, env=environment, check=True)


if __name__ == "__main__":
    sys.exit(main())
