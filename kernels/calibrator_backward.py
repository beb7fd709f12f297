"""The calibrator's backward: from the gradient of f(v) at every position to the gradients of its parameters.

The calibrator sees positions alone, so this runs once per position whatever the batch. A fixed number of programs walk
the tiles of POSITIONS; each adds what a tile contributes to a row of its own, which stays in the L2 cache, and
`reduction` sums the rows. With z_l and h_l the hidden layers, d the incoming gradient of a layer's pre-activations:

    dW_l = d_l^T h_(l-1)      db_l = sum_v d_l      d_(l-1) = (d_l W_l) act'(z_(l-1))

Pointers
    rows        (programs, OFFSETS[-1] + APPLY_COLUMNS) float32: weights and biases, first layer first, flat, each
                (out, in) or (out,), then the classifier (K, C) and the bias (K,)
    grad_f      (shares, OUTPUTS, grad_f_width) float32: gradient of f(v), of each share of the batch
    apply_rows  (apply_programs, APPLY_COLUMNS) float32, None where APPLY_COLUMNS is 0: the gradients of classifier
                (K, C) and bias (K,), of each program of the apply pass
    weights, biases as in `apply_forward`
Integers
    positions, height, width, origin_*, extent_* as in `apply_forward`
    shares              over how many programs the apply pass divided the batch of a tile: planes to be added up
    grad_f_width        N, padded to whole tiles of the apply pass
    tiles               how many tiles of POSITIONS cover the positions
    apply_programs      how many programs the apply pass had
    first_apply_column, last_apply_column   the columns of apply_rows from the first up to the last, which is not among
                        them, are those that the apply pass has written: they are added up into the row's end
Constexprs
    OUTPUTS         of the calibrator: 2 C of NeRDm and of the normalisation, K C of NeRDc
    APPLY_COLUMNS   K C + K; 0 where neither classifier nor bias is wanted
    OFFSETS         where each weight and each bias begins in a row, in the order of the row, and where the last ends
    POSITIONS       of a tile
    HIDDEN, PADDED, SPATIAL_DIMS, ACTIVATION, SCALE, PRECISION, INNER as in `apply_forward`
"""

import triton
import triton.language as tl

from nerd_fast.kernels.calibrator import activate, activation_backward, boundary_distances, fenced_product
from nerd_fast.kernels.position_first import columns, hidden_layers

INTEGERS = (
    "apply_programs",
    "first_apply_column",
    "last_apply_column",
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


@triton.jit(do_not_specialize=(*INTEGERS, "tiles"))
def calibrator_backward(
    rows,
    grad_f,
    apply_rows,
    weights,
    biases,
    positions,
    grad_f_width,
    tiles,
    apply_programs,
    first_apply_column,
    last_apply_column,
    height,
    width,
    origin_d,
    origin_h,
    origin_w,
    extent_d,
    extent_h,
    extent_w,
    shares,
    OUTPUTS: tl.constexpr,
    APPLY_COLUMNS: tl.constexpr,
    HIDDEN: tl.constexpr,
    PADDED: tl.constexpr,
    OFFSETS: tl.constexpr,
    SPATIAL_DIMS: tl.constexpr,
    ACTIVATION: tl.constexpr,
    SCALE: tl.constexpr,
    PRECISION: tl.constexpr,
    POSITIONS: tl.constexpr,
    INNER: tl.constexpr,
):
    LAST: tl.constexpr = len(HIDDEN) - 1
    row = rows + tl.program_id(0).to(tl.int64) * (OFFSETS[-1] + APPLY_COLUMNS)
    for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
        started = tile >= tl.num_programs(0)
        p = tile * POSITIONS + tl.arange(0, POSITIONS)
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
        d_h = tl.zeros_like(zs[LAST])
        h = activate(zs[LAST], ACTIVATION)
        for start in range(0, OUTPUTS, INNER):
            outputs = start + tl.arange(0, INNER)
            d = _output_gradient(grad_f, p, positions, outputs, OUTPUTS, grad_f_width, shares)
            d_h = _through_layer(
                d,
                d_h,
                h,
                outputs,
                OUTPUTS,
                weights[LAST + 1],
                row + OFFSETS[2 * LAST + 2],
                HIDDEN[LAST],
                started,
                PRECISION,
            )
            _add_bias(row + OFFSETS[2 * LAST + 3], d, outputs, OUTPUTS, started)
        for i in tl.static_range(LAST, 0, -1):
            d_h = _hidden_layer(
                row + OFFSETS[2 * i],
                row + OFFSETS[2 * i + 1],
                activation_backward(d_h, zs[i], ACTIVATION),
                activate(zs[i - 1], ACTIVATION),
                weights[i],
                HIDDEN[i],
                HIDDEN[i - 1],
                started,
                INNER,
                PRECISION,
            )
        d_z = activation_backward(d_h, zs[0], ACTIVATION)
        _first_layer(
            row, row + OFFSETS[1], d_z, v, extent_d, extent_h, extent_w, HIDDEN[0], SPATIAL_DIMS, SCALE, started
        )
        tl.debug_barrier()  # a thread of the next tile may add to what another thread of this one has written
    if APPLY_COLUMNS > 0:
        _add_apply_rows(
            row + OFFSETS[-1], apply_rows, apply_programs, first_apply_column, last_apply_column, APPLY_COLUMNS
        )


@triton.jit
def _output_gradient(grad_f, p, positions, outputs, OUTPUTS: tl.constexpr, width, shares):
    """The gradient (positions, outputs) of outputs of the calibrator, summed over the shares of the batch."""
    pointers = grad_f + outputs.to(tl.int64)[None, :] * width + p[:, None]
    mask = (outputs < OUTPUTS)[None, :] & (p < positions)[:, None]
    d = tl.load(pointers, mask=mask, other=0.0)
    for _ in range(1, shares):
        pointers += width.to(tl.int64) * OUTPUTS
        d += tl.load(pointers, mask=mask, other=0.0)
    return d


@triton.jit
def _through_layer(
    d, d_h, h, outputs, OUT: tl.constexpr, weight, row, IN: tl.constexpr, started, PRECISION: tl.constexpr
):
    """Adds d^T h to the rows `outputs` of the layer's weight gradient and returns d_h + d W of those rows."""
    units = tl.arange(0, h.shape[1])
    offset = outputs[:, None] * IN + units[None, :]
    inside = (outputs < OUT)[:, None] & (units < IN)[None, :]
    _add(row + offset, fenced_product(tl.trans(d), h, None, PRECISION), inside, started)
    w = tl.load(weight + offset, mask=inside, other=0.0).to(tl.float32)
    return fenced_product(d, w, d_h, PRECISION)


@triton.jit
def _hidden_layer(
    row,
    bias_row,
    d,
    h,
    weight,
    OUT: tl.constexpr,
    IN: tl.constexpr,
    started,
    INNER: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Adds a layer's gradients from d (positions, padded OUT) and its input h (positions, padded IN); h's gradient."""
    d_h = tl.zeros_like(h)
    for step in range(0, d.shape[1] // INNER):
        outputs = step * INNER + tl.arange(0, INNER)
        d_h = _through_layer(columns(d, step, INNER), d_h, h, outputs, OUT, weight, row, IN, started, PRECISION)
    units = tl.arange(0, d.shape[1])
    _add(bias_row + units, tl.sum(d, 0), units < OUT, started)
    return d_h


@triton.jit
def _first_layer(
    row,
    bias_row,
    d,
    v,
    extent_d,
    extent_h,
    extent_w,
    WIDTH: tl.constexpr,
    SPATIAL_DIMS: tl.constexpr,
    SCALE: tl.constexpr,
    started,
):
    """Adds the first layer's gradients from d (positions, units); columns are top, right, bottom, left, front, back."""
    units = tl.arange(0, d.shape[1])
    inside = units < WIDTH
    row += units * (2 * SPATIAL_DIMS)
    for direction in tl.static_range(2 * SPATIAL_DIMS):
        _add(row + direction, tl.sum(d * v[direction][:, None], 0), inside, started)
    _add(bias_row + units, tl.sum(d, 0), inside, started)


@triton.jit
def _add_bias(row, d, outputs, OUT: tl.constexpr, started):
    _add(row + outputs, tl.sum(d, 0), outputs < OUT, started)


@triton.jit
def _add(pointers, value, inside, started):
    """Adds to this program's row; what an unstarted row holds is not read."""
    before = tl.load(pointers, mask=tl.where(started, inside, False), other=0.0)
    tl.store(pointers, before + value, mask=inside)


@triton.jit
def _add_apply_rows(row, apply_rows, apply_programs, first, last, COLUMNS: tl.constexpr):
    """Sums the columns [first, last) of every num_programs-th row of the apply pass into this program's row."""
    for start in range(first, last, 128):
        column = start + tl.arange(0, 128)
        total = tl.zeros([128], tl.float32)
        pointers = apply_rows + tl.program_id(0).to(tl.int64) * COLUMNS + column
        for _ in range(tl.program_id(0), apply_programs, tl.num_programs(0)):
            total += tl.load(pointers, mask=column < last, other=0.0)
            pointers += tl.num_programs(0).to(tl.int64) * COLUMNS
        tl.store(row + column, total, mask=column < last)
