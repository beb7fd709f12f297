"""The launch configuration of the kernels of a position map. A tile is a pure function of C, K and how x lies in
memory; the number of tiles and the batch decide over how many programs the batch is divided.
"""

from dataclasses import dataclass

from nerd_fast.kernels.tiling import power_of_two

WARPS = 4
THREADS = 32 * WARPS


@dataclass(frozen=True)
class ForwardTile:
    """What a program of `map_forward` holds: see its constexprs."""

    positions: int
    turns: int
    channel_step: int
    class_step: int
    rows: int = WARPS  # a warp each

    @property
    def samples(self):
        return self.turns * self.rows


@dataclass(frozen=True)
class BackwardTile:
    """What a program of `map_backward` holds: see its constexprs."""

    positions: int
    channels: int
    samples: int


def forward(channels, classes, adjacent):
    """`adjacent`: "positions" or "channels", whichever are neighbours in memory and aligned, else None.

    A thread loads 16 bytes of float32 at a time, of four positions or of four channels of one position. The sums of
    TURNS samples and CLASS_STEP classes at its positions stay in registers.
    """
    most = {"positions": 4, "channels": 8, None: 8}[adjacent]
    groups = -(-classes // most)
    class_step = -(-classes // groups)
    step = next(step for step in (8, 4, 2, 1) if channels % step == 0 and (step <= 4 or class_step == 1))
    return ForwardTile(128 if adjacent == "positions" else 32, 2 if class_step <= 4 else 1, step, class_step)


def backward(channels, classes, adjacent):
    """Up to 16 classes a thread holds 4 features, 16 bytes of float32, up to 24 classes 2, beyond one.

    It keeps W and dW of all classes for them. Features that are not adjacent have an address each: a quarter of that.
    """
    most = 16 if adjacent else 4
    elements = 4 if classes <= most else 2 if 2 * classes <= 3 * most else 1
    channels_at_once = THREADS * elements // 32
    if adjacent == "positions":
        channels_at_once = min(channels_at_once, power_of_two(channels))
    positions = THREADS * elements // channels_at_once
    return BackwardTile(positions, channels_at_once, max(1, min(4, 8 // classes)) if adjacent else 1)


def shares(programs, batch, samples):
    """Over how many programs the batch is divided, so that small images fill a large GPU: up to 1,024 programs."""
    return max(1, min(1024 // programs, -(-batch // max(samples, 4))))
