"""SIGTERM and SIGINT during training: the step is finished, what was learned is kept, and the command exits 143 or 130.

A second signal ends the process at once, as if nothing had been installed.
"""

import contextlib
import signal

import pytorch_lightning as pl

from nerd_fast.segmentation.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal(pl.Callback):
    """Raises Interrupted after the training or validation step during which a signal came."""

    def __init__(self):
        self.received = 0

    @contextlib.contextmanager
    def listening(self):
        before = {number: signal.getsignal(number) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_fit_start(self, trainer, module):
        for number in SIGNALS:
            signal.signal(number, self._remember)

    def _remember(self, number, frame):
        self.received = number
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)

    def on_train_batch_end(self, trainer, *_):
        self._stop_if_asked(trainer)

    def on_validation_batch_end(self, trainer, *_):
        self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer):
        received = self.received
        if trainer.world_size > 1 and trainer.strategy.reduce_boolean_decision(bool(received), all=False):
            received = received or signal.SIGTERM
        if received:
            raise Interrupted(received)
