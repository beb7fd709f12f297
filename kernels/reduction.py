"""The second stage of every parameter gradient: sums the programs' rows in a fixed order, so that bits repeat.

Pointers
    gradients  tuple of GRADIENTS contiguous tensors of any floating-point type, in the order of a row; one that is not
               wanted is any tensor, with the bit of its place in `wanted` at zero
    rows       (count, width) float32
Integers
    wanted     one bit for each gradient
    end_0 ...  where the columns of each gradient end and those of the next begin; the first one's begin at 0

What differs between heads and between wanted gradients comes as integers: one kernel serves them all. Columns of
gradients that are not wanted are not read, for nothing may have written them.
"""

import triton
import triton.language as tl

GRADIENTS = 12  # weight and bias of five layers, classifier and bias of the head
ROWS_AT_ONCE = 16  # 8 loads in flight for each of 128 threads
COLUMNS = 64
ENDS = tuple(f"end_{i}" for i in range(GRADIENTS))


@triton.jit(do_not_specialize=("count", "width", "wanted", *ENDS))
def sum_rows(
    gradients,
    rows,
    count,
    width,
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
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    read = column < 0
    for i in tl.static_range(len(ends)):
        read |= _belongs(column, i, ends, wanted)
    r = tl.arange(0, ROWS_AT_ONCE)
    total = tl.zeros([ROWS_AT_ONCE, COLUMNS], tl.float32)
    for start in range(0, count, ROWS_AT_ONCE):
        source = (start + r).to(tl.int64)[:, None] * width + column[None, :]
        total += tl.load(rows + source, mask=(start + r < count)[:, None] & read[None, :], other=0.0)
    value = tl.sum(total, 0)
    for i in tl.static_range(len(ends)):
        start = 0 if i == 0 else ends[i - 1]
        target = gradients[i] + (column - start)
        tl.store(target, value.to(gradients[i].dtype.element_ty), mask=_belongs(column, i, ends, wanted))


@triton.jit
def _belongs(column, i: tl.constexpr, ends, wanted):
    """Which of the columns are those of gradient i, where it is wanted."""
    start = 0 if i == 0 else ends[i - 1]
    return (column >= start) & (column < ends[i]) & ((wanted >> i) % 2 == 1)
