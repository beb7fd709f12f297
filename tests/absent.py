"""A Python in which some modules are not installed."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRAINER = ("monai", "nibabel", "jsonargparse", "pytorch_lightning", "nrrd", "matplotlib", "safetensors", "scipy")
HIDING = """
import sys
from functools import partial
from importlib.machinery import PathFinder

find_spec = PathFinder.find_spec


def find_spec_of_others(name, path=None, target=None):
    return None if name.split(".")[0] in HIDDEN else find_spec(name, path, target)


PathFinder.find_spec = partial(find_spec_of_others)  # which pytest, taking it for its own class, does not bind
"""


def python_without(names, code):
    """Runs code in the root of the checkout in a new Python that finds none of these modules; the completed process."""
    command = [sys.executable, "-c", f"HIDDEN = {tuple(names)!r}\n{HIDING}\n{code}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
