"""The paper's Tables 1 and 2: mean and standard deviation over three runs."""

from nerd_fast.segmentation.scores.tables import Published

SOURCE = "paper, 3 runs"
NOTE = (
    "The paper states neither the unit of its distances nor how it counts lesions: here distances are between the "
    "surfaces in the whole scan, and a lesion is a component in 3-D, found when one voxel of it is."
)

WMH = Published(
    SOURCE,
    {
        "U-Net 256": {"dice": (76.7, 1.96), "ldice": (66.9, 5.37), "lfpr": (30.8, 4.95), "ltpr": (73.9, 4.15)},
        "NeRDc 256": {"dice": (78.4, 0.41), "ldice": (69.7, 1.84), "lfpr": (27.8, 3.52), "ltpr": (72.2, 0.94)},
        "NeRDm 256": {"dice": (77.4, 0.71), "ldice": (66.9, 2.82), "lfpr": (33.5, 3.71), "ltpr": (73.9, 0.86)},
        "U-Net 512": {"dice": (78.4, 0.82), "ldice": (69.8, 0.55), "lfpr": (29.2, 3.14), "ltpr": (76.2, 3.07)},
        "NeRDc 512": {"dice": (79.2, 0.05), "ldice": (72.0, 1.07), "lfpr": (27.1, 0.44), "ltpr": (77.7, 1.83)},
        "NeRDm 512": {"dice": (78.6, 0.37), "ldice": (72.3, 0.32), "lfpr": (27.7, 1.11), "ltpr": (77.6, 2.43)},
    },
    NOTE,
)
LA = Published(
    SOURCE,
    {
        model: dict(zip(("dice", "jaccard", "hd_voxel", "hd95_voxel", "asd_voxel"), values, strict=True))
        for model, values in {
            "U-Net 256": ((90.3, 0.51), (82.5, 0.81), (34.1, 3.09), (6.5, 0.52), (2.1, 0.13)),
            "NeRDc 256": ((90.6, 0.26), (82.9, 0.39), (32.1, 3.55), (6.4, 0.55), (2.1, 0.12)),
            "NeRDm 256": ((90.5, 0.16), (82.8, 0.25), (29.6, 2.62), (6.3, 0.03), (2.1, 0.12)),
            "U-Net 512": ((90.1, 0.14), (82.2, 0.24), (34.3, 0.36), (6.9, 0.10), (2.3, 0.08)),
            "NeRDc 512": ((90.7, 0.14), (83.1, 0.23), (30.6, 0.67), (6.3, 0.21), (2.1, 0.07)),
            "NeRDm 512": ((90.3, 0.21), (82.5, 0.37), (35.2, 2.49), (6.5, 0.31), (2.2, 0.06)),
        }.items()
    },
    NOTE,
)
