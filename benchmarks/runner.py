"""One peer on the inputs of its case: held against the oracle, weighed, traced and timed."""

from benchmarks import memory, parity, timing, trace


class Runner:
    """`make_peer` is a value of `peers.PEERS`, `turning` the case's (x, grad) and copies of it to rotate through."""

    def __init__(self, make_peer, head, turning):
        self._peer = make_peer(head)
        self._dtype, self._device = head.case.dtype, head.device
        self._inputs = turning[0]
        self._clock = timing.clock_of(head.device)
        self._steps = {
            "training": timing.training_step(self._peer, turning),
            "inference": timing.inference_step(self._peer, turning),
        }

    def verify(self, oracle):
        """The errors of the peer, as `parity.compare` tells them."""
        return parity.compare(self._peer, oracle, *self._inputs, self._dtype)

    def peak_bytes(self, kind):
        """Peak memory of a "training" or "inference" step above the inputs, after a first has set up what stays."""
        step = self._untimed(kind)
        step()
        return memory.peak_bytes(step, self._device)

    def trace(self, path):
        """Writes a profiler trace of one training step."""
        trace.write(self._untimed("training"), self._device, path)

    def round(self, kind, turn):
        """One timed "training" or "inference" step, as `timing.timed` returns it."""
        return timing.timed(self._steps[kind], self._clock, turn)

    def _untimed(self, kind):
        return lambda: self._steps[kind](0, lambda: None)
