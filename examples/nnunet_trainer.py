"""An nnU-Net trainer of your own with a NeRD head. Put a file like this into a folder that holds nothing else, then

export nnUNet_extTrainer=FOLDER
nnUNetv2_train DATASET 3d_fullres 0 -tr nnUNetTrainerNeRDmDA5
"""

from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import nnUNetTrainerDA5

from nerd_fast.nnunet import NeRDmMixin, NoMirroringMixin


class nnUNetTrainerNeRDmDA5(NeRDmMixin, nnUNetTrainerDA5):
    """NeRDm heads under nnU-Net's strongest augmentation."""


class nnUNetTrainerNeRDmDA5NoMirroring(NoMirroringMixin, nnUNetTrainerNeRDmDA5):
    """The same for organs whose left and right differ."""
