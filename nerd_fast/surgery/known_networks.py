"""Where networks of known libraries keep their heads. Recognised by class name: none of the libraries is imported."""

import re

from torch import nn

_HEADS = {
    ("mmseg", "BaseSegmentor"): r"(decode|auxiliary)_head(\.\d+)?\.conv_seg",
    ("monai", "AttentionUnet"): r"model\.2\.conv",
    ("monai", "BasicUNet"): r"final_conv",
    ("monai", "BasicUNetPlusPlus"): r"final_conv_0_[1-4]",
    ("monai", "DiNTS"): r"stem_finals\.1",
    ("monai", "DynUNet"): r"(output_block|deep_supervision_heads\.\d+)\.conv\.conv",
    ("monai", "FlexibleUNet"): r"segmentation_head\.0",
    ("monai", "MedNeXt"): r"(out_0|out_blocks\.\d+)\.conv_out",
    ("monai", "SegResNet"): r"conv_final\.2\.conv",
    ("monai", "SegResNetDS"): r"up_layers(_auto)?\.\d+\.head",  # SegResNetDS2 has both
    ("monai", "SwinUNETR"): r"out\.conv\.conv",
    ("monai", "UNet"): r"model\.2(\.0)?\.conv",  # transposed; a residual unit may follow it
    ("monai", "UNETR"): r"out\.conv\.conv",
    ("monai", "VNet"): r"out_tr\.conv2",
    ("segmentation_models_pytorch", "DPT"): r"segmentation_head\.head\.4",
    ("segmentation_models_pytorch", "SegmentationModel"): r"segmentation_head\.0",
    ("torchvision", "LRASPP"): r"classifier\.(low|high)_classifier",  # their sum is one head on both inputs
    ("torchvision", "_SimpleSegmentationModel"): r"(aux_)?classifier\.4",
    ("transformers", "BeitForSemanticSegmentation"): r"(decode|auxiliary)_head\.classifier",
    ("transformers", "Data2VecVisionForSemanticSegmentation"): r"(decode|auxiliary)_head\.classifier",
    ("transformers", "DPTForSemanticSegmentation"): r"(auxiliary_)?head\.head\.4",
    ("transformers", "MobileNetV2ForSemanticSegmentation"): r"segmentation_head\.classifier\.convolution",
    ("transformers", "MobileViTForSemanticSegmentation"): r"segmentation_head\.classifier\.convolution",
    ("transformers", "MobileViTV2ForSemanticSegmentation"): r"segmentation_head\.classifier\.convolution",
    ("transformers", "SegformerForSemanticSegmentation"): r"decode_head\.classifier",
    ("transformers", "UperNetForSemanticSegmentation"): r"(decode|auxiliary)_head\.classifier",
}
_NNUNET_HEADS = r"decoder\.seg_layers\.\d+"


def known_heads(network: nn.Module) -> list[str]:
    """Paths of every head of `network`, of whatever kernel, deep supervision and auxiliary heads included.

    A subclass is known by its base class. An empty list for an unknown network.
    """
    for kind in type(network).__mro__:
        key = (kind.__module__.partition(".")[0], kind.__name__)
        if key in _HEADS:
            return _matching(network, _HEADS[key])
    # dynamic_network_architectures has no common base class; all its networks keep one layer per resolution here
    if isinstance(getattr(getattr(network, "decoder", None), "seg_layers", None), nn.ModuleList):
        return _matching(network, _NNUNET_HEADS)
    return []


def _matching(network: nn.Module, pattern: str) -> list[str]:
    # SegResNet builds its head even when told not to apply it
    if getattr(network, "use_conv_final", True) is False:
        return []
    modules = network.named_modules()
    # SegResNetDS has an Identity where a resolution has no head
    return [path for path, module in modules if re.fullmatch(pattern, path) and not isinstance(module, nn.Identity)]
