"""Networks of other libraries, as small as they can be built, with random weights."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn

LIBRARIES = {
    "monai": "MONAI",
    "dynamic_network_architectures": "nnU-Net",
    "segmentation_models_pytorch": "segmentation_models_pytorch",
    "torchvision": "torchvision",
    "transformers": "Hugging Face transformers",
}


@dataclass(frozen=True)
class Network:
    """A network to try: how to build it, the input it takes, and where its heads are if that has to be said."""

    library: str
    name: str
    build: Callable[[], nn.Module]
    size: tuple[int, ...]
    path: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{LIBRARIES[self.library]} {self.name}"

    def make(self) -> tuple[nn.Module, torch.Tensor]:
        """The network and an input of it; the calling test is skipped where its library is not installed."""
        pytest.importorskip(self.library, reason=f"{self.name} is of {self.library}, which is not installed")
        torch.manual_seed(0)
        return self.build(), torch.randn(*self.size)


def of(library: str, module: str = "") -> Callable[[str], type]:
    """Looks up a class or function of a library when it is needed."""
    return lambda name: getattr(importlib.import_module(f"{library}{module}"), name)


# MONAI ----------------------------------------------------------------------------------------------------------------


def monai(
    name: str, size: tuple[int, ...], dims: int = 2, label: str = "", path: tuple[str, ...] = (), **options
) -> Network:
    def build() -> nn.Module:
        channels = {"spatial_dims": dims, "in_channels": 1, "out_channels": 2}
        return of("monai", ".networks.nets")(name)(**channels, **options)

    return Network("monai", f"{name}{label}, {dims}-D", build, size, path)


def dints() -> nn.Module:
    nets = importlib.import_module("monai.networks.nets")
    space = nets.TopologySearch(channel_mul=0.125, num_blocks=2, num_depths=2, use_downsample=True, spatial_dims=2)
    return nets.DiNTS(space, in_channels=1, num_classes=2, spatial_dims=2, use_downsample=True)


FEATURES = (4, 4, 8, 8, 8, 4)
DYNUNET = {"filters": [4, 6, 8], "kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}
UNETR = {"feature_size": 4, "hidden_size": 12, "mlp_dim": 12, "num_heads": 2}
VIT_ENCODER = {"hidden_size": 12, "mlp_dim": 12, "num_layers": 1, "num_heads": 2}
SWIN = {"feature_size": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1), "window_size": 2}


def quicknat() -> nn.Module:
    return of("monai", ".networks.nets")("Quicknat")(num_classes=2, num_channels=1, num_filters=4)


HIGHRES = (
    {"name": "conv_0", "n_features": 4, "kernel_size": 3},
    {"name": "res_1", "n_features": 4, "kernels": (3, 3), "repeat": 1},
    {"name": "conv_1", "n_features": 4, "kernel_size": 1},
    {"name": "conv_2", "kernel_size": 1},
)
SMALL, VOLUME, LARGER = (2, 1, 32, 32), (1, 1, 16, 16, 16), (1, 1, 32, 32, 32)

MONAI = [
    monai("AttentionUnet", SMALL, channels=(4, 8), strides=(2,)),
    monai("AttentionUnet", VOLUME, 3, channels=(4, 8), strides=(2,)),
    monai("BasicUNet", SMALL, features=FEATURES),
    monai("BasicUNet", LARGER, 3, features=FEATURES),
    monai("BasicUNetPlusPlus", SMALL, label=" with deep supervision", features=FEATURES, deep_supervision=True),
    Network("monai", "DiNTS, 2-D", dints, (2, 1, 32, 32)),
    monai("DynUNet", SMALL, **DYNUNET),
    monai("DynUNet", VOLUME, 3, label=" with deep supervision", **DYNUNET, deep_supervision=True, deep_supr_num=1),
    monai("FlexibleUNet", SMALL, backbone="efficientnet-b0", decoder_channels=(8, 8, 8, 4, 4)),
    monai("HighResNet", SMALL, path=("blocks.3.conv",), layer_params=HIGHRES),
    monai("MedNeXt", SMALL, label=" with deep supervision", deep_supervision=True),
    Network("monai", "Quicknat, 2-D", quicknat, SMALL),
    monai("RegUNet", SMALL, num_channel_initial=4, depth=1),
    monai("SegResNet", SMALL, init_filters=8),
    monai("SegResNet", VOLUME, 3, init_filters=8),
    monai("SegResNetDS", SMALL, init_filters=8, dsdepth=3),
    monai("SegResNetDS2", SMALL, init_filters=8, dsdepth=2),
    monai("SwinUNETR", (1, 1, 64, 64), **SWIN),
    monai("SwinUNETR", (1, 1, 64, 32, 32), 3, **SWIN),
    monai("UNETR", SMALL, img_size=(32, 32), **UNETR),
    monai("UNETR", VOLUME, 3, img_size=(16, 16, 16), **UNETR),
    monai("UNet", SMALL, channels=(4, 8), strides=(2,)),
    monai("UNet", VOLUME, 3, label=" with residual units", channels=(4, 8), strides=(2,), num_res_units=1),
    monai("ViTAutoEnc", SMALL, path=("conv3d_transpose_1",), img_size=(32, 32), patch_size=(16, 16), **VIT_ENCODER),
    monai("VNet", SMALL),
]

# nnU-Net --------------------------------------------------------------------------------------------------------------


def nnunet(name: str, dims: int) -> Network:
    def build() -> nn.Module:
        conv, norm = (nn.Conv2d, nn.InstanceNorm2d) if dims == 2 else (nn.Conv3d, nn.InstanceNorm3d)
        sizes = {"kernel_sizes": 3, "strides": (1, 2, 2), "features_per_stage": (4, 8, 8)}
        blocks = "n_conv_per_stage" if name == "PlainConvUNet" else "n_blocks_per_stage"
        options = {blocks: 1, "n_conv_per_stage_decoder": 1, "conv_bias": True, "norm_op": norm, "nonlin": nn.LeakyReLU}
        network = of("dynamic_network_architectures", ".architectures.unet")(name)
        return network(1, 3, conv_op=conv, num_classes=2, deep_supervision=True, **sizes, **options)

    size = SMALL if dims == 2 else VOLUME
    return Network("dynamic_network_architectures", f"{name} with deep supervision, {dims}-D", build, size)


def primus() -> nn.Module:
    network = of("dynamic_network_architectures", ".architectures.primus")("Primus")
    return network(1, 12, (8, 8, 8), 2, eva_depth=1, eva_numheads=2, input_shape=(16, 16, 16))


NNUNET = [
    nnunet("PlainConvUNet", 2),
    nnunet("PlainConvUNet", 3),
    nnunet("ResidualEncoderUNet", 3),
    Network("dynamic_network_architectures", "Primus, 3-D", primus, VOLUME),
]

# segmentation_models_pytorch ------------------------------------------------------------------------------------------


def smp(name: str, encoder: str = "mobilenet_v2", size: int = 64, **options) -> Network:
    def build() -> nn.Module:
        head = of("segmentation_models_pytorch")(name)
        return head(encoder, encoder_weights=None, in_channels=1, classes=2, **options)

    return Network("segmentation_models_pytorch", name, build, (2, 1, size, size))


DECODER = {"decoder_channels": (16, 8, 8, 8, 8)}
SMP = [
    smp("DeepLabV3", decoder_channels=8),
    smp("DeepLabV3Plus", decoder_channels=8),
    smp("DPT", "tu-vit_tiny_patch16_224", encoder_depth=4, decoder_fusion_channels=8, dynamic_img_size=True),
    smp("FPN", decoder_pyramid_channels=32, decoder_segmentation_channels=32),
    smp("Linknet"),
    smp("MAnet", "resnet18", **DECODER),
    smp("PAN", size=128, decoder_channels=8),
    smp("PSPNet", psp_out_channels=8),
    smp("Segformer", decoder_segmentation_channels=8),
    smp("Unet", **DECODER),
    smp("UnetPlusPlus", **DECODER),
    smp("UPerNet", decoder_channels=8),
]

# torchvision ----------------------------------------------------------------------------------------------------------


def torchvision(name: str, auxiliary: bool = False) -> Network:
    def build() -> nn.Module:
        model = of("torchvision", ".models.segmentation")(name)
        options = {} if name.startswith("lraspp") else {"aux_loss": auxiliary}
        return model(weights=None, weights_backbone=None, num_classes=2, **options)

    return Network("torchvision", f"{name}{' with auxiliary head' if auxiliary else ''}", build, (2, 3, 32, 32))


TORCHVISION = [
    torchvision("deeplabv3_mobilenet_v3_large", auxiliary=True),
    torchvision("fcn_resnet50", auxiliary=True),
    torchvision("lraspp_mobilenet_v3_large"),
]

# Hugging Face transformers --------------------------------------------------------------------------------------------


def hugging_face(name: str, **config) -> Network:
    def build() -> nn.Module:
        look_up = of("transformers")
        return look_up(f"{name}ForSemanticSegmentation")(look_up(f"{name}Config")(**config, num_labels=2))

    return Network("transformers", f"{name}ForSemanticSegmentation", build, (2, 3, 64, 64))


def mask2former() -> nn.Module:
    look_up = of("transformers")
    stages = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}
    backbone = look_up("SwinConfig")(embed_dim=4, depths=[1] * 4, num_heads=[1] * 4, window_size=2, **stages)
    widths = dict.fromkeys(("feature_size", "mask_feature_size", "hidden_dim"), 32)
    layers = {"encoder_layers": 1, "decoder_layers": 2, "num_attention_heads": 2, "num_queries": 3, "num_labels": 2}
    config = look_up("Mask2FormerConfig")(backbone_config=backbone, **widths, **layers)
    return look_up("Mask2FormerForUniversalSegmentation")(config)


def upernet() -> nn.Module:
    look_up = of("transformers")
    stages = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}
    backbone = look_up("ConvNextConfig")(hidden_sizes=[4, 4, 8, 8], depths=[1, 1, 1, 1], **stages)
    sizes = {"hidden_size": 8, "auxiliary_in_channels": 8, "auxiliary_channels": 8}
    config = look_up("UperNetConfig")(backbone_config=backbone, num_labels=2, **sizes)
    return look_up("UperNetForSemanticSegmentation")(config)


VIT = {"hidden_size": 12, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 12, "image_size": 64}
BEIT = {**VIT, "out_indices": [1, 2, 3, 4], "pool_scales": (1, 2)}
SEGFORMER = {"hidden_sizes": [4] * 4, "depths": [1] * 4, "num_attention_heads": [1] * 4, "decoder_hidden_size": 8}
HUGGING_FACE = [
    hugging_face("Beit", **BEIT),
    hugging_face("Data2VecVision", **BEIT),
    hugging_face("DPT", **VIT, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[4, 4, 4, 4], fusion_hidden_size=8),
    Network("transformers", "Mask2FormerForUniversalSegmentation", mask2former, (2, 3, 64, 64)),
    hugging_face("MobileNetV2", depth_multiplier=0.1),
    hugging_face("MobileViT", hidden_sizes=[12, 12, 12], neck_hidden_sizes=[4] * 7, aspp_out_channels=8),
    hugging_face("MobileViTV2", width_multiplier=0.25, aspp_out_channels=8),
    hugging_face("Segformer", **SEGFORMER),
    Network("transformers", "UperNetForSemanticSegmentation", upernet, (2, 3, 64, 64)),
]

NETWORKS = [*MONAI, *NNUNET, *SMP, *TORCHVISION, *HUGGING_FACE]
