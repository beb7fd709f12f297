"""Networks to compare NeRD with: a position without the heads, and a head without the position.

A gain of NeRDm over the plain network is due to the position only as far as it is a gain over these two.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

import nerd_fast

COORDINATES = 2


class BlindNeRDm(nerd_fast.NeRDm):
    """NeRDm whose calibrator sees every pixel at the centre of the image: all of its parameters, and no position.

    The centre is the mean of all positions, so that gradients are of the size that NeRDm's are.
    """

    def calibration(
        self, size: Sequence[int], *, origin: Sequence[int] | None = None, extent: Sequence[int] | None = None
    ) -> Tensor:
        """f at the centre, the same at every position, (outputs, *size); `origin` and `extent` change nothing."""
        dims = self.spatial_dims
        return super().calibration((1,) * dims, origin=(1,) * dims, extent=(3,) * dims).expand(-1, *size)

    def forward(self, x: Tensor, origin: Any = None, extent: Any = None) -> Tensor:
        """Features (B, C, H, W) to logits (B, K, H, W); `origin` and `extent` change nothing."""
        weight, beta = self.position_map((1,) * self.spatial_dims)
        return F.conv2d(x, weight.to(x.dtype), beta.flatten().to(x.dtype))


class CoordConvUNet(BasicUNet):
    """MONAI's BasicUNet that is given each pixel's row and column, from -1 to 1, as two more channels.

    After Liu et al. 2018 (An intriguing failing of convolutional neural networks and the CoordConv solution), at the
    input alone. The plain network is built first and its first convolution then widened, so that all other weights are
    those that the other heads start with.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        conv = self.conv_0.conv_0.conv
        wide = nn.Conv2d(
            conv.in_channels + COORDINATES,
            conv.out_channels,
            conv.kernel_size,
            padding=conv.padding,
            bias=conv.bias is not None,
        )
        with torch.no_grad():
            wide.weight[:, : conv.in_channels] = conv.weight
            if conv.bias is not None:
                wide.bias.copy_(conv.bias)
        self.image_channels = conv.in_channels
        self.conv_0.conv_0.conv = wide

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images (B, C, H, W), or of a window of them that `with_coordinates` has been called for."""
        if images.shape[1] == self.image_channels:
            images = with_coordinates(images)
        return super().forward(images)


def with_coordinates(images: Tensor) -> Tensor:
    """Images (B, C, H, W) with row and column, from -1 to 1, as two more channels."""
    axes = [torch.linspace(-1, 1, length, device=images.device, dtype=images.dtype) for length in images.shape[-2:]]
    coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return torch.cat([images, coordinates.expand(images.shape[0], -1, -1, -1)], dim=1)
