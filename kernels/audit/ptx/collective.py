"""Instructions of a whole warp or block: barriers, shuffles, votes, matrices in shared memory, matrix products."""

import numpy as np

from nerd_fast.kernels.audit.ptx import arithmetic as do
from nerd_fast.kernels.audit.ptx import operands
from nerd_fast.kernels.audit.ptx.accesses import access_shared, by_warp
from nerd_fast.kernels.audit.ptx.datatypes import WARP, PtxError
from nerd_fast.kernels.audit.ptx.parsing import number

EVERY_LANE = 0xFFFFFFFF
PRODUCTS = {"tf32": (4, 8), "bf16": (8, 16), "f16": (8, 16)}  # type of the operands: inner sizes that exist
LANE = np.arange(WARP)


def block_barrier(kernel, ins):
    if ins.operands != ("0",):
        raise PtxError(f"unknown barrier {ins}")

    def step(threads, mask):
        threads.require_whole(ins, mask, threads.block_size, "block")
        threads.pass_barrier(mask, of_block=True)

    return step


def warp_barrier(kernel, ins):
    _require_every_lane(ins, ins.operands[0])

    def step(threads, mask):
        threads.require_whole(ins, mask, WARP, "warp")
        threads.pass_barrier(mask, of_block=False)

    return step


def shuffle(kernel, ins, mode):
    name, value, lane, clamp, members = ins.operands
    if number(clamp) != WARP - 1:
        raise PtxError(f"unknown shuffle {ins}")
    _require_every_lane(ins, members)
    read, read_lane = operands.source(kernel, ins, value, "b32"), operands.source(kernel, ins, lane, "u32")
    operands.target(kernel, ins, name, 4)

    def step(threads, mask):
        threads.require_whole(ins, mask, WARP, "warp")
        own = np.arange(threads.size)
        by = np.asarray(read_lane(threads)).astype(np.int64) & (WARP - 1)
        in_warp = {"bfly": (own ^ by) % WARP, "idx": by}[mode]
        at = own - own % WARP + in_warp
        threads.write(name, np.broadcast_to(read(threads), (threads.size,))[at], mask)

    return step


def matrix_access(kernel, ins, what, many, transposed):
    """ldmatrix, stmatrix: lane 8 i + r has the address of row r of the i-th 8x8 matrix of 16-bit elements.

    Register i of lane l then holds element (l / 4, 2 (l % 4)) and its right neighbour, of the transpose with .trans.
    """
    loads, many = what == "ldmatrix", int(many)
    where, registers = ins.operands[::-1] if loads else ins.operands
    address = operands.address(kernel, ins, where, "u32")
    names = [operands.target(kernel, ins, name, 4) for name in operands.vector(registers)]
    if len(names) != many:
        raise PtxError(f"{ins}: {many} registers expected")
    quotient, pair = LANE // 4, 2 * (LANE % 4)
    if transposed:  # two elements one above the other: 2 bytes each
        rows, offsets, width = (pair, pair + 1), (2 * quotient, 2 * quotient), 2
    else:
        rows, offsets, width = (quotient,), (2 * pair,), 4

    def step(threads, mask):
        threads.require_whole(ins, mask, WARP, "warp")
        all_rows = np.broadcast_to(address(threads), (threads.size,)).reshape(-1, WARP)
        warps = np.arange(len(all_rows)) if mask is None else np.flatnonzero(mask.reshape(-1, WARP)[:, 0])
        lanes = (warps[:, None] * WARP + LANE).ravel()
        _check_rows(threads, ins, all_rows, warps, many)
        for i, name in enumerate(names):
            at = [
                (all_rows[warps][:, 8 * i + row] + offset.astype(np.uint32)).ravel()
                for row, offset in zip(rows, offsets, strict=True)
            ]
            if loads:
                parts = [access_shared(threads, ins, a, lanes, width, 1, counted=False)[0] for a in at]
                value = np.zeros(threads.size, np.uint32)
                value[lanes] = do.pair(*parts) if transposed else parts[0]
                threads.write(name, value, mask)
            else:
                stored = threads.read(name)[lanes]
                parts = (
                    [stored.astype(np.uint16), (stored >> np.uint32(16)).astype(np.uint16)] if transposed else [stored]
                )
                for a, part in zip(at, parts, strict=True):
                    access_shared(threads, ins, a, lanes, width, 1, values=[part], counted=False)

    return step


def _check_rows(threads, ins, rows, warps, many):
    """Bounds and alignment of the rows of 16 bytes, and their count."""
    lanes = (warps[:, None] * WARP + np.arange(8 * many)).ravel()
    offset = rows.ravel()[lanes].astype(np.int64)
    for wrong, what in (
        (offset + 16 > threads.shared_size, f"a row outside of {threads.shared_size} bytes of shared memory"),
        (offset % 16 != 0, "a row not aligned to 16 bytes"),
    ):
        if wrong.any():
            threads.fault(ins, what, int(np.argmax(wrong)), offset, lanes)
    if threads.counts is not None:
        threads.counts.count_shared(ins, *by_warp(threads, offset, lanes), 16)


def product(kernel, ins, inner, kind):
    """mma: D = A B + C of a warp, A 16 x k by rows, B k x 8 by columns, C and D 16 x 8 in float32.

    The sum is formed in float64 and rounded once; operands in tf32 lose their lower bits, as on tensor cores.
    """
    k = int(inner)
    if k not in PRODUCTS.get(kind, ()):
        raise PtxError(f"unknown mma {ins}")
    d, a, b, c = (operands.vector(operand) for operand in ins.operands)
    each = 1 if kind == "tf32" else 2  # elements in a register
    span = 4 * each  # columns of A that the registers of four lanes cover
    if [len(names) for names in (d, a, b, c)] != [4, 2 * k // span, k // span, 4]:
        raise PtxError(f"{ins}: registers")
    reads = {name: operands.source(kernel, ins, name, "b32") for name in (*a, *b)}
    before = [operands.source(kernel, ins, name, "f32") for name in c]
    for name in d:
        operands.target(kernel, ins, name, 4)
    row, column = LANE // 4, LANE % 4

    def elements(threads, name):
        bits = np.ascontiguousarray(np.broadcast_to(reads[name](threads), (threads.size,)))
        if kind == "tf32":
            if (bits & np.uint32(0x1FFF)).any():
                threads.report.note("operands of a tf32 product have bits that tf32 drops")
            values = do.truncate_tf32(bits)
        else:
            values = (do.from_bf16 if kind == "bf16" else do.from_f16)(bits.view(np.uint16))
        return values.astype(np.float64).reshape(-1, WARP, each)

    def step(threads, mask):
        threads.require_whole(ins, mask, WARP, "warp")
        warps = threads.size // WARP
        left, right = np.zeros((warps, 16, k)), np.zeros((warps, k, 8))
        for i, name in enumerate(a):
            values = elements(threads, name)
            for j in range(each):
                left[:, row + 8 * (i % 2), each * column + j + span * (i // 2)] = values[:, :, j]
        for i, name in enumerate(b):
            values = elements(threads, name)
            for j in range(each):
                right[:, each * column + j + span * i, row] = values[:, :, j]
        products, results = left @ right, []
        for i, read in enumerate(before):
            added = np.broadcast_to(read(threads), (threads.size,)).reshape(-1, WARP)
            value = (products[:, row + 8 * (i // 2), 2 * column + i % 2] + added).astype(np.float32)
            results.append(np.ascontiguousarray(value).reshape(-1).view(np.uint32))
        for name, value in zip(d, results, strict=True):
            threads.write(name, value, mask)

    return step


def _require_every_lane(ins, members):
    if number(members) & EVERY_LANE != EVERY_LANE:
        raise PtxError(f"{ins}: part of a warp")
