"""The second stage of every parameter gradient: sums the programs' rows in a fixed order, so that bits repeat.

Pointers
    gradients  tuple of GRADIENTS contiguous tensors of any floating-point type, in the order of a row; one that is not
               wanted is any tensor, with the bit of its place in `wanted` at zero
    rows       `count` rows of float32: row r begins at r row_stride + min(r, longer_rows) longer_by, and its columns
               lie in pieces of row_span, row_plane elements apart
    last       None, or the last layer of a folded NeRDm: (weight (2C, h), bias (2C,), classifier (C,))
    last_gradients  with `last`, contiguous tensors for the gradients of these three
Integers
    wanted     one bit for each gradient; with `last` three more for its gradients
    end_0 ...  where the columns of each gradient end and those of the next begin; the first one's begin at 0
    plain_programs  how many programs sum columns; with `last` C more make the gradients of its rows
    folded_column, channels, hidden   where the sums of a folded last layer begin in a row; C and h

What differs between heads and between wanted gradients comes as integers: one kernel serves all heads, a second those
whose last layer is folded. Columns of gradients that are not wanted are not read, for nothing may have written them.
"""

import triton
import triton.language as tl

from nerd_fast.kernels.launch import Step, options

GRADIENTS = 12  # weight and bias of five layers, classifier and bias of the head
ROWS_AT_ONCE = 16  # 8 loads in flight for each of 128 threads
COLUMNS = 64
WARPS = 4
ENDS = tuple(f"end_{i}" for i in range(GRADIENTS))
LAYOUT = ("row_stride", "longer_rows", "longer_by", "row_span", "row_plane")
FOLDED = ("folded_column", "channels", "hidden")


def integers(rows, ends, wanted):
    """The integers of a launch that sums Rows whose last layer is not folded; `ends` and `wanted` for each gradient."""
    return {
        "count": rows.count,
        **rows.integers(),
        "plain_programs": -(-rows.width // COLUMNS),
        **dict.fromkeys(FOLDED, 0),
        "wanted": sum(1 << i for i, want in enumerate(wanted) if want),
        **dict(zip(ENDS, ends, strict=True)),
    }


def step(integers, programs):
    """The Step that sums rows with these integers."""
    constants = {"ROWS_AT_ONCE": ROWS_AT_ONCE, "COLUMNS": COLUMNS}
    return Step(sum_rows, programs, integers, constants, options(WARPS))


@triton.jit(do_not_specialize=("count", *LAYOUT, "plain_programs", *FOLDED, "wanted", *ENDS))
def sum_rows(
    gradients,
    rows,
    last,
    last_gradients,
    count,
    row_stride,
    longer_rows,
    longer_by,
    row_span,
    row_plane,
    plain_programs,
    folded_column,
    channels,
    hidden,
    wanted,
    end_0,
    end_1,
    end_2,
    end_3,
    end_4,
    end_5,
    end_6,
    end_7,
    end_8,
    end_9,
    end_10,
    end_11,
    ROWS_AT_ONCE: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """One program sums COLUMNS columns, ROWS_AT_ONCE rows at a time."""
    ends = (end_0, end_1, end_2, end_3, end_4, end_5, end_6, end_7, end_8, end_9, end_10, end_11)
    layout = (count, row_stride, longer_rows, longer_by, row_span, row_plane)
    if last is None or tl.program_id(0) < plain_programs:
        column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
        read = column < 0
        for i in tl.static_range(len(ends)):
            read |= _belongs(column, i, ends, wanted)
        value = _sums(rows, column, read, layout, ROWS_AT_ONCE)
        for i in tl.static_range(len(ends)):
            start = 0 if i == 0 else ends[i - 1]
            target = gradients[i] + (column - start)
            tl.store(target, value.to(gradients[i].dtype.element_ty), mask=_belongs(column, i, ends, wanted))
    if last is not None:  # noqa: SIM102 known as it is compiled, while the program is not
        if tl.program_id(0) >= plain_programs:
            c = tl.program_id(0) - plain_programs
            _folded_row(rows, c, last, last_gradients, layout, folded_column, channels, hidden, wanted, ROWS_AT_ONCE)


@triton.jit
def row_offsets(row, row_stride, longer_rows, longer_by):
    """Where a row begins."""
    return row.to(tl.int64) * row_stride + tl.minimum(row, longer_rows) * longer_by


@triton.jit
def _belongs(column, i: tl.constexpr, ends, wanted):
    """Which of the columns are those of gradient i, where it is wanted."""
    start = 0 if i == 0 else ends[i - 1]
    return (column >= start) & (column < ends[i]) & ((wanted >> i) % 2 == 1)


@triton.jit
def _sums(rows, column, read, layout, ROWS_AT_ONCE: tl.constexpr):
    """The sums of the columns (U,) over all rows, zero where not `read`."""
    count, row_stride, longer_rows, longer_by, row_span, row_plane = layout
    offset = (column // row_span).to(tl.int64) * row_plane + column % row_span
    r = tl.arange(0, ROWS_AT_ONCE)
    total = tl.zeros([ROWS_AT_ONCE, column.shape[0]], tl.float32)
    for start in range(0, count, ROWS_AT_ONCE):
        row = row_offsets(start + r, row_stride, longer_rows, longer_by)
        mask = (start + r < count)[:, None] & read[None, :]
        total += tl.load(rows + row[:, None] + offset[None, :], mask=mask, other=0.0)
    return tl.sum(total, 0)


@triton.jit
def _folded_row(rows, c, last, last_gradients, layout, start, channels, hidden, wanted, ROWS_AT_ONCE: tl.constexpr):
    """The gradients of channel c's rows A_c, B_c of the last layer, of their biases and of w_c.

    With the sums over positions D = dW_c h, D_0 = dW_c, G = dbeta h, G_0 = dbeta: dA_c = w_c D, dB_c = w_c G, likewise
    the biases, and dw_c = A_c . D + a_c D_0 + B_c . G + b_c G_0, with a_c, b_c the biases.
    """
    weight, bias, classifier = last
    grad_weight, grad_bias, grad_classifier = last_gradients
    u = tl.arange(0, 128)  # the widest hidden layer
    inside = u < hidden
    after = start + channels * hidden
    d = _sums(rows, start + c * hidden + u, inside, layout, ROWS_AT_ONCE)
    g = _sums(rows, after + channels + u, inside, layout, ROWS_AT_ONCE)
    d_0 = tl.sum(_sums(rows, after + c + u, u == 0, layout, ROWS_AT_ONCE))
    g_0 = tl.sum(_sums(rows, after + channels + hidden + u, u == 0, layout, ROWS_AT_ONCE))
    w = tl.load(classifier + c).to(tl.float32)
    a = tl.load(weight + c * hidden + u, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(weight + (channels + c) * hidden + u, mask=inside, other=0.0).to(tl.float32)
    a_0 = tl.load(bias + c).to(tl.float32)
    b_0 = tl.load(bias + channels + c).to(tl.float32)
    wants_weight = (wanted >> 12) % 2 == 1
    kind = grad_weight.dtype.element_ty
    tl.store(grad_weight + c * hidden + u, (w * d).to(kind), mask=inside & wants_weight)
    tl.store(grad_weight + (channels + c) * hidden + u, (w * g).to(kind), mask=inside & wants_weight)
    wants_bias = (wanted >> 13) % 2 == 1
    tl.store(grad_bias + c, (w * d_0).to(grad_bias.dtype.element_ty), mask=wants_bias)
    tl.store(grad_bias + channels + c, (w * g_0).to(grad_bias.dtype.element_ty), mask=wants_bias)
    value = tl.sum(a * d + b * g) + a_0 * d_0 + b_0 * g_0
    tl.store(grad_classifier + c, value.to(grad_classifier.dtype.element_ty), mask=(wanted >> 14) % 2 == 1)
