"""The normalisation by position in one launch: boundary distances, calibrator and `y_c = a_c(v) x_c + b_c(v)`.

One program owns POSITIONS positions and a share of the batch: it runs the calibrator once for its positions and then
streams the samples, CHANNELS channels at a time. A tile is (1, POSITIONS, CHANNELS), and strides tell which axis is
contiguous: one source serves both memory formats, and nothing of the loop passes through shared memory.

Pointers
    y, x     (B, C, N), each with its strides along batch, channel and position; y in x's dtype
    weights  tuple of (out, in) contiguous; biases tuple of (out,): the calibrator, with 2 C outputs; in float32 or x's
             dtype
Integers
    channels C; positions, batch, height, width, origin_*, extent_*, shares as in `apply_forward`
Constexprs
    HIDDEN, PADDED, SPATIAL_DIMS, ACTIVATION, SCALE, PRECISION, INNER as in `apply_forward`
    POSITIONS, CHANNELS, SAMPLES: the tile; SAMPLES of it are in flight
"""

import triton
import triton.language as tl

from nerd_fast.kernels.calibrator import activate, boundary_distances
from nerd_fast.kernels.calibrator_outputs import hidden_layers, layer
from nerd_fast.kernels.streaming import beside, places, share_of_batch

INTEGERS = (
    "batch",
    "height",
    "width",
    "origin_d",
    "origin_h",
    "origin_w",
    "extent_d",
    "extent_h",
    "extent_w",
    "shares",
)


@triton.jit(do_not_specialize=INTEGERS)
def norm_forward(
    y,
    x,
    weights,
    biases,
    y_stride_batch,
    y_stride_channel,
    y_stride_position,
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
    HIDDEN: tl.constexpr,
    PADDED: tl.constexpr,
    SPATIAL_DIMS: tl.constexpr,
    ACTIVATION: tl.constexpr,
    SCALE: tl.constexpr,
    PRECISION: tl.constexpr,
    POSITIONS: tl.constexpr,
    CHANNELS: tl.constexpr,
    SAMPLES: tl.constexpr,
    INNER: tl.constexpr,
):
    p = tl.program_id(0) // shares * POSITIONS + tl.arange(0, POSITIONS)
    first, last = share_of_batch(tl.program_id(0) % shares, shares, batch)
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
        a, b = _scale_and_shift(h, start_channel, channels, weights, biases, HIDDEN[-1], CHANNELS, INNER, PRECISION)
        present = (p < positions)[None, :, None] & (c < channels)[None, None, :]
        pixels = x + places(p, c, x_stride_position, x_stride_channel)
        normalised = y + places(p, c, y_stride_position, y_stride_channel)
        a, b = beside(pixels, (a, b), first < 0)
        for start in range(first, last, SAMPLES):
            features = ()
            for s in tl.static_range(SAMPLES):
                source = pixels + tl.cast(start + s, tl.int64) * x_stride_batch
                features += (tl.load(source, mask=present & (start + s < last), other=0.0).to(tl.float32),)
            for s in tl.static_range(SAMPLES):
                target = normalised + tl.cast(start + s, tl.int64) * y_stride_batch
                value = tl.fma(features[s], a, b).to(y.dtype.element_ty)
                tl.store(target, value, mask=present & (start + s < last))


@triton.jit
def _scale_and_shift(
    h,
    start,
    channels,
    weights,
    biases,
    IN: tl.constexpr,
    CHANNELS: tl.constexpr,
    INNER: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """a and b of the channels from `start` on as tiles of the batch loop, from one product.

    From two, which read the same h, the compiler would keep all of it in registers from one to the other.
    """
    both = tl.arange(0, 2 * CHANNELS)
    c = start + both // 2
    f = layer(h, c + both % 2 * channels, c < channels, weights[-1], biases[-1], IN, INNER, PRECISION)
    return tl.split(tl.permute(tl.reshape(f, [1, CHANNELS, 2, h.shape[1]]), (0, 3, 1, 2)))
