"""Loss curves of a small U-Net trained with a head, from one seed: what `fused` and `reference` must share."""

import functools

import torch
from torch import nn

import nerd_fast

STEPS = 100


class SmallUNet(nn.Module):
    """Two levels and a skip connection, normalised and padded: features drift with the position as in a large one."""

    def __init__(self, head):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.GroupNorm(2, 16), nn.ReLU())
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.last = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
        self.head = head

    def forward(self, x):
        skip = self.down(x)
        return self.head(self.last(torch.cat([skip, self.up(self.deep(skip))], 1)))


@functools.cache
def loss_curve(head_class, backend, *, device="cpu", dtype=torch.float64, steps=STEPS, spoil=None):
    """Losses (steps,) float64 of a training whose labels depend on intensity and position.

    `spoil` is a function of the logits, to plant a fault.
    """
    torch.manual_seed(0)
    network = SmallUNet(head_class(16, 2, bias=True, backend=backend)).to(device, dtype)
    images = torch.randn(8, 1, 24, 32, dtype=dtype).to(device)
    rows = torch.linspace(-1, 1, 24, dtype=dtype, device=device)[:, None]
    labels = (images[:, 0] + rows > 0.3).long()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for step in range(steps):
        batch = slice(4 * (step % 2), 4 * (step % 2) + 4)
        logits = network(images[batch])
        loss = nn.functional.cross_entropy(spoil(logits) if spoil else logits, labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64)


HEADS = (nerd_fast.NeRDm, nerd_fast.NeRDc)
