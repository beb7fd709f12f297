"""Small networks to operate on, and what to look at afterwards."""

import copy

import torch
from torch import nn

from nerd_fast import NeRDc, NeRDm, NeRDNorm


def heads_of(model):
    return [path for path, module in model.named_modules() if isinstance(module, (NeRDm, NeRDc))]


def norms_of(model):
    return [path for path, module in model.named_modules() if isinstance(module, NeRDNorm)]


def output(model, x, training):
    """What a copy of the model computes, so that its statistics stay as they are."""
    torch.manual_seed(5)
    with torch.no_grad():
        return copy.deepcopy(model).train(training)(x)


def small_unet(head=None):
    """Features with batch normalisation and dropout, then a 1x1 gate that is no head, then the head."""
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5))
    gate = nn.Conv2d(4, 4, 1)
    return nn.Sequential(stem, gate, nn.ReLU(), head or nn.Conv2d(4, 2, 1))


class Forked(nn.Module):
    """Two 1x1 convolutions and a rule that makes the output of them."""

    def __init__(self, combine):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.first = nn.Conv2d(4, 2, 1)
        self.second = nn.Conv2d(4, 2, 1)
        self.combine = combine

    def forward(self, x):
        features = self.stem(x)
        return self.combine(self.first(features), self.second(features))


class DeeplySupervised(nn.Module):
    """Two heads, of which the coarse one runs in training alone."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.coarse = nn.Conv2d(4, 2, 1)
        self.fine = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        features = self.stem(x)
        if not self.training:
            return self.fine(features)
        return [self.fine(features), self.coarse(nn.functional.avg_pool2d(features, 2))]


class Wrapped(nn.Module):
    """A network that nobody knows."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)
