"""The second stage of every parameter gradient: sums the programs' rows in a fixed order, so that bits repeat.

Pointers
    gradients  tuple of contiguous tensors of any floating-point type, one for each wanted parameter
    rows       (count, width) float32; parameter i lies at COLUMNS[i] of a row and has SIZES[i] elements
"""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=("count", "width"))
def sum_rows(
    gradients, rows, count, width, COLUMNS: tl.constexpr, SIZES: tl.constexpr, R: tl.constexpr, U: tl.constexpr
):
    """One program sums U columns, R rows at a time; programs are dealt out parameter by parameter."""
    block = tl.program_id(0)
    for i in tl.static_range(len(SIZES)):
        blocks = (SIZES[i] + U - 1) // U
        if (block >= 0) & (block < blocks):
            u = block * U + tl.arange(0, U)
            r = tl.arange(0, R)
            total = tl.zeros([R, U], tl.float32)
            for start in range(0, count, R):
                source = (start + r).to(tl.int64)[:, None] * width + COLUMNS[i] + u[None, :]
                total += tl.load(rows + source, mask=(start + r < count)[:, None] & (u < SIZES[i])[None, :], other=0.0)
            value = tl.sum(total, 0)
            tl.store(gradients[i] + u, value.to(gradients[i].dtype.element_ty), mask=u < SIZES[i])
        block -= blocks
