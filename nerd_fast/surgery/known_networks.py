"""Where networks of known libraries keep their heads. Recognised by class name: none of the libraries is imported."""

import re

from torch import nn

_HEADS = {
    ("monai", "AttentionUnet"): r"model\.2\.conv",
    ("monai", "BasicUNet"): r"final_conv",
    ("monai", "BasicUNetPlusPlus"): r"final_conv_0_[1-4]",
    ("monai", "DynUNet"): r"(output_block|deep_supervision_heads\.\d+)\.conv\.conv",
    ("monai", "SegResNet"): r"conv_final\.2\.conv",
    ("monai", "SwinUNETR"): r"out\.conv\.conv",
    ("monai", "UNETR"): r"out\.conv\.conv",
    ("segmentation_models_pytorch", "SegmentationModel"): r"segmentation_head\.0",
}
_NNUNET_HEADS = r"decoder\.seg_layers\.\d+"
_WITHOUT_HEAD = {
    ("monai", "UNet"): (
        "MONAI's UNet ends in a strided transposed convolution at half the resolution, not in a 1x1 convolution. Use "
        "BasicUNet or DynUNet, or let it yield features and append one: "
        "nn.Sequential(UNet(..., out_channels=16), nn.Conv2d(16, K, 1)) with path='1'"
    ),
}


def known_heads(network):
    """Paths of every head of `network`, deep supervision included, or an empty list for an unknown network.

    A subclass is known by its base class. Raises ValueError for a known network that has no 1x1 head.
    """
    for kind in type(network).__mro__:
        key = (kind.__module__.partition(".")[0], kind.__name__)
        if key in _WITHOUT_HEAD:
            raise ValueError(f"replace_head: {_WITHOUT_HEAD[key]}")
        if key in _HEADS:
            return _matching(network, _HEADS[key])
    # dynamic_network_architectures has no common base class; all its networks keep one layer per resolution here
    if isinstance(getattr(getattr(network, "decoder", None), "seg_layers", None), nn.ModuleList):
        return _matching(network, _NNUNET_HEADS)
    return []


def _matching(network, pattern):
    # SegResNet builds its head even when told not to apply it
    if getattr(network, "use_conv_final", True) is False:
        return []
    return [path for path, _ in network.named_modules() if re.fullmatch(pattern, path)]
