"""The trainers that nnU-Net v2 finds through `nnUNet_extTrainer`. It imports this file under its bare name."""

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nerd_fast.nnunet import NeRDcMixin, NeRDmMixin, NoMirroringMixin


class nnUNetTrainerNeRDm(NeRDmMixin, nnUNetTrainer):
    """nnU-Net's trainer with NeRDm heads."""


class nnUNetTrainerNeRDc(NeRDcMixin, nnUNetTrainer):
    """nnU-Net's trainer with NeRDc heads."""


class nnUNetTrainerNeRDmNoMirroring(NoMirroringMixin, NeRDmMixin, nnUNetTrainer):
    """The same without mirroring, in training and in prediction."""


class nnUNetTrainerNeRDcNoMirroring(NoMirroringMixin, NeRDcMixin, nnUNetTrainer):
    """The same without mirroring, in training and in prediction."""
