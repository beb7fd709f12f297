"""Device functions of the kernels that stream features: which samples, where they lie, and tiles laid out like them."""

import triton
import triton.language as tl


@triton.jit
def share_of_batch(share, shares, batch):
    """The samples [first, last) of a share of the batch, a whole number of fours but at the end."""
    samples = _samples_of_a_share(batch, shares)
    return share * samples, tl.minimum((share + 1) * samples, batch)


@triton.jit
def _samples_of_a_share(batch, shares):
    return 4 * tl.cdiv(tl.cdiv(batch, 4), shares)


@triton.jit
def tile_of(shares):
    """Which tile of positions this program works on. Mostly there is one share: a division takes 18 instructions."""
    if shares == 1:  # noqa: SIM108 - Triton would take both sides of a ternary
        tile = tl.program_id(0)
    else:
        tile = tl.program_id(0) // shares
    return tile


@triton.jit
def own_share(batch, shares):
    """Which share of the batch of its tile is this program's, where no more than `tile_of` tells programs apart, and
    its samples as [first, last), those of `share_of_batch`: for kernels in which the division would be felt.

    To call after the calibrator, so that none is kept meanwhile.
    """
    tile = tile_of(shares)
    share = tl.program_id(0) - tile * shares
    if shares == 1:  # noqa: SIM108
        samples = batch
    else:
        samples = _samples_of_a_share(batch, shares)
    return share, share * samples, tl.minimum((share + 1) * samples, batch)


@triton.jit
def places(p, c, stride_position, stride_channel):
    """Offsets of the positions p and the channels c within a sample, (1, positions, channels)."""
    return (p.to(tl.int64) * stride_position)[None, :, None] + (c.to(tl.int64) * stride_channel)[None, None, :]


@triton.jit
def beside(pixels, tiles, never):
    """The tiles, of the shape of `pixels`, for `never` is false.

    That they meet features, loaded after them, makes the compiler lay them out like the features, once. Otherwise it
    lays out anew, through shared memory, what every round of the loop over the batch makes of them and the features.
    """
    mask = tl.full(pixels.shape, never, tl.int1)
    features = tl.load(pixels, mask=mask, other=0.0).to(tl.float32)
    laid_out = ()
    for i in tl.static_range(len(tiles)):
        laid_out += (tl.where(mask, features, tiles[i]),)
    return laid_out
