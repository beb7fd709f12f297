"""The forward kernel: boundary distances, calibrator and head in one launch.

    NeRDm   s_k = sum_c w_kc (x_c a_c(v) + b_c(v)) + bias_k     (equation 5; f(v) = (a, b))
    NeRDc   s_k = sum_c x_c w_kc(v) + bias_k                    (section 2.2; f(v) = w, output k C + c)

One program owns P positions and a share of the batch: it runs the calibrator once for its positions and then streams
the samples. Feature tiles are (S, P, 1, T) and logit tiles (S, P, G) for S samples and G classes at a time; which axis
is contiguous is told by the strides alone, so that one source serves contiguous and channels_last features.

Pointers
    logits      (B, K, N) strides (stride_sb, stride_sk, stride_sp), in x's dtype
    x           (B, C, N) strides (stride_xb, stride_xc, stride_xp)
    classifier  (K, C) contiguous (NeRDm)
    weights     tuple of (out, in) contiguous; biases tuple of (out,)
    bias        (K,) or None
Integers
    batch B, positions N, height and width of x's last axes, the window's origin and the image's extent,
    shares: over how many programs the batch of one tile is divided
Constexprs
    C, K, HIDDEN (widths) and PADDED (the same in powers of two from 16), SPATIAL_DIMS, ACTIVATION, SCALE;
    MODULATES: NeRDm, else NeRDc; P, S, G, T (C in a power of two), DEPTH and PRECISION of products
"""

import triton
import triton.language as tl

from nerd_fast.kernels.calibrator import activate, boundary_distances, hidden_layers, layer

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
    stride_sb,
    stride_sk,
    stride_sp,
    stride_xb,
    stride_xc,
    stride_xp,
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
    P: tl.constexpr,
    S: tl.constexpr,
    G: tl.constexpr,
    T: tl.constexpr,
    DEPTH: tl.constexpr,
):
    p, first, last = share_of_batch(batch, shares, P)
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
    zs = hidden_layers(v, weights, biases, HIDDEN, PADDED, SPATIAL_DIMS, ACTIVATION, DEPTH, PRECISION)
    h = activate(zs[-1], ACTIVATION)
    c = tl.arange(0, T)
    pixels, present = feature_tile(x, p, positions, c, C, stride_xc, stride_xp)
    if MODULATES:
        a = layer(h, c, c < C, weights[-1], biases[-1], HIDDEN[-1], DEPTH, PRECISION)
        b = layer(h, C + c, c < C, weights[-1], biases[-1], HIDDEN[-1], DEPTH, PRECISION)
        a = tl.reshape(a, [1, P, 1, T])
        b = tl.reshape(b, [1, P, 1, T])
        w = classes(classifier, tl.arange(0, G), c, C, K)
        for start in range(first, last, S):
            sample = (start + tl.arange(0, S))[:, None, None, None]
            offset = sample.to(tl.int64) * stride_xb
            y = tl.load(pixels + offset, mask=present & (sample < last), other=0.0).to(tl.float32) * a + b
            for group in range(0, K, G):
                k = group + tl.arange(0, G)
                if K > G:
                    w = classes(classifier, k, c, C, K)
                s = tl.sum(y * w, 3) + class_bias(bias, k, K)
                store_logits(logits, s, start, last, p, positions, k, K, stride_sb, stride_sk, stride_sp)
    else:
        for group in range(0, K, G):
            k = group + tl.arange(0, G)
            outputs, inside = class_outputs(k, c, K, C)
            w = layer(h, outputs, inside, weights[-1], biases[-1], HIDDEN[-1], DEPTH, PRECISION)
            w = tl.reshape(w, [1, P, G, T])
            shift = class_bias(bias, k, K)
            for start in range(first, last, S):
                sample = (start + tl.arange(0, S))[:, None, None, None]
                offset = sample.to(tl.int64) * stride_xb
                features = tl.load(pixels + offset, mask=present & (sample < last), other=0.0).to(tl.float32)
                s = tl.sum(features * w, 3) + shift
                store_logits(logits, s, start, last, p, positions, k, K, stride_sb, stride_sk, stride_sp)


@triton.jit
def share_of_batch(batch, shares, P: tl.constexpr):
    """This program's positions (P,), and its samples as [first, last), a whole number of fours but at the end."""
    tile = tl.program_id(0) // shares
    share = tl.program_id(0) % shares
    samples = 4 * tl.cdiv(tl.cdiv(batch, 4), shares)
    return tile * P + tl.arange(0, P), share * samples, tl.minimum((share + 1) * samples, batch)


@triton.jit
def feature_tile(x, p, positions, c, C: tl.constexpr, stride_c, stride_p):
    """Pointers to the features of the first sample and their mask, both (1, P, 1, channels)."""
    p = p[None, :, None, None]
    c = c[None, None, None, :]
    return x + (c.to(tl.int64) * stride_c + p.to(tl.int64) * stride_p), (p < positions) & (c < C)


@triton.jit
def classes(classifier, k, c, C: tl.constexpr, K: tl.constexpr):
    """Rows k of the classifier as (1, 1, G, T), zero beyond K and C."""
    k = k[None, None, :, None]
    c = c[None, None, None, :]
    return tl.load(classifier + k * C + c, mask=(k < K) & (c < C), other=0.0).to(tl.float32)


@triton.jit
def class_outputs(k, c, K: tl.constexpr, C: tl.constexpr):
    """The calibrator's outputs that are NeRDc's weights of classes k (G,) and channels c (T,), flat, and their mask."""
    FLAT: tl.constexpr = k.shape[0] * c.shape[0]
    return (
        tl.reshape(k[:, None] * C + c[None, :], [FLAT]),
        tl.reshape((k < K)[:, None] & (c < C)[None, :], [FLAT]),
    )


@triton.jit
def class_bias(bias, k, K: tl.constexpr):
    """The bias of classes k as (1, 1, G), zero where there is none."""
    k = k[None, None, :]
    if bias is None:
        return tl.zeros(k.shape, tl.float32)
    else:
        return tl.load(bias + k, mask=k < K, other=0.0).to(tl.float32)


@triton.jit
def store_logits(logits, s, start, last, p, positions, k, K: tl.constexpr, stride_b, stride_k, stride_p):
    """Writes s (S, P, G) for the samples from start on, the positions p and the classes k."""
    sample = (start + tl.arange(0, s.shape[0]))[:, None, None]
    p = p[None, :, None]
    k = k[None, None, :]
    offset = sample.to(tl.int64) * stride_b + k.to(tl.int64) * stride_k + p.to(tl.int64) * stride_p
    tl.store(logits + offset, s.to(logits.dtype.element_ty), mask=(sample < last) & (p < positions) & (k < K))
