"""A U-Net trainer for NeRD heads: NIfTI volumes in, trained networks, masks, metrics and figures out."""
