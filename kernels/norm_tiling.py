"""The launch configuration of the kernels of the normalisation by position: a pure function of its calibrator."""

from dataclasses import dataclass

from nerd_fast.kernels.tiling import DEPTH, POSITIONS, WIDE


@dataclass(frozen=True)
class NormTile:
    """What a program of `norm_forward` and `norm_backward` holds: see their constexprs."""

    positions: int
    channels: int
    samples: int
    depth: int
    num_warps: int


def tile(head):
    """32 positions, a full line of 128 bytes of float32; a thread holds 4 features of a sample, 16 bytes of float32."""
    warps = 4 if head.widest <= WIDE else 8
    return NormTile(POSITIONS, 32 * warps * 4 // POSITIONS, 4, DEPTH, warps)


def options(tile):
    # Pipelining (num_stages) costs registers; Triton 3.10 turns fusion to FMA off unless it is asked for.
    return {"num_warps": tile.num_warps, "num_stages": 1, "enable_fp_fusion": True}
