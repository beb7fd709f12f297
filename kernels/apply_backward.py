"""The apply-backward kernel: streams the features and the incoming gradient once, and folds the batch away.

With y = x for NeRDc, y_c = a_c(v) x_c + b_c(v) for NeRDm, and w_kc the class weights (of v in NeRDc, of the classifier
in NeRDm), so that s_k = sum_c y_c w_kc + bias_k, a sample contributes

    dy_c = sum_k g_k w_kc        dw_kc = g_k y_c                    dbias_k = g_k
    dx_c = dy_c                  NeRDc
    dx_c = dy_c a_c              da_c = dy_c x_c      db_c = dy_c   NeRDm

NeRDm with one class is *folded*: s = sum_c x_c W_c(v) + beta(v), with W = w a and beta = sum_c w_c b_c + bias, and

    dx_c = g W_c                 dW_c = g x_c         dbeta = g

so that C + 1 planes of gradients take the place of 2 C, and da_c = w_c dW_c, db_c = w_c dbeta are left to their reader.

One program owns POSITIONS positions and a share of the batch, and walks the channels CHANNELS at a time: x is read once
and its gradient written once, in its own type. Every tile of the batch loop is (1, positions, channels), and there is
one for each class and for each of the SAMPLES in flight: nothing of the loop passes through shared memory.

Pointers
    grad_x      (B, C, N) in x's dtype
    grad_f      (shares, planes, N padded to whole tiles) float32: gradient of f(v) at every position, a plane for each
                of its outputs; folded, planes 0 to C - 1 are dW and plane C is dbeta
    rows        (programs, K C + K) float32: this program's share of the gradients of classifier and bias; folded, None,
                since they follow from the planes
    grad        (B, K, N) in x's dtype, with any strides, zero included
    x, classifier, weights, biases as in `apply_forward`
    grad_x, grad_f and rows are None where nothing of them is wanted. Each of grad_x, grad and x has its strides along
    batch, channel or class, and position.
Integers
    tiles       how many tiles of POSITIONS cover the positions
    the others as in `apply_forward`
Constexprs
    WANTS_X, WANTS_F, WANTS_CLASSIFIER, WANTS_BIAS   which results to form
    FOLDED      see above
    POSITIONS, SAMPLES, CHANNELS   the tile: positions, samples in flight, channels at a time
    MODULATES, C, K, HIDDEN, PADDED, SPATIAL_DIMS, ACTIVATION, SCALE, PRECISION, INNER as in `apply_forward`
"""

import triton
import triton.language as tl

from nerd_fast.kernels.apply_forward import INTEGERS
from nerd_fast.kernels.calibrator import activate, again, boundary_distances
from nerd_fast.kernels.calibrator_outputs import hidden_layers, layer
from nerd_fast.kernels.streaming import own_share, places, tile_of

HELD = tl.constexpr(16)  # with more classes the classifier is read again for every sample: 64 would spill 136 bytes


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
    grad_x_stride_batch,
    grad_x_stride_channel,
    grad_x_stride_position,
    grad_stride_batch,
    grad_stride_class,
    grad_stride_position,
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
    FOLDED: tl.constexpr,
    POSITIONS: tl.constexpr,
    SAMPLES: tl.constexpr,
    CHANNELS: tl.constexpr,
    INNER: tl.constexpr,
):
    p = tile_of(shares) * POSITIONS + tl.arange(0, POSITIONS)
    SCALES: tl.constexpr = MODULATES and not FOLDED  # the loop scales features and shifts them, a and b at hand
    SUMS_CLASSES: tl.constexpr = WANTS_CLASSIFIER and not FOLDED
    SUMS_MAP: tl.constexpr = WANTS_F and not SCALES
    if SUMS_CLASSES or WANTS_BIAS:
        row = rows + tl.program_id(0).to(tl.int64) * (K * C + K)
    if WANTS_BIAS:
        _, first, last = own_share(batch, shares)
        _store_sums(
            row + K * C, grad, p, positions, first, last, K, grad_stride_batch, grad_stride_class, grad_stride_position
        )
    if WANTS_X or SUMS_CLASSES:
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
    PLANES: tl.constexpr = C + 1 if FOLDED else 2 * C if MODULATES else K * C
    here = (p < positions)[None, :, None]
    for start_c in range(0, C, CHANNELS):
        c = start_c + tl.arange(0, CHANNELS)
        present = here & (c < C)[None, None, :]
        if MODULATES and (WANTS_X or SUMS_CLASSES):
            a = _outputs(h, c, c < C, weights, biases, HIDDEN[-1], INNER, PRECISION)
        if SUMS_CLASSES:
            b = _outputs(h, C + c, c < C, weights, biases, HIDDEN[-1], INNER, PRECISION)
        w, d_w = (), ()
        for k in tl.static_range(K):
            if SCALES and K <= HELD:
                w += (_class(classifier, k, c, C),)
            elif FOLDED and WANTS_X:
                w += (a * _class(classifier, k, c, C),)
            elif WANTS_X and not MODULATES and k % 2 == 0:
                w += _two_classes(
                    again(h, K > 2), k, start_c, CHANNELS, C, K, weights, biases, HIDDEN[-1], INNER, PRECISION
                )
            d_w += (tl.zeros([1, POSITIONS, CHANNELS], tl.float32),)
        d_ab = tl.zeros([1, POSITIONS, CHANNELS, 2], tl.float32)
        d_beta = tl.zeros([1, POSITIONS, 1], tl.float32)
        share, first, last = own_share(batch, shares)
        pixels = x + places(p, c, x_stride_position, x_stride_channel) + tl.cast(first, tl.int64) * x_stride_batch
        if WANTS_X:
            targets = (
                grad_x
                + places(p, c, grad_x_stride_position, grad_x_stride_channel)
                + tl.cast(first, tl.int64) * grad_x_stride_batch
            )
        upstream = (
            grad + (p.to(tl.int64) * grad_stride_position)[None, :, None] + tl.cast(first, tl.int64) * grad_stride_batch
        )
        for start in range(first, last, SAMPLES):
            features, d_x = (), ()
            for s in tl.static_range(SAMPLES):
                if WANTS_F or SUMS_CLASSES:
                    features += (tl.load(pixels, mask=present & _is_before(start + s, last), other=0.0).to(tl.float32),)
                    pixels += tl.cast(x_stride_batch, tl.int64)
            for s in tl.static_range(SAMPLES):
                if SUMS_CLASSES:
                    y = features[s] * a + b if SCALES else features[s]
                elif SUMS_MAP:
                    y = features[s]
                d_y = tl.zeros([1, POSITIONS, CHANNELS], tl.float32)
                before, d_w = d_w, ()
                source = upstream
                upstream += tl.cast(grad_stride_batch, tl.int64)
                for k in tl.static_range(K):
                    g = tl.load(source, mask=here & _is_before(start + s, last), other=0.0).to(tl.float32)
                    source += grad_stride_class
                    d_w += (before[k] + g * y if SUMS_CLASSES or SUMS_MAP else before[k],)
                    if SCALES or WANTS_X:
                        d_y += g * (_class(classifier, k, c, C) if SCALES and K > HELD else w[k])
                    if FOLDED:
                        d_beta += g
                if SCALES and WANTS_F:
                    d_ab += tl.join(d_y * features[s], d_y)
                d_x += (d_y * a if SCALES and WANTS_X else d_y,)
            for s in tl.static_range(SAMPLES):
                if WANTS_X:
                    tl.store(targets, d_x[s].to(grad_x.dtype.element_ty), mask=present & _is_before(start + s, last))
                    targets += tl.cast(grad_x_stride_batch, tl.int64)
        if WANTS_F:
            plane = grad_f + tl.cast(share, tl.int64) * PLANES * tiles * POSITIONS
        if SCALES and WANTS_F:
            d_a, d_b = tl.split(d_ab)
            _store_outputs(plane, d_a, p, c, c < C, tiles)
            _store_outputs(plane, d_b, p, C + c, c < C, tiles)
        if FOLDED and WANTS_F:
            beta = C + tl.arange(0, 1)
            _store_outputs(plane, d_beta, p, beta, beta == C + start_c, tiles)
        for k in tl.static_range(K):
            if SUMS_CLASSES:
                tl.store(row + k * C + c[None, :], tl.sum(d_w[k], 1), mask=(c < C)[None, :])
            elif SUMS_MAP:
                d = _tied(d_w[k], w[k], first < 0) if WANTS_X else d_w[k]
                _store_outputs(plane, d, p, k * C + c, c < C, tiles)


@triton.jit
def _is_before(sample, last):
    """Whether a sample is one of this program's, as a mask that the interpreter takes for one: (1, 1, 1)."""
    return tl.full([1, 1, 1], sample, tl.int32) < last


@triton.jit
def _outputs(h, outputs, inside, weights, biases, IN: tl.constexpr, INNER: tl.constexpr, PRECISION: tl.constexpr):
    """The calibrator's outputs (channels,) at every position, as a tile of the batch loop."""
    f = layer(h, outputs, inside, weights[-1], biases[-1], IN, INNER, PRECISION)
    return tl.trans(f)[None, :, :]


@triton.jit
def _two_classes(
    h,
    k: tl.constexpr,
    start_c,
    CHANNELS: tl.constexpr,
    C: tl.constexpr,
    K: tl.constexpr,
    weights,
    biases,
    IN: tl.constexpr,
    INNER: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """NeRDc's weights of the classes k and k + 1, from one product."""
    if k + 1 == K:
        c = start_c + tl.arange(0, CHANNELS)
        return (_outputs(h, k * C + c, c < C, weights, biases, IN, INNER, PRECISION),)
    else:
        both = tl.arange(0, 2 * CHANNELS)
        c = start_c + both // 2
        f = layer(h, (k + both % 2) * C + c, c < C, weights[-1], biases[-1], IN, INNER, PRECISION)
        f = tl.reshape(f, [1, CHANNELS, 2, h.shape[1]])
        return tl.split(tl.permute(f, (0, 3, 1, 2)))


@triton.jit
def _class(classifier, k: tl.constexpr, c, C: tl.constexpr):
    """One class of the classifier at the channels c, (1, 1, channels)."""
    return tl.load(classifier + k * C + c, mask=c < C, other=0.0).to(tl.float32)[None, None, :]


@triton.jit
def _tied(d_w, w, never):
    """d_w, for `never` is false: `streaming.beside` for a w that is not needed before the loop, without a load.

    That d_w and w meet after the loop makes the compiler lay w out like the features once, before it. Otherwise it lays
    every dx of the loop out anew, through shared memory: 8 barriers in a round of 4 samples.
    """
    return tl.where(never, w, d_w)


@triton.jit
def _store_outputs(plane, value, p, outputs, inside, tiles):
    """Writes value (1, positions, channels), the gradient of the outputs (channels,) of f at the positions p."""
    offset = outputs.to(tl.int64)[None, :] * (tiles * p.shape[0]) + p[:, None]
    value = tl.reshape(value, [p.shape[0], outputs.shape[0]])
    tl.store(plane + offset, value, mask=tl.broadcast_to(inside[None, :], value.shape))


@triton.jit
def _store_sums(row, grad, p, positions, first, last, K: tl.constexpr, stride_batch, stride_class, stride_position):
    """Writes the sum of each class's gradient over the positions p and the samples [first, last), 16 at a time."""
    for k in range(0, K):
        total = tl.zeros([16, p.shape[0]], tl.float32)
        pixels = grad + tl.cast(k, tl.int64) * stride_class + (p.to(tl.int64) * stride_position)[None, :]
        for start in range(first, last, 16):
            sample = (start + tl.arange(0, 16))[:, None]
            source = pixels + sample.to(tl.int64) * stride_batch
            total += tl.load(source, mask=(sample < last) & (p < positions)[None, :], other=0.0).to(tl.float32)
        tl.store(row + k, tl.sum(total))
