"""The launch configuration of the kernels of the normalisation by position: a pure function of its calibrator
and of which axis of the features is contiguous.
"""

from nerd_fast.kernels.tiling import POSITIONS, UNITS_FIRST_INNER, WIDE, Tile


def forward(head, channels_adjacent):
    """32 positions, a full line of 128 bytes of float32; a thread holds 4 features of a sample, 16 bytes of float32.

    Of features in channels_last 4 samples at once take 92 registers.
    """
    registers = 72 if head.widest <= 32 else 80
    if head.widest > 32 and (head.since(12) or (channels_adjacent and head.since(9))):
        registers = 168  # their ptxas holds more of a product: 232 to 288 bytes spill at 80
    elif head.widest > 32 and head.since(10):
        registers = 96  # at 80 8 bytes spill
    return _tile(head, 2 if channels_adjacent else 4, registers)


def backward(head, channels_adjacent):
    """As the forward, with 2 samples of each of two tensors: 4 take 96 registers, in channels_last 128."""
    newest = 104 if head.widest > 32 else 96  # at 96 8 bytes spill in channels_last
    return _tile(head, 2, newest if head.since(10) else 80 if channels_adjacent else 64)


def _tile(head, samples, registers):
    """Left to itself ptxas takes up to twice the registers, and half as many programs fit on a multiprocessor."""
    warps = 4 if head.widest <= WIDE else 8
    plain = head.layers <= 2 and head.widest <= WIDE and head.products == "ieee"
    inner = UNITS_FIRST_INNER if plain else 32  # 64 deep, products of four layers of 128 spill 304 bytes, 16 deep 496
    return Tile(POSITIONS, samples, 32 * warps * 4 // POSITIONS, inner, warps, registers if plain else 255)
