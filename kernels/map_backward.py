"""The backward of a position map: reads x and the incoming gradient once, writes grad x once, sums over the batch.

    dx_c = sum_k g_k W_kc        dW_kc = sum_b g_k x_c        dbeta_k = sum_b g_k

A tile is (POSITIONS, CHANNELS_AT_ONCE), and strides tell which axis is contiguous. There is one tile for each class and
for each of the SAMPLES in flight, so that nothing of the loop over the batch passes through shared memory.

Pointers
    grad_x       (B, C, N) in x's dtype
    grad_weight  (shares, K, C, N), grad_beta (shares, K, N) with positions adjacent: of each share of the batch a sum,
                 float32; with one share they are the gradients, in the dtype of weight and beta
    grad         (B, K, N) in x's dtype, with any strides, zero included
    x            (B, C, N)
    weight       (K, C, N)
    Each with its strides along batch, class, channel and position; `stride_share` is that of both sums. Gradients that
    are not wanted are None.
Integers
    positions N, batch B, shares of the batch
Constexprs
    CHANNELS C, CLASSES K; WANTS_X, WANTS_WEIGHT, WANTS_BETA: which results to form
    POSITIONS, CHANNELS_AT_ONCE, SAMPLES: the tile
"""

import triton
import triton.language as tl

from nerd_fast.kernels.streaming import beside, share_of_batch


@triton.jit(do_not_specialize=("batch", "shares"))
def map_backward(
    grad_x,
    grad_weight,
    grad_beta,
    grad,
    x,
    weight,
    grad_x_stride_batch,
    grad_x_stride_channel,
    grad_x_stride_position,
    grad_weight_stride_class,
    grad_weight_stride_channel,
    grad_beta_stride_class,
    stride_share,
    grad_stride_batch,
    grad_stride_class,
    grad_stride_position,
    x_stride_batch,
    x_stride_channel,
    x_stride_position,
    weight_stride_class,
    weight_stride_channel,
    weight_stride_position,
    positions,
    batch,
    shares,
    CHANNELS: tl.constexpr,
    CLASSES: tl.constexpr,
    WANTS_X: tl.constexpr,
    WANTS_WEIGHT: tl.constexpr,
    WANTS_BETA: tl.constexpr,
    POSITIONS: tl.constexpr,
    CHANNELS_AT_ONCE: tl.constexpr,
    SAMPLES: tl.constexpr,
):
    CHANNEL_GROUPS: tl.constexpr = (CHANNELS + CHANNELS_AT_ONCE - 1) // CHANNELS_AT_ONCE
    group = tl.program_id(0) % CHANNEL_GROUPS
    tile = tl.program_id(0) // CHANNEL_GROUPS // shares
    share = tl.program_id(0) // CHANNEL_GROUPS % shares
    first, last = share_of_batch(share, shares, batch)
    p = tile * POSITIONS + tl.arange(0, POSITIONS)
    c = (group * CHANNELS_AT_ONCE + tl.arange(0, CHANNELS_AT_ONCE)).to(tl.int64)[None, :]
    here = (p < positions)[:, None]
    place = p.to(tl.int64)[:, None]
    present = here & (c < CHANNELS)
    share_offset = share.to(tl.int64) * stride_share
    if WANTS_BETA and group == 0:
        target = grad_beta + share_offset + place
        _store_sums(
            target, grad_beta_stride_class, grad + place * grad_stride_position, here, first, last, CLASSES,
            grad_stride_batch, grad_stride_class,
        )  # fmt: skip
    if WANTS_X or WANTS_WEIGHT:
        pixels = x + place * x_stride_position + c * x_stride_channel
        weights, sums = (), ()
        for k in tl.static_range(CLASSES):
            if WANTS_X:
                plane = weight + place * weight_stride_position + c * weight_stride_channel
                plane += tl.cast(k, tl.int64) * weight_stride_class
                weights += (tl.load(plane, mask=present, other=0.0).to(tl.float32),)
            sums += (tl.zeros([POSITIONS, CHANNELS_AT_ONCE], tl.float32),)
        if WANTS_X:
            weights = beside(pixels, weights, first < 0)
        upstream = grad + place * grad_stride_position
        for start in range(first, last, SAMPLES):
            features = ()
            for s in tl.static_range(SAMPLES):
                if WANTS_WEIGHT:
                    sample = pixels + tl.cast(start + s, tl.int64) * x_stride_batch
                    features += (tl.load(sample, mask=present & (start + s < last), other=0.0).to(tl.float32),)
            for s in tl.static_range(SAMPLES):
                total = tl.zeros([POSITIONS, CHANNELS_AT_ONCE], tl.float32)
                before, sums = sums, ()
                source = upstream + tl.cast(start + s, tl.int64) * grad_stride_batch
                for k in tl.static_range(CLASSES):
                    g = tl.load(source, mask=here & (start + s < last), other=0.0).to(tl.float32)
                    source += grad_stride_class
                    sums += (before[k] + g * features[s] if WANTS_WEIGHT else before[k],)
                    if WANTS_X:
                        total += g * weights[k]
                if WANTS_X:
                    target = grad_x + place * grad_x_stride_position + c * grad_x_stride_channel
                    target += tl.cast(start + s, tl.int64) * grad_x_stride_batch
                    tl.store(target, total.to(grad_x.dtype.element_ty), mask=present & (start + s < last))
        if WANTS_WEIGHT:
            for k in tl.static_range(CLASSES):
                target = grad_weight + share_offset + place + c * grad_weight_stride_channel
                target += tl.cast(k, tl.int64) * grad_weight_stride_class
                tl.store(target, sums[k].to(grad_weight.dtype.element_ty), mask=present)


@triton.jit
def _store_sums(
    target, target_stride_class, grad, here, first, last, CLASSES: tl.constexpr, stride_batch, stride_class
):
    """Stores the sums over the samples [first, last) of the incoming gradient (POSITIONS, 1), class by class."""
    for k in range(CLASSES):
        total = tl.zeros(here.shape, tl.float32)
        for start in range(first, last, 4):
            for s in tl.static_range(4):  # four loads in flight
                source = grad + tl.cast(start + s, tl.int64) * stride_batch + tl.cast(k, tl.int64) * stride_class
                total += tl.load(source, mask=here & (start + s < last), other=0.0).to(tl.float32)
        store = target + tl.cast(k, tl.int64) * target_stride_class
        tl.store(store, total.to(target.dtype.element_ty), mask=here)
