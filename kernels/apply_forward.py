"""The forward kernel: boundary distances, calibrator and head in one launch.

    NeRDm   s_k = sum_c w_kc (x_c a_c(v) + b_c(v)) + bias_k     (equation 5; f(v) = (a, b))
    NeRDc   s_k = sum_c x_c w_kc(v) + bias_k                    (section 2.2; f(v) = w, output k C + c)

Both are one linear map of the features at each position, s_k = sum_c x_c W_kc(v) + beta_k(v), where NeRDm's W = w a and
beta_k = sum_c w_kc b_c + bias_k. One program owns POSITIONS positions and a share of the batch: it runs the calibrator
once for its positions, holds W for CLASSES classes in registers, and streams the samples.

Feature tiles are (outer, SAMPLES, READERS, runs, LANES, RUN, VECTOR). The channels of a position are outer * LANES *
VECTOR: VECTOR neighbours in a thread, LANES of those across a warp, the rest in the registers of a thread, so that the
sum over channels crosses few lanes and no warp. The positions are runs * RUN. READERS are the classes that different
threads hold, which read the same features. Triton lays a tile out along its last axes first, contiguous ones before
the others: the sizes, which `tiling` chooses for each memory format, decide what lies in a warp and what in a thread.

Pointers
    logits      (B, K, N) in x's dtype, x (B, C, N), each with its strides along batch, class or channel, and position
    classifier  (K, C) contiguous (NeRDm), else None
    weights     tuple of (out, in) contiguous; biases tuple of (out,): the calibrator, first layer first
    bias        (K,) or None
    Parameters are float32 or of x's dtype.
Integers
    positions, batch     N and B
    height, width        of x's last axes
    origin_*, extent_*   in pixels, along depth, height and width: where x begins in the image, and the image's size; in
                         2-D those of depth are 0 and 1
    shares               over how many programs the batch of one tile is divided
Constexprs
    MODULATES       NeRDm, else NeRDc
    C, K            channels and classes
    HIDDEN, PADDED  the widths of the hidden layers, as they are and in powers of two from 16
    SPATIAL_DIMS    2 or 3
    ACTIVATION      the name of the calibrator's
    SCALE           the factor of distances in pixels; None divides them by the extent less one
    PRECISION       of products: "ieee", "tf32x3" or "tf32"
    INNER           the most that a product takes of its inner size at once
    POSITIONS, SAMPLES, CLASSES, READERS, CHANNELS (C padded), LANES, VECTOR, RUN   the tile, see above
    CHANNELS_ADJACENT   neighbours in memory are channels of x
    CLASSES_ADJACENT    logits are K numbers for each position, one position after the other
"""

import triton
import triton.language as tl

from nerd_fast.kernels.calibrator import activate, again, boundary_distances, fenced
from nerd_fast.kernels.calibrator_outputs import hidden_layers, layer
from nerd_fast.kernels.streaming import own_share, tile_of

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
def apply_forward(
    logits,
    x,
    classifier,
    weights,
    biases,
    bias,
    logits_stride_batch,
    logits_stride_class,
    logits_stride_position,
    x_stride_batch,
    x_stride_channel,
    x_stride_position,
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
    MODULATES: tl.constexpr,
    C: tl.constexpr,
    K: tl.constexpr,
    HIDDEN: tl.constexpr,
    PADDED: tl.constexpr,
    SPATIAL_DIMS: tl.constexpr,
    ACTIVATION: tl.constexpr,
    SCALE: tl.constexpr,
    PRECISION: tl.constexpr,
    POSITIONS: tl.constexpr,
    SAMPLES: tl.constexpr,
    CLASSES: tl.constexpr,
    READERS: tl.constexpr,
    CHANNELS: tl.constexpr,
    LANES: tl.constexpr,
    VECTOR: tl.constexpr,
    RUN: tl.constexpr,
    CHANNELS_ADJACENT: tl.constexpr,
    CLASSES_ADJACENT: tl.constexpr,
    INNER: tl.constexpr,
):
    p0 = tile_of(shares) * POSITIONS
    p = p0 + tl.arange(0, POSITIONS)
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
    c = tl.arange(0, CHANNELS)
    if MODULATES:
        a = layer(h, c, c < C, weights[-1], biases[-1], HIDDEN[-1], INNER, PRECISION)
        a = as_features(a, 1, LANES, VECTOR, RUN)
    pixels, present = feature_tile(
        x, p0, positions, C, x_stride_channel, x_stride_position, POSITIONS, CHANNELS, READERS, LANES, VECTOR, RUN
    )
    _, first, last = own_share(batch, shares)
    for group in range(0, K, CLASSES):
        k = group + tl.arange(0, CLASSES)
        beta = class_bias(bias, k, K, POSITIONS)
        if MODULATES:
            beta += composed_shift(h, classifier, k, c, weights[-1], biases[-1], K, C, HIDDEN[-1])
        beta = tl.reshape(beta, [1, CLASSES // READERS, READERS, POSITIONS // RUN, RUN])
        w = ()
        for held in tl.static_range(0, CLASSES, READERS):
            outputs, inside = class_outputs(group + held + tl.arange(0, READERS), c, K, C)
            if MODULATES:
                w_class = tl.load(classifier + outputs, mask=inside, other=0.0).to(tl.float32)
                w += (a * as_features(w_class[:, None], READERS, LANES, VECTOR, 1),)
            else:
                f = layer(again(h, K > READERS), outputs, inside, weights[-1], biases[-1], HIDDEN[-1], INNER, PRECISION)
                w += (as_features(f, READERS, LANES, VECTOR, RUN),)
        source = pixels + _samples(first, SAMPLES).to(tl.int64) * x_stride_batch
        for start in range(first, last, SAMPLES):
            mask = present & (_samples(start, SAMPLES) < last)
            features = tl.load(source, mask=mask, other=0.0).to(tl.float32)
            source += SAMPLES * tl.cast(x_stride_batch, tl.int64)
            sums = ()
            for held in tl.static_range(len(w)):
                sums += (tl.sum(tl.sum(tl.sum(features * w[held], 0), 5), 3),)
            s = tl.permute(stacked(sums), (0, 4, 1, 2, 3)) + beta
            if CHANNELS_ADJACENT:  # and so are the classes of a position
                s = tl.reshape(s, [SAMPLES, 1, CLASSES, 1, POSITIONS])
            WRITERS: tl.constexpr = 1 if CHANNELS_ADJACENT else LANES
            store_sums(
                logits,
                s,
                start,
                last,
                p0,
                positions,
                group,
                K,
                logits_stride_batch,
                logits_stride_class,
                logits_stride_position,
                WRITERS,
                CLASSES_ADJACENT,
            )


@triton.jit
def as_features(t, READERS: tl.constexpr, LANES: tl.constexpr, VECTOR: tl.constexpr, RUN: tl.constexpr):
    """t (channels * readers, positions) as a tile of the batch loop, of one sample."""
    OUTER: tl.constexpr = t.shape[0] // (READERS * LANES * VECTOR)
    t = tl.reshape(t, [OUTER, LANES, VECTOR, READERS, t.shape[1] // RUN, RUN])
    return tl.permute(t, (0, 3, 4, 1, 5, 2))[:, None]


@triton.jit
def feature_tile(
    x,
    p0,
    positions,
    C: tl.constexpr,
    stride_channel,
    stride_position,
    POSITIONS: tl.constexpr,
    CHANNELS: tl.constexpr,
    READERS: tl.constexpr,
    LANES: tl.constexpr,
    VECTOR: tl.constexpr,
    RUN: tl.constexpr,
):
    """Pointers to the features of the first sample and their mask, as tiles of the batch loop."""
    outer = tl.arange(0, CHANNELS // (LANES * VECTOR))[:, None, None, None, None, None, None]
    lane = tl.arange(0, LANES)[None, None, None, None, :, None, None]
    c = (outer * LANES + lane) * VECTOR + tl.arange(0, VECTOR)[None, None, None, None, None, None, :]
    p = runs(p0, POSITIONS, RUN)[None, None, None, :, None, :, None]
    pointers = x + (c.to(tl.int64) * stride_channel + p.to(tl.int64) * stride_position)
    present = (p < positions) & (c < C)
    shape: tl.constexpr = [CHANNELS // (LANES * VECTOR), 1, READERS, POSITIONS // RUN, LANES, RUN, VECTOR]
    return tl.broadcast_to(pointers, shape), tl.broadcast_to(present, shape)


@triton.jit
def runs(p0, POSITIONS: tl.constexpr, RUN: tl.constexpr):
    """The positions from p0 on as (runs, run)."""
    return p0 + tl.arange(0, POSITIONS // RUN)[:, None] * RUN + tl.arange(0, RUN)[None, :]


@triton.jit
def _samples(start, SAMPLES: tl.constexpr):
    """The samples from start on, as a tile of the batch loop."""
    return start + tl.arange(0, SAMPLES)[None, :, None, None, None, None, None]


@triton.jit
def stacked(tiles):
    """A power of two of tiles of rank 4 as one of rank 5, along a last axis."""
    COUNT: tl.constexpr = len(tiles)
    shape: tl.constexpr = tiles[0].shape
    for _ in tl.static_range(COUNT.bit_length() - 1):
        pairs = ()
        for i in tl.static_range(len(tiles) // 2):
            pairs += (tl.join(tiles[i], tiles[i + len(tiles) // 2]),)
        tiles = pairs
    return tl.reshape(tiles[0], [shape[0], shape[1], shape[2], shape[3], COUNT])


@triton.jit
def class_outputs(k, c, K: tl.constexpr, C: tl.constexpr):
    """The calibrator's outputs for the channels c of the classes k, flat and channel by channel, and their mask.

    They are NeRDc's weights; of NeRDm with one class they are a.
    """
    FLAT: tl.constexpr = k.shape[0] * c.shape[0]
    return (
        tl.reshape(c[:, None] + k[None, :] * C, [FLAT]),
        tl.reshape((c < C)[:, None] & (k < K)[None, :], [FLAT]),
    )


@triton.jit
def composed_shift(h, classifier, k, c, weight, bias, K: tl.constexpr, C: tl.constexpr, IN: tl.constexpr):
    """sum_c w_kc b_c(v) of the classes k of NeRDm, (classes, positions): the rows of b are composed with w first.

    Up to 64 channels and 16 KiB of rows at a time: all rows of 64 channels and 128 units take 32 KiB of shared memory
    and with what lies beside them more than Turing has.
    """
    MOST: tl.constexpr = 4096 // h.shape[0] if h.shape[0] > 64 else 64
    STEP: tl.constexpr = MOST if c.shape[0] > MOST else c.shape[0]
    units = tl.arange(0, h.shape[0])
    rows, shift = _composed(classifier, k, tl.arange(0, STEP), weight, bias, units, K, C, IN)
    for start in range(STEP, c.shape[0], STEP):
        more_rows, more_shift = _composed(classifier, k, start + tl.arange(0, STEP), weight, bias, units, K, C, IN)
        rows += more_rows
        shift += more_shift
    return tl.dot(rows, h, input_precision="ieee") + shift[:, None]


@triton.jit
def _composed(classifier, k, c, weight, bias, units, K: tl.constexpr, C: tl.constexpr, IN: tl.constexpr):
    """The part of the channels c in the rows of b, (classes, units), and in their biases, (classes,).

    The biases are multiplied before lanes add them up: fused with the first addition, a lane's own product would not be
    rounded and its neighbour's would, and copies of the sum in two warps would differ in the last place.
    """
    inside = (c < C)[:, None] & (units < IN)[None, :]
    rows = tl.load(weight + (C + c)[:, None] * IN + units[None, :], mask=inside, other=0.0).to(tl.float32)
    inside = (k < K)[:, None] & (c < C)[None, :]
    w = tl.load(classifier + k[:, None] * C + c[None, :], mask=inside, other=0.0).to(tl.float32)
    b = tl.load(bias + C + c, mask=c < C, other=0.0).to(tl.float32)
    shift = tl.sum(fenced(w * b[None, :]), 1)
    return tl.dot(w, rows, input_precision="ieee"), shift


@triton.jit
def class_bias(bias, k, K: tl.constexpr, POSITIONS: tl.constexpr):
    """The bias of classes k as (classes, positions), zero where there is none."""
    if bias is None:
        return tl.zeros([k.shape[0], POSITIONS], tl.float32)
    else:
        b = tl.load(bias + k, mask=k < K, other=0.0).to(tl.float32)
        return tl.broadcast_to(b[:, None], [k.shape[0], POSITIONS])


@triton.jit
def store_sums(
    logits,
    s,
    start,
    last,
    p0,
    positions,
    group,
    K: tl.constexpr,
    stride_batch,
    stride_class,
    stride_position,
    WRITERS: tl.constexpr,
    ADJACENT: tl.constexpr,
):
    """Writes the logits s (samples, classes, readers, runs, run), for the samples from start on.

    Where as many lanes of a warp as WRITERS hold the same sum the first of them writes it, from where it lies.
    """
    sample = (start + tl.arange(0, s.shape[0]))[:, None, None, None, None, None]
    k = group + tl.arange(0, s.shape[1])[:, None] * s.shape[2] + tl.arange(0, s.shape[2])[None, :]
    k = k[None, :, :, None, None, None]
    p = runs(p0, s.shape[3] * s.shape[4], s.shape[4])[None, None, None, :, None, :]
    lane = tl.arange(0, WRITERS)[None, None, None, None, :, None]
    place = p.to(tl.int64) * stride_position
    if ADJACENT:
        place = tl.multiple_of(place, [K & -K] * 6)
    pointers = logits + (sample.to(tl.int64) * stride_batch + k.to(tl.int64) * stride_class + place)
    mask = (sample < last) & (k < K) & (p < positions) & (lane == 0)
    s = tl.broadcast_to(s[:, :, :, :, None, :], mask.shape)
    tl.store(tl.broadcast_to(pointers, mask.shape), s.to(logits.dtype.element_ty), mask=mask)
