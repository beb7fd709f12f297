"""Slices too large for memory, seen through windows that overlap: each head is told where its window lies."""

import torch
from monai.data.utils import compute_importance_map, dense_patch_slices

from nerd_fast.segmentation.network.controls import CoordConvUNet, with_coordinates
from nerd_fast.surgery import placed


def windowed_logits(network, images, window):
    """Return the logits (B, K, H, W), float32, of images (B, C, H, W), made window by window.

    The windows (h, w), no larger than the image, lie half a window apart. Where they overlap, their logits are averaged
    with Gaussian weights, for a network knows least at the border of what it sees.
    """
    if isinstance(network, CoordConvUNet):
        images = with_coordinates(images)  # of the whole image, before it is cut
    extent = tuple(images.shape[-2:])
    window = tuple(min(length, whole) for length, whole in zip(window, extent, strict=True))
    importance = compute_importance_map(window, mode="gaussian", device=images.device, dtype=torch.float32)
    total, weight = 0.0, torch.zeros(extent, device=images.device)
    for place in dense_patch_slices(extent, window, [max(length // 2, 1) for length in window]):
        with placed(network, tuple(part.start for part in place), extent):
            logits = network(images[(..., *place)].contiguous(memory_format=torch.channels_last)).float()
        if isinstance(total, float):
            total = logits.new_zeros(*logits.shape[:2], *extent)
        total[(..., *place)] += logits * importance
        weight[place] += importance
    return total / weight
