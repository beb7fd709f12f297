"""Runs a kernel: all threads of many blocks in lockstep, those at the earliest basic block first."""

import numpy as np

from nerd_fast.kernels.audit.ptx.datatypes import SIZES, WARP, PtxError
from nerd_fast.kernels.audit.ptx.instructions import translate
from nerd_fast.kernels.audit.ptx.report import Report
from nerd_fast.kernels.audit.ptx.threads import Threads

AT_ONCE = 1 << 14  # threads: numpy vectors that stay in the L2 cache


class Code:
    """A parsed kernel, translated once for any number of launches."""

    def __init__(self, kernel):
        self.kernel = kernel
        instructions = kernel.instructions
        self.blocks = [[(ins, translate(kernel, ins)) for ins in block] for block in kernel.blocks]
        written = {name for ins in instructions for name in ins.written}
        self.undefined = {name for ins in instructions for name in ins.named} - written  # LLVM's undef
        widths = [
            SIZES[ins.op.split(".")[-1]] for ins in instructions if ".shared." in ins.op and ins.op[:2] in ("ld", "st")
        ]
        self.shared_granule = min(4, *widths) if widths else 4  # bytes: the unit in which races are told apart
        if any("matrix" in ins.op for ins in instructions):
            self.shared_granule = min(self.shared_granule, 2)


class Machine:
    """One launch: `Machine(code, memory, grid, values, shared).run()`.

    grid programs; values the bits of each parameter in the kernel's order; shared the bytes of shared memory of a
    block; counts a Counts or None. Its `report` fills as it runs.
    """

    def __init__(self, code, memory, grid, values, shared, counts=None):
        self.code, self.kernel, self.memory, self.grid, self.shared = code, code.kernel, memory, grid, shared
        self.undefined, self.shared_granule = code.undefined, code.shared_granule
        names = [name for name, _ in self.kernel.parameters]
        if len(values) != len(names):
            raise PtxError(f"{self.kernel.name} takes {len(names)} parameters, {len(values)} given")
        self.parameters = dict(zip(names, values, strict=True))
        self.counts = counts
        self.report = Report()

    def run(self, programs=None):
        """Runs all programs of the grid, or those given. Returns the report."""
        programs = np.arange(self.grid) if programs is None else np.asarray(programs)
        step = max(1, AT_ONCE // self.kernel.threads)
        with np.errstate(all="ignore"):
            for first in range(0, len(programs), step):
                self._run(Threads(self, programs[first : first + step]))
        return self.report

    def _run(self, threads):
        waiting = {0: None}  # basic block: the threads that are at its start
        while waiting:
            at = min(waiting)
            for place, mask in self._run_block(threads, at, waiting.pop(at)):
                if place == len(self.code.blocks):
                    continue
                if place in waiting:
                    mask = None if mask is None or waiting[place] is None else waiting[place] | mask
                    mask = None if mask is None or mask.all() else mask
                waiting[place] = mask

    def _run_block(self, threads, at, active):
        """Where its threads go: [(basic block, mask)]."""
        for ins, step in self.code.blocks[at]:
            threads.now = ins
            mask = self._mask(threads, ins, active)
            if self.counts is not None:
                self.counts.count_instruction(ins, threads.size, mask)
            if step == "bra":
                return self._branch(threads, ins, at, active, mask, self.kernel.labels[ins.operands[0]])
            if step == "ret":
                return self._branch(threads, ins, at, active, mask, len(self.code.blocks))
            if step == "brx":
                return self._switch(threads, ins, active)
            if mask is None or ins.predicate is None or mask.any():
                step(threads, mask)
        return [(at + 1, active)]

    @staticmethod
    def _mask(threads, ins, active):
        if ins.predicate is None:
            return active
        mask = ~threads.read(ins.predicate) if ins.negated else threads.read(ins.predicate)
        mask = mask if active is None else mask & active
        return None if mask.all() else mask

    def _branch(self, threads, ins, at, active, taken, target):
        if taken is None or ins.predicate is None:
            return [(target, active)]
        fallen = ~taken if active is None else active & ~taken
        if not taken.any():
            return [(at + 1, active)]
        if not fallen.any():
            return [(target, active)]
        for size, what in ((WARP, "warp"), (threads.block_size, "block")):
            if (taken.reshape(-1, size).any(1) & fallen.reshape(-1, size).any(1)).any():
                self.report.note(f"divergent within a {what}: {ins}")
        return [(target, taken), (at + 1, fallen)]

    def _switch(self, threads, ins, active):
        """brx.idx: an indexed jump through a table of labels."""
        register, name = ins.operands
        labels, at = self.kernel.tables[name], threads.read(register)
        beyond = at >= len(labels) if active is None else active & (at >= len(labels))
        if ins.predicate is not None or beyond.any():
            raise PtxError(f"{ins}: predicated, or past the end of {name}")
        where = {}
        for i, label in enumerate(labels):
            mask = at == i if active is None else active & (at == i)
            if mask.any():
                place = self.kernel.labels[label]
                where[place] = where[place] | mask if place in where else mask
        return [(place, None if mask.all() else mask) for place, mask in where.items()]
