"""The backward of the normalisation by position as far as it streams: reads x and grad once, writes grad x once.

    dx_c = g_c a_c        da_c = sum_b g_c x_c        db_c = sum_b g_c

From da and db, the gradient of f(v) = (a, b), `calibrator_backward` makes those of the calibrator's parameters.
Programs and tiles are those of `norm_forward`.

Pointers
    grad_x       (B, C, N) in x's dtype, None where not wanted
    grad_f       (shares, 2 C, N padded to whole tiles) float32: of each share of the batch the gradient of f(v); None
                 where not wanted
    grad         (B, C, N) in x's dtype, with any strides, zero included
    the others as in `norm_forward`
Integers
    tiles        how many tiles of POSITIONS cover the positions
    the others as in `norm_forward`
Constexprs
    as in `norm_forward`; WANTS_X, WANTS_F: which results to form
"""

import triton
import triton.language as tl

from nerd_fast.kernels.calibrator import activate, boundary_distances
from nerd_fast.kernels.calibrator_outputs import hidden_layers, layer
from nerd_fast.kernels.norm_forward import INTEGERS
from nerd_fast.kernels.streaming import beside, places, share_of_batch


@triton.jit(do_not_specialize=(*INTEGERS, "tiles"))
def norm_backward(
    grad_x,
    grad_f,
    grad,
    x,
    weights,
    biases,
    grad_x_stride_batch,
    grad_x_stride_channel,
    grad_x_stride_position,
    grad_stride_batch,
    grad_stride_channel,
    grad_stride_position,
    x_stride_batch,
    x_stride_channel,
    x_stride_position,
    channels,
    positions,
    batch,
    height,
    width,
    origin_d,
    origin_h,
    origin_w,
    extent_d,
    extent_h,
    extent_w,
    shares,
    tiles,
    HIDDEN: tl.constexpr,
    PADDED: tl.constexpr,
    SPATIAL_DIMS: tl.constexpr,
    ACTIVATION: tl.constexpr,
    SCALE: tl.constexpr,
    PRECISION: tl.constexpr,
    WANTS_X: tl.constexpr,
    WANTS_F: tl.constexpr,
    POSITIONS: tl.constexpr,
    CHANNELS: tl.constexpr,
    SAMPLES: tl.constexpr,
    INNER: tl.constexpr,
):
    p = tl.program_id(0) // shares * POSITIONS + tl.arange(0, POSITIONS)
    share = tl.program_id(0) % shares
    first, last = share_of_batch(share, shares, batch)
    if WANTS_X:
        v = boundary_distances(
            tl.minimum(p, positions - 1),
            height,
            width,
            origin_d,
            origin_h,
            origin_w,
            extent_d,
            extent_h,
            extent_w,
            SPATIAL_DIMS,
            SCALE,
        )
        zs = hidden_layers(v, weights, biases, HIDDEN, PADDED, SPATIAL_DIMS, ACTIVATION, INNER, PRECISION)
        h = activate(zs[-1], ACTIVATION)
    for start_channel in range(0, channels, CHANNELS):
        c = start_channel + tl.arange(0, CHANNELS)
        present = (p < positions)[None, :, None] & (c < channels)[None, None, :]
        pixels = x + places(p, c, x_stride_position, x_stride_channel)
        upstream = grad + places(p, c, grad_stride_position, grad_stride_channel)
        if WANTS_X:
            a = layer(h, c, c < channels, weights[-1], biases[-1], HIDDEN[-1], INNER, PRECISION)
            a = beside(pixels, (tl.trans(a)[None, :, :],), first < 0)[0]
            downstream = grad_x + places(p, c, grad_x_stride_position, grad_x_stride_channel)
        grad_a = tl.zeros([1, POSITIONS, CHANNELS], tl.float32)
        grad_b = tl.zeros([1, POSITIONS, CHANNELS], tl.float32)
        for start in range(first, last, SAMPLES):
            features, gradients = (), ()
            for s in tl.static_range(SAMPLES):
                mask = present & (start + s < last)
                source = upstream + tl.cast(start + s, tl.int64) * grad_stride_batch
                gradients += (tl.load(source, mask=mask, other=0.0).to(tl.float32),)
                if WANTS_F:
                    source = pixels + tl.cast(start + s, tl.int64) * x_stride_batch
                    features += (tl.load(source, mask=mask, other=0.0).to(tl.float32),)
            for s in tl.static_range(SAMPLES):
                if WANTS_F:
                    grad_a = tl.fma(gradients[s], features[s], grad_a)
                    grad_b += gradients[s]
                if WANTS_X:
                    target = downstream + tl.cast(start + s, tl.int64) * grad_x_stride_batch
                    value = (gradients[s] * a).to(grad_x.dtype.element_ty)
                    tl.store(target, value, mask=present & (start + s < last))
        if WANTS_F:
            width_f = tl.cast(tiles, tl.int64) * POSITIONS
            target = grad_f + share.to(tl.int64) * (2 * channels) * width_f + places(p, c, 1, width_f)
            inside = tl.broadcast_to((c < channels)[None, None, :], [1, POSITIONS, CHANNELS])
            tl.store(target, grad_a, mask=inside)
            tl.store(target + channels * width_f, grad_b, mask=inside)
