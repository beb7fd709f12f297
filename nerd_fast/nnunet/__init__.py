"""NeRD heads inside nnU-Net v2: the trainers it finds, and the mixins that put a head on any other trainer.

    export nnUNet_extTrainer=$(nerd-fast nnunet)
    nnUNetv2_train DATASET 2d 0 -tr nnUNetTrainerNeRDm

Nothing here imports nnU-Net but the trainers themselves, which nnU-Net imports. docs/nnunet.md says the rest.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["NeRDcMixin", "NeRDmMixin", "NoMirroringMixin", "WholeImageMixin", "trainers_folder"]

if TYPE_CHECKING:
    from nerd_fast.nnunet.folder import trainers_folder
    from nerd_fast.nnunet.mixins import NeRDcMixin, NeRDmMixin, NoMirroringMixin
    from nerd_fast.nnunet.predictor import WholeImageMixin


def __getattr__(name: str) -> Any:  # the mixins need torch, the folder does not
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = {"trainers_folder": "folder", "WholeImageMixin": "predictor"}.get(name, "mixins")
    return getattr(import_module(f"{__name__}.{home}"), name)
