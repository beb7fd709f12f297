"""The calibrator's backward where its layers are narrow: the gradients stay in registers from one tile to the next.

As `calibrator_backward`, for hidden layers of up to 32 and up to 64 outputs, the paper's sizes. Each program walks
neighbouring tiles of POSITIONS and holds the sums of every parameter's gradient; it writes its row once, at its end.
Sums over positions are taken there too: until then they are kept position by position, without a word between threads.

With FOLDED (NeRDm with one class) grad_f holds the gradients of the head as a position-wise linear map: C planes dW_c
and one plane dbeta. With W_c = w_c a_c and beta = sum_c w_c b_c, the last layer of rows (A_c, B_c)

    d_h = sum_c dW_c w_c A_c + dbeta sum_c w_c B_c

and a row holds the unweighted sums over v of dW_c h, dW_c, dbeta h and dbeta; `reduction` makes of them the gradients
of the last layer and of the classifier.

Pointers
    rows, apply_rows, weights, biases as in `calibrator_backward`, but that a row may lie in the memory of those columns
                of grad_f that its program has read (see `Rows` in `layout`), and that with FOLDED it ends, after the
                last layer's columns for dW_c h and dW_c, with one for each unit of h for dbeta h and one for dbeta
    grad_f      (shares, OUTPUTS, grad_f_width) float32, with FOLDED (shares, OUTPUTS + 1, grad_f_width)
    classifier  (C,) with FOLDED, else None
Integers
    tiles_each, longer_programs   how many tiles a program walks, and how many of the first programs walk one more
    row_stride, longer_rows, longer_by, row_span, row_plane   where a row and its columns lie: the fields of `Rows`
    the others as in `calibrator_backward`
Constexprs
    OUTPUTS         planes of grad_f but for dbeta: C with FOLDED, else the outputs of the calibrator
    PADDED_OUTPUTS  the same in a power of two from 16
    FOLDED          see above
    the others as in `calibrator_backward`; with FOLDED the OFFSETS are those of a last layer of C outputs, and
    APPLY_COLUMNS is 0
"""

import triton
import triton.language as tl

from nerd_fast.kernels.calibrator import activate, activation_backward, product
from nerd_fast.kernels.calibrator_backward import INTEGERS
from nerd_fast.kernels.reduction import LAYOUT, row_offsets

TILES = ("tiles_each", "longer_programs")

# Columns of the first layer's weight: top, right, bottom, left, front, back. By axis: height, width, depth.
LOW = tl.constexpr((0, 3, 4))
HIGH = tl.constexpr((2, 1, 5))


@triton.jit(do_not_specialize=(*INTEGERS, *TILES, *LAYOUT))
def calibrator_backward_narrow(
    rows,
    grad_f,
    apply_rows,
    classifier,
    weights,
    biases,
    positions,
    grad_f_width,
    tiles_each,
    longer_programs,
    apply_programs,
    first_apply_column,
    last_apply_column,
    row_stride,
    longer_rows,
    longer_by,
    row_span,
    row_plane,
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
    PADDED_OUTPUTS: tl.constexpr,
    FOLDED: tl.constexpr,
    APPLY_COLUMNS: tl.constexpr,
    HIDDEN: tl.constexpr,
    PADDED: tl.constexpr,
    OFFSETS: tl.constexpr,
    SPATIAL_DIMS: tl.constexpr,
    ACTIVATION: tl.constexpr,
    SCALE: tl.constexpr,
    PRECISION: tl.constexpr,
    POSITIONS: tl.constexpr,
):
    LAST: tl.constexpr = len(HIDDEN) - 1
    program, programs = tl.program_id(0), tl.num_programs(0)
    first = program * tiles_each + tl.minimum(program, longer_programs)
    count = tiles_each + (program < longer_programs).to(tl.int32)

    outputs = tl.arange(0, PADDED_OUTPUTS)
    units = tl.arange(0, PADDED[LAST])
    last_layer = outputs[:, None] * HIDDEN[LAST] + units[None, :]
    in_last_layer = (outputs < OUTPUTS)[:, None] & (units < HIDDEN[LAST])[None, :]
    w = tl.load(weights[LAST + 1] + last_layer, mask=in_last_layer, other=0.0).to(tl.float32)
    if FOLDED:
        chosen = tl.load(classifier + outputs, mask=outputs < OUTPUTS, other=0.0).to(tl.float32)
        w_beta = tl.load(weights[LAST + 1] + OUTPUTS * HIDDEN[LAST] + last_layer, mask=in_last_layer, other=0.0)
        w_beta = tl.sum(w_beta.to(tl.float32) * chosen[:, None], 0)
        w *= chosen[:, None]
        beta_by_h = _zeros(POSITIONS, PADDED[LAST])
        beta_sum = tl.zeros([POSITIONS], tl.float32)

    last_weight = _zeros(PADDED_OUTPUTS, PADDED[LAST])
    last_bias = _zeros(POSITIONS, PADDED_OUTPUTS)
    hidden_weights, hidden_biases, first_layer = (), (), ()
    for i in tl.static_range(LAST):
        hidden_weights += (_zeros(PADDED[i + 1], PADDED[i]),)
        hidden_biases += (_zeros(POSITIONS, PADDED[i + 1]),)
    for axis in tl.static_range(SPATIAL_DIMS + 1):  # noqa: B007
        first_layer += (_zeros(POSITIONS, PADDED[0]),)
    extents = (extent_h, extent_w, extent_d)
    slopes, constant = _in_low_distances(weights[0], biases[0], extents, HIDDEN[0], PADDED[0], SPATIAL_DIMS, SCALE)
    p = first * POSITIONS + tl.arange(0, POSITIONS)
    row = p // width
    column = p - row * width + origin_w
    d_at = grad_f + outputs.to(tl.int64)[None, :] * grad_f_width + p[:, None]
    beta_at = grad_f + grad_f_width.to(tl.int64) * OUTPUTS + p

    for _ in range(count):
        depth = row // height if SPATIAL_DIMS == 3 else 0
        low = (row - depth * height + origin_h, column, depth + origin_d)
        inside = (outputs < OUTPUTS)[None, :] & (p < positions)[:, None]
        d = _sum_over_shares(d_at, inside, OUTPUTS + FOLDED, grad_f_width, shares)
        z = tl.broadcast_to(constant[None, :], [POSITIONS, PADDED[0]])
        for axis in tl.static_range(SPATIAL_DIMS):
            z = tl.fma(low[axis].to(tl.float32)[:, None], slopes[axis][None, :], z)
        zs = (z,)
        for i in tl.static_range(1, LAST + 1):
            h = activate(zs[i - 1], ACTIVATION)
            zs += (_layer(h, weights[i], biases[i], HIDDEN[i], HIDDEN[i - 1], PADDED[i], PADDED[i - 1], PRECISION),)
        h = activate(zs[LAST], ACTIVATION)
        last_weight = product(tl.trans(d), h, last_weight, PRECISION)
        last_bias += d
        d_h = product(d, w, None, PRECISION)
        if FOLDED:
            d_beta = _sum_over_shares(beta_at, p < positions, OUTPUTS + 1, grad_f_width, shares)
            beta_by_h += d_beta[:, None] * h
            beta_sum += d_beta
            d_h += d_beta[:, None] * w_beta[None, :]
        before_weights, before_biases, hidden_weights, hidden_biases = hidden_weights, hidden_biases, (), ()
        for i in tl.static_range(LAST, 0, -1):
            d_z = activation_backward(d_h, zs[i], ACTIVATION)
            h_before = activate(zs[i - 1], ACTIVATION)
            sums = product(tl.trans(d_z), h_before, before_weights[i - 1], PRECISION)
            hidden_weights = (sums,) + hidden_weights  # noqa: RUF005
            hidden_biases = (before_biases[i - 1] + d_z,) + hidden_biases  # noqa: RUF005
            wide = tl.arange(0, PADDED[i])
            narrow = tl.arange(0, PADDED[i - 1])
            inside = (wide < HIDDEN[i])[:, None] & (narrow < HIDDEN[i - 1])[None, :]
            w_i = tl.load(weights[i] + wide[:, None] * HIDDEN[i - 1] + narrow[None, :], mask=inside, other=0.0)
            d_h = product(d_z, w_i.to(tl.float32), None, PRECISION)
        d_z = activation_backward(d_h, zs[0], ACTIVATION)
        before, first_layer = first_layer, ()
        for axis in tl.static_range(SPATIAL_DIMS):
            first_layer += (before[axis] + d_z * low[axis].to(tl.float32)[:, None],)
        first_layer += (before[SPATIAL_DIMS] + d_z,)
        passed = _rows_passed(column + POSITIONS, origin_w, width, POSITIONS)
        row, column = row + passed, column + POSITIONS - passed * width
        p, d_at, beta_at = p + POSITIONS, d_at + POSITIONS, beta_at + POSITIONS

    tl.debug_barrier()  # a row may lie where other threads of this program have read grad_f
    row = rows + row_offsets(program, row_stride, longer_rows, longer_by)
    _store_matrix(row, OFFSETS[2 * LAST + 2], last_weight, OUTPUTS, HIDDEN[LAST], row_span, row_plane)
    _store_vector(row, OFFSETS[2 * LAST + 3], 1, tl.sum(last_bias, 0), OUTPUTS, row_span, row_plane)
    if FOLDED:
        BETA: tl.constexpr = OFFSETS[2 * LAST + 3] + OUTPUTS
        _store_vector(row, BETA, 1, tl.sum(beta_by_h, 0), HIDDEN[LAST], row_span, row_plane)
        _store_vector(row, BETA + HIDDEN[LAST], 1, tl.sum(beta_sum, 0, keep_dims=True), 1, row_span, row_plane)
    for i in tl.static_range(LAST):
        _store_matrix(row, OFFSETS[2 * i + 2], hidden_weights[i], HIDDEN[i + 1], HIDDEN[i], row_span, row_plane)
        _store_vector(row, OFFSETS[2 * i + 3], 1, tl.sum(hidden_biases[i], 0), HIDDEN[i + 1], row_span, row_plane)
    # The two distances of an axis add up to its whole length: so do the gradients of their weights, times the bias'.
    bias = tl.sum(first_layer[SPATIAL_DIMS], 0)
    for axis in tl.static_range(SPATIAL_DIMS):
        low = _scaled(tl.sum(first_layer[axis], 0), extents[axis], SCALE)
        both = bias * _whole(extents[axis], SCALE)
        _store_axis(row, axis, low, both, HIDDEN[0], SPATIAL_DIMS, row_span, row_plane)
    _store_vector(row, OFFSETS[1], 1, bias, HIDDEN[0], row_span, row_plane)
    if APPLY_COLUMNS > 0:
        for start in range(first_apply_column, last_apply_column, 128):
            summed = start + tl.arange(0, 128)
            total = tl.zeros([128], tl.float32)
            pointers = apply_rows + program.to(tl.int64) * APPLY_COLUMNS + summed
            for _ in range(program, apply_programs, programs):
                total += tl.load(pointers, mask=summed < last_apply_column, other=0.0)
                pointers += programs.to(tl.int64) * APPLY_COLUMNS
            at = OFFSETS[-1] + summed
            tl.store(row + _offset(at, row_span, row_plane), total, mask=summed < last_apply_column)


@triton.jit
def _rows_passed(column, origin, width, POSITIONS: tl.constexpr):
    """How many rows end before columns that count on, from the origin of one row through a tile of the next."""
    if width >= POSITIONS:  # noqa: SIM108 - a division takes 18 instructions; a ternary would take both sides
        passed = (column >= origin + width).to(tl.int32)
    else:
        passed = (column - origin) // width
    return passed


@triton.jit
def _in_low_distances(
    weight, bias, extents, WIDTH: tl.constexpr, PADDED: tl.constexpr, SPATIAL_DIMS: tl.constexpr, SCALE: tl.constexpr
):
    """The first layer in the distances to the top, left and front, in pixels: slopes of each, and the constant.

    The two distances of an axis add up to its whole length, so that w low + w' high = (w - w') low + w' whole.
    """
    units = tl.arange(0, PADDED)
    inside = units < WIDTH
    constant = tl.load(bias + units, mask=inside, other=0.0).to(tl.float32)
    slopes = ()
    for axis in tl.static_range(SPATIAL_DIMS):
        pointers = weight + units * (2 * SPATIAL_DIMS)
        low = tl.load(pointers + LOW[axis], mask=inside, other=0.0).to(tl.float32)
        high = tl.load(pointers + HIGH[axis], mask=inside, other=0.0).to(tl.float32)
        slopes += (_scaled(low - high, extents[axis], SCALE),)
        constant += high * _whole(extents[axis], SCALE)
    return slopes, constant


@triton.jit
def _layer(
    h,
    weight,
    bias,
    OUT: tl.constexpr,
    IN: tl.constexpr,
    PADDED_OUT: tl.constexpr,
    PADDED_IN: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Pre-activations (positions, padded OUT) of a later layer from h (positions, padded IN); weight (OUT, IN).

    The weight is read once, for all tiles. Taken for scattered, it lies with the outputs of a unit side by side in
    shared memory, as the lanes of a warp read them; the other way round 8 would read from one bank.
    """
    outputs, units = tl.arange(0, PADDED_OUT), tl.arange(0, PADDED_IN)
    pointers = tl.max_contiguous(weight + outputs[None, :] * IN + units[:, None], [1, 1])
    inside = (outputs < OUT)[None, :] & (units < IN)[:, None]
    w = tl.load(pointers, mask=inside, other=0.0).to(tl.float32)
    z = tl.load(bias + outputs, mask=outputs < OUT, other=0.0).to(tl.float32)[None, :]
    return product(h, w, tl.broadcast_to(z, [h.shape[0], PADDED_OUT]), PRECISION)


@triton.jit
def _scaled(value, extent, SCALE: tl.constexpr):
    """A multiple of a distance in pixels on an axis of this extent, as a multiple of what the calibrator is given."""
    if SCALE is None:
        return tl.div_rn(value, tl.maximum(extent - 1, 1).to(tl.float32))
    else:
        return value * SCALE


@triton.jit
def _whole(extent, SCALE: tl.constexpr):
    """What the calibrator is given for the whole length of an axis of this extent."""
    if SCALE is None:
        return tl.minimum(extent - 1, 1).to(tl.float32)
    else:
        return (extent - 1) * SCALE


@triton.jit
def _zeros(ROWS: tl.constexpr, WIDTH: tl.constexpr):
    return tl.zeros([ROWS, WIDTH], tl.float32)


@triton.jit
def _sum_over_shares(pointers, mask, PLANES: tl.constexpr, width, shares):
    """What lies at these pointers into the first share of grad_f, summed over the shares of the batch."""
    d = tl.load(pointers, mask=mask, other=0.0)
    for _ in range(1, shares):
        pointers += width.to(tl.int64) * PLANES
        d += tl.load(pointers, mask=mask, other=0.0)
    return d


@triton.jit
def _store_axis(row, axis: tl.constexpr, low, both, WIDTH: tl.constexpr, SPATIAL_DIMS: tl.constexpr, span, plane):
    """Writes the gradients of the first layer's weights of an axis: of its low border, and of both borders together."""
    _store_vector(row, LOW[axis], 2 * SPATIAL_DIMS, low, WIDTH, span, plane)
    _store_vector(row, HIGH[axis], 2 * SPATIAL_DIMS, both - low, WIDTH, span, plane)


@triton.jit
def _store_matrix(row, start: tl.constexpr, value, OUT: tl.constexpr, IN: tl.constexpr, span, plane):
    """Writes value (padded OUT, padded IN) to the columns of a row from `start` on, as (OUT, IN)."""
    out = tl.arange(0, value.shape[0])[:, None]
    into = tl.arange(0, value.shape[1])[None, :]
    column = start + out * IN + into
    tl.store(row + _offset(column, span, plane), value, mask=(out < OUT) & (into < IN))


@triton.jit
def _store_vector(row, start: tl.constexpr, step: tl.constexpr, value, SIZE: tl.constexpr, span, plane):
    """Writes value (padded SIZE,) to every step-th column of a row from `start` on."""
    index = tl.arange(0, value.shape[0])
    column = start + index * step
    tl.store(row + _offset(column, span, plane), value, mask=index < SIZE)


@triton.jit
def _offset(column, span, plane):
    """Where a column of a row lies. Columns are few, below 2^20: their quotients by float32 reciprocals are exact."""
    quotient = ((column.to(tl.float32) + 0.5) * tl.div_rn(1.0, span.to(tl.float32))).to(tl.int32)
    return quotient.to(tl.int64) * plane + (column - quotient * span)
