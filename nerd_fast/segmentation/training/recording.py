"""What a run leaves behind after each epoch: a row of the log and the checkpoints."""

import csv
import resource
import time
from pathlib import Path

import pytorch_lightning as pl
import torch

from nerd_fast.segmentation.base.files import whole_file
from nerd_fast.segmentation.runs.runs import BEST, LAST, METRICS, write_config

COLUMNS = ("epoch", "step", "lr", "train_loss", "val_dice", "skipped", "seconds", "images_per_s", "peak_memory_mib")


class Recorder(pl.Callback):
    """Writes `last.ckpt`, `config.yaml`, `best.ckpt` and `metrics.csv` in `folder`, and says one line for each epoch.

    The best epoch is that of the highest validation Dice, or of the lowest training loss where nothing is validated.
    The log is kept in the checkpoint and written whole, so that a resumed run has one log without gaps or repeats.
    """

    def __init__(self, folder, divergence):
        self.folder, self.divergence = Path(folder), divergence
        self.rows, self.best = [], None

    def state_dict(self):
        return {"rows": self.rows, "best": self.best}

    def load_state_dict(self, state):
        self.rows, self.best = state["rows"], state["best"]

    def on_train_start(self, trainer, module):
        self._begin(trainer)
        if trainer.ckpt_path is None:
            self.save_last(trainer)  # so that a run killed in its first epoch can be resumed

    def on_fit_end(self, trainer, module):
        # A process that was killed right after its last checkpoint has not written the log and the options of it.
        if trainer.is_global_zero and self.rows:
            write_rows(self.rows, self.folder / METRICS)
            write_config(module.config, self.folder)

    def on_train_epoch_start(self, trainer, module):
        self._begin(trainer)

    def save_last(self, trainer):
        trainer.save_checkpoint(self.folder / LAST)
        if trainer.is_global_zero:
            write_config(trainer.lightning_module.config, self.folder)  # after it, for the two belong together

    def _begin(self, trainer):
        self._rate = trainer.optimizers[0].param_groups[0]["lr"]
        self._started = self._stepped = time.perf_counter()
        self._images = 0

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        self._stepped = time.perf_counter()
        self._images += len(batch[0]) * trainer.world_size

    def on_train_epoch_end(self, trainer, module):
        loss, dice = module.take_train_loss(), trainer.callback_metrics.get("val_dice")
        dice = None if dice is None else float(dice)
        score = -loss if dice is None else dice
        row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "lr": self._rate,
            "train_loss": loss,
            "val_dice": dice,
            "skipped": self.divergence.skipped,
            "seconds": time.perf_counter() - self._started,
            "images_per_s": self._images / (self._stepped - self._started),
            "peak_memory_mib": peak_memory_mib(module.device),
        }
        self.rows.append(row)
        is_best = self.best is None or score > self.best
        self.best = max(score, self.best) if self.best is not None else score
        if is_best:
            trainer.save_checkpoint(self.folder / BEST)
        self.save_last(trainer)
        for logger in trainer.loggers:
            numbers = {name: value for name, value in row.items() if value is not None and name != "epoch"}
            logger.log_metrics(numbers, step=row["epoch"])
        if trainer.is_global_zero:
            write_rows(self.rows, self.folder / METRICS)
            _say(row, trainer.max_epochs, is_best)


def write_rows(rows, path):
    """Write the log as CSV, whole."""
    with whole_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def peak_memory_mib(device):
    """Most memory used so far, in MiB: allocated on a GPU, resident of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _say(row, epochs, is_best):
    dice = "" if row["val_dice"] is None else f"  val Dice {row['val_dice']:.4f}"
    best = "  lowest loss so far" if row["val_dice"] is None else "  highest val Dice so far"
    print(
        f"epoch {row['epoch']:3}/{epochs}  loss {row['train_loss']:.4f}{dice}  lr {row['lr']:.2e}  "
        f"{row['seconds']:.1f} s  {row['images_per_s']:.1f} images/s  {row['peak_memory_mib']:.0f} MiB"
        f"{best if is_best else ''}",
        flush=True,
    )
