"""A peer in processes of its own, so that it meets the heap as it has left it itself.

A step on a CPU takes up to three times as long where its memory comes fresh from the system, a page fault every 4 KiB,
as where the process still has it; and what the process still has depends on everything it has allocated before. Forked
from one server that has imported PyTorch and computed nothing, every process begins with the same heap.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import torch

from benchmarks.runner import Runner

# What a peer imports before its first step, the compiler included: once, in the server.
PRELOADED = ["__main__", "benchmarks.runner", "torch._dynamo", "torch._inductor.compile_fx"]


class RemoteRunner:
    """A `Runner` on the CPU in other processes, with the threads of this one: one checks the peer, the next times it.

    Head and inputs are shared, not copied. `make_peer` must be a function that a module holds. Errors arrive as they
    were raised there; where the process itself ends, as the system ends one that takes too much memory,
    BrokenProcessPool. `close` ends the processes.
    """

    def __init__(self, make_peer, head, turning):
        self._arguments = make_peer, head, turning
        self._process = self._purpose = None

    def verify(self, oracle):
        return self._ask("check", "verify", oracle)

    def peak_bytes(self, kind):
        return self._ask("check", "peak_bytes", kind)

    def trace(self, path):
        return self._ask("check", "trace", path)

    def round(self, kind, turn):
        return self._ask("time", "round", kind, turn)

    def close(self):
        if self._process is not None:
            self._process.shutdown()

    def _ask(self, purpose, method, *arguments):
        if purpose != self._purpose:
            self.close()
            self._process, self._purpose = ProcessPoolExecutor(1, mp_context=_context()), purpose
            self._process.submit(_start, torch.get_num_threads(), *self._arguments).result()
        return self._process.submit(_answer, method, *arguments).result()


def _context():
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


_runner = None  # of the process that `_start` has made a peer's


def _start(threads, *arguments):
    global _runner
    torch.set_num_threads(threads)
    torch._inductor.config.compile_threads = 1  # a pool of compilers for each peer would outlast its compilation
    _runner = Runner(*arguments)


def _answer(method, *arguments):
    return getattr(_runner, method)(*arguments)
