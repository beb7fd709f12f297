"""The apply-backward kernel: streams the features and the incoming gradient once, and folds the batch away.

With the head as the position-wise linear map `s_k = sum_c x_c W_kc(v) + beta_k(v)`:

    dx_c = sum_k g_k W_kc(v)        dW_kc(v) = sum_b g_bk x_bc        dbeta_k(v) = sum_b g_bk

and for NeRDm, where W = w a and beta = w b,

    da_c = sum_k w_kc dW_kc         db_c = sum_k w_kc dbeta_k         dw_kc = sum_v (a_c dW_kc + b_c dbeta_k)

One program owns P positions and a share of the batch, and walks the channels T at a time with all classes of a channel
in registers, so that x is read once and its gradient written once. Feature tiles are (S, P, 1, T), gradient
tiles (S, P, G, 1) with G the classes in a power of two.

Pointers
    grad_x      as x, strides (stride_db, stride_dc, stride_dp)
    grad_f      (shares, outputs, N padded to whole tiles) float32: gradient of f(v) at every position
    rows        (programs, K C + K) float32: this program's share of the gradients of classifier and bias
    grad        (B, K, N) strides (stride_gb, stride_gk, stride_gp), of any kind, zero included
    x, classifier, weights, biases and the integers as in `apply_forward`; tiles is the number of tiles of positions
Constexprs
    as in `apply_forward`, and WANTS_X, WANTS_F, WANTS_CLASSIFIER, WANTS_BIAS: which results to form;
    MODULATES: NeRDm, else NeRDc
"""

import triton
import triton.language as tl

from nerd_fast.kernels.apply_forward import INTEGERS, class_outputs, classes, feature_tile, share_of_batch
from nerd_fast.kernels.calibrator import activate, boundary_distances, hidden_layers, layer


@triton.jit(do_not_specialize=(*INTEGERS, "tiles"))
def apply_backward(
    grad_x,
    grad_f,
    rows,
    grad,
    x,
    classifier,
    weights,
    biases,
    stride_db,
    stride_dc,
    stride_dp,
    stride_gb,
    stride_gk,
    stride_gp,
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
    tiles,
    MODULATES: tl.constexpr,
    C: tl.constexpr,
    K: tl.constexpr,
    HIDDEN: tl.constexpr,
    PADDED: tl.constexpr,
    SPATIAL_DIMS: tl.constexpr,
    ACTIVATION: tl.constexpr,
    SCALE: tl.constexpr,
    PRECISION: tl.constexpr,
    WANTS_X: tl.constexpr,
    WANTS_F: tl.constexpr,
    WANTS_CLASSIFIER: tl.constexpr,
    WANTS_BIAS: tl.constexpr,
    P: tl.constexpr,
    S: tl.constexpr,
    G: tl.constexpr,
    T: tl.constexpr,
    DEPTH: tl.constexpr,
):
    p, first, last = share_of_batch(batch, shares, P, S)
    if WANTS_X or WANTS_CLASSIFIER:
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
        h = activate(
            hidden_layers(v, weights, biases, HIDDEN, PADDED, SPATIAL_DIMS, ACTIVATION, DEPTH, PRECISION)[-1],
            ACTIVATION,
        )
    k = tl.arange(0, G)
    W: tl.constexpr = HIDDEN[-1]
    OUTPUTS: tl.constexpr = 2 * C if MODULATES else K * C
    if WANTS_F:
        plane = grad_f + (tl.program_id(0) % shares).to(tl.int64) * OUTPUTS * tiles * P
    if WANTS_CLASSIFIER or WANTS_BIAS:
        row = rows + tl.program_id(0).to(tl.int64) * (K * C + K)
    for start_c in range(0, C, T):
        c = start_c + tl.arange(0, T)
        if MODULATES:
            w = classes(classifier, k, c, C, K)
            if WANTS_X or WANTS_CLASSIFIER:
                a = layer(h, c, c < C, weights[-1], biases[-1], W, DEPTH, PRECISION)
                a = tl.reshape(a, [1, P, 1, T])
            if WANTS_CLASSIFIER:
                b = layer(h, C + c, c < C, weights[-1], biases[-1], W, DEPTH, PRECISION)
                b = tl.reshape(b, [1, P, 1, T])
        elif WANTS_X:
            outputs, inside = class_outputs(k, c, K, C)
            w = layer(h, outputs, inside, weights[-1], biases[-1], W, DEPTH, PRECISION)
            w = tl.reshape(w, [1, P, G, T])
        pixels, present = feature_tile(x, p, positions, c, C, stride_xc, stride_xp)
        upstream, upstream_present = _gradient_tile(grad, p, positions, k, K, stride_gk, stride_gp)
        d_w = tl.zeros([1, P, G, T], tl.float32)
        d_beta = tl.zeros([1, P, G, 1], tl.float32)
        for start in range(first, last, S):
            sample = (start + tl.arange(0, S))[:, None, None, None]
            g = tl.load(
                upstream + sample.to(tl.int64) * stride_gb, mask=upstream_present & (sample < last), other=0.0
            ).to(tl.float32)
            if WANTS_F or WANTS_CLASSIFIER:
                features = tl.load(
                    pixels + sample.to(tl.int64) * stride_xb, mask=present & (sample < last), other=0.0
                ).to(tl.float32)
                d_w += tl.sum(g * features, 0, keep_dims=True)
            if WANTS_F or WANTS_CLASSIFIER or WANTS_BIAS:
                d_beta += tl.sum(g, 0, keep_dims=True)
            if WANTS_X:
                d_x = tl.sum(g * w, 2)
                if MODULATES:
                    d_x *= tl.reshape(a, [1, P, T])
                _store_gradient(grad_x, d_x, start, last, p, positions, c, C, stride_db, stride_dc, stride_dp)
        if MODULATES:
            if WANTS_F:
                d_a = tl.reshape(tl.sum(d_w * w, 2), [P, T])
                d_b = tl.reshape(tl.sum(d_beta * w, 2), [P, T])
                _store_outputs(plane, d_a, p, c, c < C, tiles)
                _store_outputs(plane, d_b, p, C + c, c < C, tiles)
            if WANTS_CLASSIFIER:
                _store_row(row, tl.sum(d_w * a + d_beta * b, 1), k, c, K, C)
        elif WANTS_F:
            outputs, inside = class_outputs(k, c, K, C)
            _store_outputs(plane, tl.reshape(d_w, [P, G * T]), p, outputs, inside, tiles)
        if WANTS_BIAS:
            _store_row(row + K * C, tl.sum(d_beta, 1), k, tl.arange(0, 1), K, 1)


@triton.jit
def _gradient_tile(grad, p, positions, k, K: tl.constexpr, stride_k, stride_p):
    p = p[None, :, None, None]
    k = k[None, None, :, None]
    return grad + (k.to(tl.int64) * stride_k + p.to(tl.int64) * stride_p), (p < positions) & (k < K)


@triton.jit
def _store_gradient(grad_x, d_x, start, last, p, positions, c, C: tl.constexpr, stride_b, stride_c, stride_p):
    """Writes d_x (S, P, T) for the samples from start on, the positions p and the channels c."""
    sample = (start + tl.arange(0, d_x.shape[0]))[:, None, None]
    p = p[None, :, None]
    c = c[None, None, :]
    offset = sample.to(tl.int64) * stride_b + (c.to(tl.int64) * stride_c + p.to(tl.int64) * stride_p)
    tl.store(grad_x + offset, d_x.to(grad_x.dtype.element_ty), mask=(sample < last) & (p < positions) & (c < C))


@triton.jit
def _store_outputs(plane, value, p, outputs, inside, tiles):
    """Writes value (P, U), the gradient of the given outputs (U,) at the positions p."""
    offset = outputs.to(tl.int64)[None, :] * (tiles * p.shape[0]) + p[:, None]
    tl.store(plane + offset, value, mask=tl.broadcast_to(inside[None, :], value.shape))


@triton.jit
def _store_row(row, value, k, c, K: tl.constexpr, C: tl.constexpr):
    """Writes value (1, G, T), indexed by class and channel, at k C + c."""
    k = k[None, :, None]
    c = c[None, None, :]
    tl.store(row + k * C + c, value, mask=(k < K) & (c < C))
