"""Instructions that move values: parameters, loads, stores, asynchronous copies, and registers taken apart or joined.

Each maker checks an instruction once and returns what executes it: a function of the threads and a mask.
"""

import numpy as np

from nerd_fast.kernels.audit.ptx import operands
from nerd_fast.kernels.audit.ptx.accesses import ALL_BYTES, access_global, access_shared
from nerd_fast.kernels.audit.ptx.datatypes import RAW, SIZES, PtxError
from nerd_fast.kernels.audit.ptx.parsing import number

ADDRESSES = {"global": ("u64", access_global), "shared": ("u32", access_shared)}


def parameter(kernel, ins, type_):
    name, where = ins.operands
    declared = dict(kernel.parameters).get(where.strip("[]"))
    size = kernel.size_of(name)
    if declared is None or SIZES[type_] > SIZES[declared] or SIZES[type_] > size:
        raise PtxError(f"{ins}: the kernel declares .{declared}")
    bits = 8 * SIZES[type_]

    def step(threads, mask):
        value = threads.parameters[where.strip("[]")] & ((1 << bits) - 1)
        if type_[0] == "s" and value >> (bits - 1):
            value -= 1 << bits
        threads.write(name, RAW[size](value & ((1 << 8 * size) - 1)), mask)

    return step


def load(kernel, ins, space, vector, type_):
    count, width = int(vector or 1), SIZES[type_]
    names = _named(ins, ins.operands[0], count)
    type_of_address, access = ADDRESSES[space]
    address = operands.address(kernel, ins, ins.operands[1], type_of_address)
    sizes = [0 if name == "_" else kernel.size_of(name) for name in names]
    if any(0 < size < width for size in sizes) or (type_[0] == "s" and any(size > width for size in sizes)):
        raise PtxError(f"{ins}: registers of {sizes} bytes for .{type_}")
    used = ALL_BYTES if ins.used_bytes is None else ins.used_bytes

    def step(threads, mask):
        lanes, at = _present(threads, address, mask)
        loaded = access(threads, ins, at, lanes, width, count, used)
        for name, size, value in zip(names, sizes, loaded, strict=True):
            if size:
                threads.write(name, _spread(threads, value.astype(RAW[size]), lanes), mask)

    return step


def store(kernel, ins, space, vector, type_):
    count, width = int(vector or 1), SIZES[type_]
    names = _named(ins, ins.operands[1], count)
    type_of_address, access = ADDRESSES[space]
    address = operands.address(kernel, ins, ins.operands[0], type_of_address)
    sizes = [kernel.size_of(name) if name.startswith("%") else max(width, 2) for name in names]
    reads = [operands.source(kernel, ins, n, f"b{8 * size}") for n, size in zip(names, sizes, strict=True)]

    def step(threads, mask):
        lanes, at = _present(threads, address, mask)
        values = [np.broadcast_to(read(threads), (threads.size,)) for read in reads]
        values = [(value if lanes is None else value[lanes]).astype(RAW[width]) for value in values]
        access(threads, ins, at, lanes, width, count, values=values)

    return step


def copy_async(kernel, ins, size):
    """cp.async: global to shared memory; bytes beyond the optional last operand are zero. Done when it is waited for.

    What the copy reads is read at once: nothing that these kernels launch writes it meanwhile, or the shadow tells.
    """
    size = int(number(ins.operands[2])) if size is None else int(size)
    if size not in (4, 8, 16):
        raise PtxError(f"{ins}: {size} bytes")
    to = operands.address(kernel, ins, ins.operands[0], "u32")
    source = operands.address(kernel, ins, ins.operands[1], "u64")
    present = operands.source(kernel, ins, ins.operands[3] if len(ins.operands) > 3 else str(size), "u32")
    words = size // 4

    def step(threads, mask):
        kept = np.broadcast_to(present(threads), (threads.size,))
        if not np.isin(kept, (0, size)).all():
            raise PtxError(f"{ins}: part of {size} bytes")
        here = kept > 0 if mask is None else (kept > 0) & mask
        values = [np.zeros(threads.size, np.uint32) for _ in range(words)]
        reading = np.flatnonzero(here)
        if len(reading):
            loaded = access_global(threads, ins, source(threads)[reading], reading, 4, words)
            for value, piece in zip(values, loaded, strict=True):
                value[reading] = piece
        lanes, at = _present(threads, to, mask)
        values = values if lanes is None else [value[lanes] for value in values]
        threads.copying.append((ins, at, lanes, words, values))

    return step


def commit_copies(kernel, ins):
    def step(threads, mask):
        threads.committed.append(threads.copying)
        threads.copying = []

    return step


def wait_for_copies(kernel, ins):
    """cp.async.wait_group N: all groups but the last N are done; wait_all: every copy."""
    left = int(number(ins.operands[0])) if ins.operands else 0

    def step(threads, mask):
        if not ins.operands:
            threads.committed.append(threads.copying)
            threads.copying = []
        while len(threads.committed) > left:
            for copy, at, lanes, words, values in threads.committed.pop(0):
                access_shared(threads, copy, at, lanes, 4, words, values=values)

    return step


def join_or_split(kernel, ins):
    """mov between a wide register and {low, high, ...}."""
    wide = ins.op.split(".")[1]
    to, source = ins.operands
    names = operands.vector(to if to.startswith("{") else source)
    part = SIZES[wide] // len(names)
    if to.startswith("{"):
        read = operands.source(kernel, ins, source, wide)
        targets = [None if name == "_" else operands.target(kernel, ins, name, part) for name in names]

        def step(threads, mask):
            whole = np.ascontiguousarray(np.broadcast_to(read(threads), (threads.size,)))
            pieces = whole.view(RAW[part]).reshape(-1, len(names))
            for i, name in enumerate(targets):
                if name is not None:
                    threads.write(name, pieces[:, i].copy(), mask)

    else:
        reads = [operands.source(kernel, ins, name, f"b{8 * part}") for name in names]
        name = operands.target(kernel, ins, to, SIZES[wide])

        def step(threads, mask):
            pieces = np.empty((threads.size, len(names)), RAW[part])
            for i, read in enumerate(reads):
                pieces[:, i] = read(threads)
            threads.write(name, pieces.view(RAW[SIZES[wide]])[:, 0], mask)

    return step


def _named(ins, operand, count):
    names = operands.vector(operand)
    if len(names) != count:
        raise PtxError(f"{ins}: {count} registers expected")
    return names


def _present(threads, address, mask):
    """The threads of the mask and their addresses."""
    if mask is None:
        return None, np.broadcast_to(address(threads), (threads.size,))
    lanes = np.flatnonzero(mask)
    return lanes, np.broadcast_to(address(threads), (threads.size,))[lanes]


def _spread(threads, value, lanes):
    if lanes is None:
        return value
    full = np.zeros(threads.size, value.dtype)
    full[lanes] = value
    return full
