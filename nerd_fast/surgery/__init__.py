"""What is done to other people's networks: their last 1x1 convolution swapped for a NeRD head, and its window told."""

from nerd_fast.surgery.placing import placed
from nerd_fast.surgery.swap import replace_head

__all__ = ["placed", "replace_head"]
