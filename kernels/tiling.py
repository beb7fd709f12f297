"""The launch configuration of every kernel: a pure function of what is computed and where, never of B, H or W."""

from dataclasses import dataclass

import triton


@dataclass(frozen=True)
class Head:
    """What a kernel is specialised on. `capability` is None in the interpreter."""

    modulates: bool
    in_channels: int
    out_channels: int
    hidden_channels: tuple[int, ...]
    spatial_dims: int
    activation: str
    scale: float | None
    precision: str
    capability: tuple[int, int] | None

    @property
    def outputs(self):
        """Outputs of the calibrator."""
        return (2 if self.modulates else self.out_channels) * self.in_channels

    @property
    def padded(self):
        return tuple(max(16, triton.next_power_of_2(width)) for width in self.hidden_channels)


@dataclass(frozen=True)
class Tile:
    """positions P, samples S and classes G and channels T in one step, inner size of a product, warps."""

    positions: int
    samples: int
    classes: int
    channels: int
    depth: int
    num_warps: int


def forward(head):
    channels = triton.next_power_of_2(head.in_channels)
    classes = triton.next_power_of_2(head.out_channels)
    positions = 64 if head.out_channels == 1 else 16
    while classes > 1 and classes * channels * positions > 8192:
        classes //= 2
    return Tile(positions, 2, classes, max(channels, 16), 16, 4)


def apply_backward(head):
    channels = max(16, triton.next_power_of_2(head.in_channels))
    classes = triton.next_power_of_2(head.out_channels)
    positions = 64 if head.out_channels == 1 else 16
    while channels > 16 and classes * channels * positions > 8192:
        channels //= 2
    return Tile(positions, 2, classes, channels, 16, 4)


def calibrator_backward(head):
    return Tile(32, 1, 1, 1, 16, 8)


def shares(tiles, batch, samples):
    """Over how many programs a tile's batch is divided, so that small images still fill a large GPU."""
    return max(1, min(256 // tiles, triton.cdiv(batch, 4 * samples)))


def row_programs(tiles):
    """Programs, and so rows of partial sums, of the calibrator's backward."""
    return min(tiles, 256)
