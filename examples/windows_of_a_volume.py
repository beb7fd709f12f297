"""A large volume in sliding windows whose heads see the borders of the whole volume, not those of each window.

MONAI hands each window's place to the predictor (`with_coord=True`); `nerd_fast.placed` hands it on to every head.
"""

import torch
from monai.inferers import sliding_window_inference
from monai.networks.nets import BasicUNet

import nerd_fast

network = BasicUNet(spatial_dims=3, in_channels=1, out_channels=2, features=(4, 4, 8, 8, 16, 4)).eval()
nerd_fast.replace_head(network, nerd_fast.NeRDm)
with torch.no_grad():
    network.final_conv.calibrator[-1].weight.normal_(std=0.1)  # as if it were trained: now position matters

volume = torch.randn(1, 1, 64, 64, 48)


def whole_volume_positions(windows, places):
    """Logits of windows (b, 1, d, h, w); a place holds the slices of a window: batch, channel, then the axes."""
    origins = [tuple(axis.start for axis in place[2:]) for place in places]
    with nerd_fast.placed(network, origin=origins, extent=volume.shape[2:]):
        return network(windows)


with torch.no_grad():
    plain = sliding_window_inference(volume, (32, 32, 32), 2, network, overlap=0.5)
    placed = sliding_window_inference(volume, (32, 32, 32), 2, whole_volume_positions, overlap=0.5, with_coord=True)
difference = (plain - placed).abs().max().item()
print(f"in a plain sliding window each window is its own image: logits differ by up to {difference:.3f}")
