"""segmentation_models_pytorch's Unet: its head is a 3x3 convolution, so a NeRDNorm goes in front of it.

`encoder_weights="imagenet"` gives a pretrained encoder; None keeps this example from downloading one.
"""

import segmentation_models_pytorch as smp
import torch

import nerd_fast

network = smp.Unet("resnet18", encoder_weights=None, in_channels=3, classes=2)
images = torch.randn(2, 3, 64, 64)
network.eval()
with torch.no_grad():
    before = network(images)
    nerd_fast.replace_head(network, nerd_fast.NeRDNorm)
    print(f"largest change of an output: {(network(images) - before).abs().max().item():.1e}")

network.train()
new = [weight for name, weight in network.named_parameters() if "calibrator" in name]
old = [weight for name, weight in network.named_parameters() if "calibrator" not in name]
optimizer = torch.optim.AdamW([{"params": old, "lr": 1e-4}, {"params": new, "lr": 1e-3}])  # as one fine-tunes
labels = torch.randint(2, (2, 64, 64))
for step in range(3):
    loss = torch.nn.functional.cross_entropy(network(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step + 1}: loss {loss.item():.3f}")
