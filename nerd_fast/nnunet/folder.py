"""Where nnU-Net finds our trainers: a folder that holds nothing else, for nnU-Net imports every file in it."""

import sys
from importlib.util import find_spec
from pathlib import Path


def trainers_folder() -> Path:
    """The folder to name in the environment variable `nnUNet_extTrainer`."""
    return Path(__file__).parent / "trainers"


def run() -> None:
    """`nerd-fast nnunet`: prints the folder alone, for `export nnUNet_extTrainer=$(nerd-fast nnunet)`."""
    if find_spec("nnunetv2") is None:
        print(
            "note: nnunetv2 is not installed beside this nerd-fast; expected both in one environment", file=sys.stderr
        )
    print(trainers_folder())
