"""How far an epoch is, in one line of a terminal that is written over and is gone when the epoch is done."""

import sys
import time

import pytorch_lightning as pl

INTERVAL = 0.1  # seconds; to read the loss is to wait for the device


class ProgressLine(pl.Callback):
    """Says epoch, batch and loss on standard error where that is a terminal, of the first process."""

    def __init__(self):
        self._shown = -INTERVAL

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        now = time.monotonic()
        if now - self._shown < INTERVAL or not trainer.is_global_zero or not sys.stderr.isatty():
            return
        self._shown = now
        where = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self._write(f"{where}  batch {number + 1}/{trainer.num_training_batches}  loss {float(outputs['loss']):.4f}")

    def on_validation_start(self, trainer, module):
        self._clear()

    def on_train_epoch_end(self, trainer, module):
        self._clear()

    def on_exception(self, trainer, module, exception):
        self._clear()

    def _clear(self):
        if self._shown > -INTERVAL:
            self._shown = -INTERVAL
            self._write("")

    def _write(self, text):
        print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
