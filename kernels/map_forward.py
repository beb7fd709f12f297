"""The forward of a position map, `s_k = sum_c x_c W_kc(v) + beta_k(v)`, in one launch that streams the features.

A tile is (ROWS, POSITIONS): a warp holds a row, which is a sample, its lanes neighbouring positions, and a thread all
channels of its positions one after the other. So the sum over the channels stays in the thread: no barrier and no
shuffle. All rows read the same W(v), from the L1 cache.

Pointers
    logits  (B, K, N) in x's dtype        x     (B, C, N)
    weight  (K, C, N)                     beta  (K, N) or None
    Each with its strides along batch, class, channel and position, as far as it has these axes.
Integers
    positions N, batch B; shares: over how many programs the batch of a tile is divided
Constexprs
    CHANNELS C, CLASSES K
    CHANNELS_ADJACENT  the channels of x are neighbours in memory and aligned: they are loaded four at a time
    ROWS, POSITIONS    of a tile
    TURNS              tiles of samples that a program has in flight
    CHANNEL_STEP       channels in flight, a divisor of C and, where CHANNELS_ADJACENT, a multiple of four
    CLASS_STEP         classes of a program
"""

import triton
import triton.language as tl

from nerd_fast.kernels.streaming import share_of_batch


@triton.jit(do_not_specialize=("batch", "shares"))
def map_forward(
    logits,
    x,
    weight,
    beta,
    logits_stride_batch,
    logits_stride_class,
    logits_stride_position,
    x_stride_batch,
    x_stride_channel,
    x_stride_position,
    weight_stride_class,
    weight_stride_channel,
    weight_stride_position,
    beta_stride_class,
    beta_stride_position,
    positions,
    batch,
    shares,
    CHANNELS: tl.constexpr,
    CLASSES: tl.constexpr,
    CHANNELS_ADJACENT: tl.constexpr,
    ROWS: tl.constexpr,
    POSITIONS: tl.constexpr,
    TURNS: tl.constexpr,
    CHANNEL_STEP: tl.constexpr,
    CLASS_STEP: tl.constexpr,
):
    CLASS_GROUPS: tl.constexpr = (CLASSES + CLASS_STEP - 1) // CLASS_STEP
    first_class = tl.program_id(0) % CLASS_GROUPS * CLASS_STEP
    tile = tl.program_id(0) // CLASS_GROUPS // shares
    first, last = share_of_batch(tl.program_id(0) // CLASS_GROUPS % shares, shares, batch)
    p = tile * POSITIONS + tl.arange(0, POSITIONS)
    here = tl.broadcast_to((p < positions)[None, :], [ROWS, POSITIONS])
    place = tl.broadcast_to(p.to(tl.int64)[None, :], [ROWS, POSITIONS])
    x_here = x + place * x_stride_position
    weight_here = weight + place * weight_stride_position
    for start in range(first, last, TURNS * ROWS):
        sums = ()
        for k in tl.static_range(CLASS_STEP):
            initial = _beta(beta, place, here, first_class + k, CLASSES, beta_stride_class, beta_stride_position)
            for _ in tl.static_range(TURNS):
                sums += (initial,)
        for channel in range(0, CHANNELS, CHANNEL_STEP):
            weights, features = (), ()
            for k in tl.static_range(CLASS_STEP):
                source = weight_here + tl.cast(_present(first_class + k, CLASSES), tl.int64) * weight_stride_class
                for c in tl.static_range(CHANNEL_STEP):
                    plane = source + tl.cast(channel + c, tl.int64) * weight_stride_channel
                    weights += (tl.load(plane, mask=here, other=0.0).to(tl.float32),)
            for turn in tl.static_range(TURNS):
                sample = _samples(start, turn, ROWS)
                source = x_here + sample.to(tl.int64) * x_stride_batch
                features += _features(
                    source, channel, x_stride_channel, here & (sample < last), CHANNELS_ADJACENT, CHANNEL_STEP
                )
            before, sums = sums, ()
            for k in tl.static_range(CLASS_STEP):
                for turn in tl.static_range(TURNS):
                    total = before[k * TURNS + turn]
                    for c in tl.static_range(CHANNEL_STEP):
                        total = tl.fma(features[turn * CHANNEL_STEP + c], weights[k * CHANNEL_STEP + c], total)
                    sums += (total,)
        for k in tl.static_range(CLASS_STEP):
            target = logits + place * logits_stride_position
            target += tl.cast(first_class + k, tl.int64) * logits_stride_class
            for turn in tl.static_range(TURNS):
                sample = _samples(start, turn, ROWS)
                value = sums[k * TURNS + turn].to(logits.dtype.element_ty)
                mask = here & (sample < last) & (first_class + k < CLASSES)
                tl.store(target + sample.to(tl.int64) * logits_stride_batch, value, mask=mask)


@triton.jit
def _samples(start, turn: tl.constexpr, ROWS: tl.constexpr):
    """The samples (ROWS, 1) of a turn that begins `turn` tiles after the sample `start`."""
    return start + turn * ROWS + tl.arange(0, ROWS)[:, None]


@triton.jit
def _present(k, CLASSES: tl.constexpr):
    """The class k, or the last one for a k beyond: it is computed with the others and not stored."""
    return tl.minimum(k, CLASSES - 1)


@triton.jit
def _beta(beta, place, here, k, CLASSES: tl.constexpr, stride_class, stride_position):
    """beta of class k at every position, zero where there is none."""
    if beta is None:
        return tl.zeros(place.shape, tl.float32)
    else:
        source = beta + place * stride_position + tl.cast(_present(k, CLASSES), tl.int64) * stride_class
        return tl.load(source, mask=here, other=0.0).to(tl.float32)


@triton.jit
def _features(source, first, stride_channel, mask, ADJACENT: tl.constexpr, COUNT: tl.constexpr):
    """The channels [first, first + COUNT) as a tuple of tiles; `source` (ROWS, POSITIONS) points at channel 0."""
    tiles = ()
    if ADJACENT:
        four = tl.arange(0, 4)[None, None, :]
        for c in tl.static_range(0, COUNT, 4):
            pixels = tl.load(source[:, :, None] + (first + c + four), mask=mask[:, :, None], other=0.0).to(tl.float32)
            pairs = tl.reshape(pixels, [pixels.shape[0], pixels.shape[1], 2, 2])
            even, odd = tl.split(pairs)
            channel_0, channel_2 = tl.split(even)
            channel_1, channel_3 = tl.split(odd)
            tiles += (channel_0, channel_1, channel_2, channel_3)
    else:
        for c in tl.static_range(COUNT):
            pixels = source + tl.cast(first + c, tl.int64) * stride_channel
            tiles += (tl.load(pixels, mask=mask, other=0.0).to(tl.float32),)
    return tiles
