"""Swapping the last 1x1 convolution of a network for a NeRD head, with the same output at the moment of the swap."""

from nerd_fast.surgery.swap import replace_head

__all__ = ["replace_head"]
