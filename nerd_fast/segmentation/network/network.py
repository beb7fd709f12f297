"""The U-Net of the paper (section 3.2) with the chosen head."""

import nerd_fast
from nerd_fast.segmentation.base.errors import UsageError


def build_network(config, in_channels, classes):
    """Return MONAI's BasicUNet with `config.filters` and its last 1x1 convolution replaced by `config.head`.

    The network takes (B, in_channels, H, W) and yields logits (B, K, H, W), K = 1 for one class and classes + 1,
    background first, for several. Weights depend on the state of
    torch's random numbers alone: every head starts as the same function, but for "coordconv", whose first convolution
    has random weights for the coordinates too.
    """
    from monai.networks.nets import BasicUNet

    from nerd_fast.segmentation.network.controls import BlindNeRDm, CoordConvUNet

    network = (CoordConvUNet if config.head == "coordconv" else BasicUNet)(
        spatial_dims=2,
        in_channels=in_channels,
        out_channels=outputs(classes),
        # The sixth number is the width of the last features, which MONAI's decoder ends on: that of the first level.
        features=(*config.filters, config.filters[0]),
        norm=_normalisation(config),
        dropout=config.dropout,
    )
    heads = {"nerdm": nerd_fast.NeRDm, "nerdc": nerd_fast.NeRDc, "blind": BlindNeRDm}
    if config.head in heads:
        network.final_conv = heads[config.head].from_conv(
            network.final_conv,
            hidden_channels=tuple(config.hidden_channels),
            distance_scale=config.distance_scale,
        )
    return network


def compile_network(network, size):
    """Compile the network in place for slices of `size`, multiples of 16; its weights keep their names.

    MONAI pads the decoder for sizes that do not halve evenly, by nothing for those that do. Inductor (torch 2.13)
    expects other strides of that padding's gradient than it gets in channels-last memory, and fails; hence without it.

    Raises UsageError for other sizes.
    """
    from monai.networks.nets.basic_unet import UpCat

    if any(length % 16 for length in size):
        raise UsageError(
            f"--compile: found slices of {size[0]}x{size[1]}, expected multiples of 16; choose another --size"
        )
    for part in network.modules():
        if isinstance(part, UpCat):
            part.is_pad = False
    network.compile()


def check_normalised(config, size, slices=None):
    """Raise UsageError where the deepest level has one number to normalise: it would be 0 whatever the image.

    `slices` is the size of the smallest batch in training, which the normalisation over a batch takes all of. Without
    it `size` is that of the windows of a trained network, whose statistics over batches are kept from training.
    """
    height, width = (length // 16 for length in size)
    per_group = config.filters[-1] // min(8, config.filters[0])
    together = {"batch": slices or 2, "instance": 1, "group": (slices or 1) * per_group}
    if height * width * together[config.normalisation] > 1:
        return
    if slices is None:
        option, of, others = "--window", "", ""
    else:
        option, others = "--size", ", another --batch-size, or --normalisation group"
        of = " and one slice" if config.normalisation == "instance" else " and a last batch of one slice"
    raise UsageError(
        f"{option}: found {size[0]} {size[1]} with --normalisation {config.normalisation}{of}, which leaves one number "
        f"to normalise at the deepest level; expected 32 or more. Choose a larger {option}{others}"
    )


def outputs(classes):
    """How many logits tell so many classes from the background: 1 through a sigmoid, otherwise a softmax."""
    return 1 if classes == 1 else classes + 1


def _normalisation(config):
    return {
        "batch": "batch",
        "instance": ("instance", {"affine": True}),
        "group": ("group", {"num_groups": min(8, config.filters[0])}),
    }[config.normalisation]
