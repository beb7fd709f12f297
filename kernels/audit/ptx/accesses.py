"""Accesses of memory by threads: bounds, alignment, races, counts, and the movement of bytes itself."""

import numpy as np

from nerd_fast.kernels.audit.ptx.datatypes import RAW, WARP
from nerd_fast.kernels.audit.ptx.memory import SPACING
from nerd_fast.kernels.audit.ptx.shadow import READ_KINDS, WRITE_KINDS

ALL_BYTES = (1 << 64) - 1
SHARED = "shared memory"


def access_global(threads, ins, address, lanes, width, count, used=ALL_BYTES, values=None, counted=True):
    """Loads (values None) or stores `count` numbers of `width` bytes for each of the threads `lanes`.

    address (len(lanes),) virtual; values a list of count arrays; returns such a list for a load. `used` is a mask of
    the bytes that a load is known to need.
    """
    which = (address >> np.uint64(SPACING)).astype(np.int64)
    if (which != which[0]).any():
        return _by_buffer(threads, ins, address, lanes, width, count, used, values, counted, which)
    if not 1 <= which[0] <= len(threads.memory.buffers):
        threads.fault(ins, "outside of every tensor", 0, address, lanes)
    buffer = threads.memory.buffers[which[0] - 1]
    offset = (address - np.uint64(buffer.base)).astype(np.int64)
    size = width * count
    outside = (offset < buffer.low) | (offset + size > buffer.high)
    if outside.any():
        where = f"outside of {buffer.name}, bytes [{buffer.low}, {buffer.high})"
        threads.fault(ins, where, int(np.argmax(outside)), offset, lanes)
    _require_alignment(threads, ins, offset, size, lanes, buffer.name)
    if threads.counts is not None and counted:
        threads.counts.count_global(ins, buffer, *by_warp(threads, offset, lanes), size)
    view, index = buffer.view(width), offset // width
    if threads.memory.checks:
        _trace(threads, ins, buffer.shadow, buffer, offset, lanes, width, count, used, values, view)
    return _move(threads, ins, view, index, count, values, lanes, buffer.name)


def access_shared(threads, ins, address, lanes, width, count, used=ALL_BYTES, values=None, counted=True):
    """The same in the shared memory of each thread's block, at byte offsets in it."""
    size = width * count
    offset = address.astype(np.int64)
    outside = offset + size > threads.shared_size
    if outside.any():
        where = f"outside of {threads.shared_size} bytes of shared memory"
        threads.fault(ins, where, int(np.argmax(outside)), offset, lanes)
    _require_alignment(threads, ins, offset, size, lanes, SHARED)
    if threads.counts is not None and counted:
        threads.counts.count_shared(ins, *by_warp(threads, offset, lanes), size)
    offset = offset + (threads.shared_base if lanes is None else threads.shared_base[lanes])
    view, index = threads.shared(width), offset // width
    if threads.memory.checks:
        _trace(threads, ins, threads.shared_shadow, None, offset, lanes, width, count, used, values, view)
    return _move(threads, ins, view, index, count, values, lanes, SHARED)


def by_warp(threads, values, lanes):
    """Values of the threads `lanes` as (warps, 32), and which of them are there."""
    grid, there = np.zeros(threads.size, np.int64), np.zeros(threads.size, np.bool_)
    chosen = slice(None) if lanes is None else lanes
    grid[chosen], there[chosen] = values, True
    return grid.reshape(-1, WARP), there.reshape(-1, WARP)


def _by_buffer(threads, ins, address, lanes, width, count, used, values, counted, which):
    """An access whose threads reach into several tensors, tensor by tensor."""
    results = [np.zeros(len(address), RAW[width]) for _ in range(count)]
    for one in np.unique(which):
        chosen = np.flatnonzero(which == one)
        some = chosen if lanes is None else lanes[chosen]
        part = None if values is None else [value[chosen] for value in values]
        found = access_global(threads, ins, address[chosen], some, width, count, used, part, counted)
        for result, piece in zip(results, found or (), strict=False):
            result[chosen] = piece
    return None if values is not None else results


def _require_alignment(threads, ins, offset, size, lanes, name):
    misaligned = (offset & (size - 1)) != 0
    if misaligned.any():
        threads.fault(ins, f"in {name}, misaligned for {size} bytes", int(np.argmax(misaligned)), offset, lanes)


def _move(threads, ins, view, index, count, values, lanes, name):
    if values is None:
        return [view[index + i] for i in range(count)]
    for i, value in enumerate(values):
        view[index + i] = value
        if threads.memory.checks:
            kept = view[index + i]
            if (kept != value).any():
                _tell_disagreement(threads, ins, index + i, value, kept, lanes, name)
    return None


def _tell_disagreement(threads, ins, index, value, kept, lanes, name):
    """Two threads of one store wrote different values to one place; which of them stays is not defined."""
    warp = (threads.number if lanes is None else threads.number[lanes]) // WARP
    lost = np.flatnonzero(kept != value)
    winners = {}
    for i in np.flatnonzero(kept == value):
        winners.setdefault(int(index[i]), set()).add(int(warp[i]))
    apart = sum(bool(winners.get(int(index[i]), set()) - {int(warp[i])}) for i in lost)
    example = f"{value[lost[0]]:#x} and {kept[lost[0]]:#x} in {name}"
    if apart:
        threads.report.find("two warps of one store disagree", ins, apart, example)
    if apart < len(lost):
        threads.report.find("two lanes of one store disagree", ins, len(lost) - apart, example)


def _trace(threads, ins, shadow, buffer, offset, lanes, width, count, used, values, view):
    """Tells the shadow of an access, and the report what it answers. buffer is None for shared memory."""
    number = threads.number if lanes is None else threads.number[lanes]
    epoch = threads.epoch if lanes is None else threads.epoch[lanes]
    granule = threads.shared_granule if buffer is None else buffer.granule
    for start in range(0, width * count, granule):
        if not (used >> start) & ((1 << min(granule, width)) - 1):
            continue
        index = (offset + start) // granule
        if values is None:
            kinds, told = READ_KINDS, shadow.read(index, number, epoch, threads.block_size)
        else:
            piece = start // width
            changes = view[(offset + piece * width) // width] != values[piece]
            kinds, told = WRITE_KINDS, shadow.write(index, number, epoch, threads.block_size, changes)
        for kind, where in zip(kinds, told, strict=True):
            if where is not None and where.any():
                _tell(threads, kind, ins, where, offset, lanes, buffer)


def _tell(threads, kind, ins, where, offset, lanes, buffer):
    position = int(np.argmax(where))
    lane = position if lanes is None else int(lanes[position])
    byte = int(offset[position]) - (int(threads.shared_base[lane]) if buffer is None else 0)
    name = SHARED if buffer is None else buffer.name
    threads.report.find(kind, ins, int(where.sum()), f"{threads.who(position, lanes)} byte {byte} of {name}")
