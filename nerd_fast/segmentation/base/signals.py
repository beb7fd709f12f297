"""SIGTERM and SIGINT during training: the step is finished, a checkpoint saved, and the command exits 143 or 130.

A second signal ends the process at once, as if nothing had been installed.
"""

import signal
import threading

import pytorch_lightning as pl

from nerd_fast.segmentation.base.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Within the context, remembers in `received` the first of SIGNALS after `listen`; the second one acts as ever."""

    def __init__(self):
        self.received = 0
        # Python lets no other thread than the main one listen; a run started from one goes on without.
        self._may_listen = threading.current_thread() is threading.main_thread()

    def __enter__(self):
        self._before = {number: signal.getsignal(number) for number in SIGNALS} if self._may_listen else {}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def listen(self):
        for number in SIGNALS if self._may_listen else ():
            signal.signal(number, self._remember)

    def _remember(self, number, frame):
        self.received = number
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)


def ignore_signals(worker):
    """What a worker process begins with: a signal goes to the whole group, and a worker that dies of it takes the last
    step with it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class StopOnSignal(pl.Callback):
    """Saves `last.ckpt` and raises Interrupted after the optimizer step during which a signal came.

    The last batch of an epoch belongs to its validation and its row of the log: the run then stops after both. It
    stands last among the callbacks, so that the others have finished with the step.
    """

    def __init__(self, recorder, signals):
        self.recorder, self.signals = recorder, signals

    def on_train_start(self, trainer, module):
        self.signals.listen()  # only now, in the place of Lightning's own handlers, which save nothing and exit with 0

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        if (number + 1) % trainer.accumulate_grad_batches == 0 and not trainer.is_last_batch:
            received = self._agreed(trainer)
            if received:
                self.recorder.save_last(trainer)
                raise Interrupted(received)

    def on_train_epoch_end(self, trainer, module):
        received = self._agreed(trainer)
        if received:
            raise Interrupted(received)

    def _agreed(self, trainer):
        """The signal that this process or, with several devices, another one received; 0 where there was none."""
        received = self.signals.received
        if trainer.world_size > 1 and trainer.strategy.reduce_boolean_decision(bool(received), all=False):
            return received or signal.SIGTERM
        return received
