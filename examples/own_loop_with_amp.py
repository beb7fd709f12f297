"""A NeRD head in a training loop of your own, in mixed precision: swap first, then make the optimizer."""

import torch
from torch import nn

import nerd_fast

device = "cuda" if torch.cuda.is_available() else "cpu"
half = torch.float16 if device == "cuda" else torch.bfloat16
torch.manual_seed(0)

network = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 16, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 1, kernel_size=1),
)
nerd_fast.replace_head(network, nerd_fast.NeRDm, path="4")
network.to(device, memory_format=torch.channels_last)

optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
scaler = torch.amp.GradScaler(device, enabled=half is torch.float16)

for step in range(20):
    images = torch.randn(4, 1, 64, 64, device=device).to(memory_format=torch.channels_last)
    labels = (images > 0.5).float()
    with torch.autocast(device, dtype=half):
        logits = network(images)
    loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), labels)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    if step % 5 == 4:
        print(f"step {step + 1}: loss {loss.item():.3f}")
