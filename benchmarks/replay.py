"""Times measured elsewhere, told to pytest-benchmark: its own clock cannot interleave peers or read CUDA events."""


class Tape:
    """A timer for pytest-benchmark that advances by the next measured time whenever `play` is called."""

    def __init__(self, seconds):
        self.rounds = len(seconds)
        self._seconds = iter(seconds)
        self._now = 0.0

    def __call__(self):
        return self._now

    def play(self):
        self._now += next(self._seconds)
