"""Who wrote and who read each granule of a memory since which barrier: tells races, and reads of what nothing wrote.

Executed in lockstep, a kernel that lacks a barrier still gives the right result; this is what notices. An epoch counts
the barriers of a thread's block above OF_BLOCK bits, and those of its warp since the last of them in these bits.
"""

import numpy as np

from nerd_fast.kernels.audit.ptx.datatypes import WARP

OF_BLOCK = 12
READ_UNWRITTEN = "reads what nothing wrote"
READ_KINDS = (
    READ_UNWRITTEN,
    "reads what another warp or block wrote, no barrier between",
    "reads what another lane wrote, no barrier between",
)
WRITE_KINDS = (
    "writes what another warp or block wrote, no barrier between",
    "writes what another lane wrote, no barrier between",
    "writes what another warp or block read, no barrier between",
    "writes what another lane read, no barrier between",
)


class Shadow:
    """Of each granule: whether it was written, its last writer, its last reader and one of another warp before it.

    Threads are numbered through the whole launch; -1 is nobody.
    """

    def __init__(self, granules, written):
        self.written = np.full(granules, written)
        self.writer, self.reader, self.other = (np.full(granules, -1, np.int32) for _ in range(3))
        self.writer_epoch, self.reader_epoch, self.other_epoch = (np.zeros(granules, np.int32) for _ in range(3))

    def begin_launch(self):
        """A launch begins after all that the one before has done."""
        for who in (self.writer, self.reader, self.other):
            who.fill(-1)

    def read(self, index, thread, epoch, threads):
        """Where a read of the granules `index` is one of READ_KINDS, in their order (None: nowhere).

        thread and epoch belong to each access; threads is the size of a block.
        """
        between, within = _conflicts(self.writer[index], self.writer_epoch[index], thread, epoch, threads)
        unwritten = ~self.written[index]
        last = self.reader[index]
        other = (last >= 0) & (last // WARP != thread // WARP)
        chosen = index[other]
        self.other[chosen] = last[other]
        self.other_epoch[chosen] = self.reader_epoch[chosen]
        self.reader[index] = thread
        self.reader_epoch[index] = epoch
        return unwritten, between, within

    def write(self, index, thread, epoch, threads, changes):
        """Where a write is one of WRITE_KINDS. changes: whether bytes change; writing the same twice is no race."""
        between, within = _conflicts(self.writer[index], self.writer_epoch[index], thread, epoch, threads)
        if between is not None:
            between, within = between & changes, within & changes
        read_between, read_within = _conflicts(self.reader[index], self.reader_epoch[index], thread, epoch, threads)
        other_between, _ = _conflicts(self.other[index], self.other_epoch[index], thread, epoch, threads)
        if other_between is not None:
            read_between = other_between if read_between is None else read_between | other_between
        self.writer[index] = thread
        self.writer_epoch[index] = epoch
        self.written[index] = True
        return between, within, read_between, read_within


def _conflicts(who, when, thread, epoch, threads):
    """(between warps or blocks, within a warp): where somebody touched a granule and no barrier has come since."""
    apart = (who >= 0) & (who != thread)
    if not apart.any():
        return None, None
    same_block = who // threads == thread // threads
    same_warp = who // WARP == thread // WARP
    between = apart & ~same_warp & (~same_block | (when >> OF_BLOCK == epoch >> OF_BLOCK))
    return between, apart & same_warp & (when == epoch)
