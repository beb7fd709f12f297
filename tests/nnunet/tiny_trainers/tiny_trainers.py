"""Our trainers for one epoch of one iteration. nnU-Net finds this file through `nnUNet_extTrainer`."""

import importlib.util

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nerd_fast.nnunet import trainers_folder

_spec = importlib.util.spec_from_file_location("nerd_trainers", trainers_folder() / "nerd_trainers.py")
_ours = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_ours)


class _OneIteration:
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = self.num_iterations_per_epoch = self.num_val_iterations_per_epoch = 1


class nnUNetTrainerTiny(_OneIteration, nnUNetTrainer):
    pass


class nnUNetTrainerNeRDmTiny(_OneIteration, _ours.nnUNetTrainerNeRDm):
    pass


class nnUNetTrainerNeRDcTinyNoMirroring(_OneIteration, _ours.nnUNetTrainerNeRDcNoMirroring):
    pass
