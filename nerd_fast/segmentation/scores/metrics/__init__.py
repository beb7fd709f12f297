"""Metrics of one mask against another: voxel overlap, surface distance, lesions, and the WMH 2017 challenge's own."""
