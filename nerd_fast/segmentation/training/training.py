"""Training of a segmentation network on slices held in memory (paper, section 3.2)."""

import logging
import multiprocessing
import signal
import warnings
from dataclasses import asdict, dataclass
from importlib.util import find_spec

import pytorch_lightning as pl
import torch
from monai.losses import DiceLoss
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data._utils.signal_handling import _set_SIGCHLD_handler

from nerd_fast.segmentation.base.errors import Interrupted, UsageError
from nerd_fast.segmentation.base.signals import StopOnSignal, ignore_signals
from nerd_fast.segmentation.runs.checkpoints import FORMAT, FORMAT_VERSION, WholeCheckpoints
from nerd_fast.segmentation.training.divergence import StopOnDivergence
from nerd_fast.segmentation.training.processes import peers_may_end
from nerd_fast.segmentation.training.progress import ProgressLine
from nerd_fast.segmentation.training.recording import Recorder
from nerd_fast.segmentation.training.sampling import EpochBatches, TrainingSlices, step_seed

WORKER_TIMEOUT = 600  # seconds without a batch after which a worker process is given up
CHANNELS_LAST = torch.channels_last  # twice as fast as contiguous on a CPU, and what tensor cores want


class Segmenter(pl.LightningModule):
    """A network with its loss, optimizer and validation; `identity` is what its checkpoints say about themselves."""

    def __init__(self, network, config, classes, identity):
        super().__init__()
        self.network = network.to(memory_format=CHANNELS_LAST)
        self.config, self.classes, self.identity = config, classes, identity
        self.loss = Loss(classes, config.loss)
        self.counts = {}
        self.position = Position()

    def forward(self, images):
        return self.network(images.contiguous(memory_format=CHANNELS_LAST))

    def on_train_start(self):
        # A resumed optimizer has the rates of its checkpoint; those of the configuration count, after --override too.
        optimizer, schedule = self.optimizers().optimizer, self.lr_schedulers()
        schedule.base_lrs = [self.config.lr] * len(optimizer.param_groups)
        for group, rule in zip(optimizer.param_groups, schedule.lr_lambdas, strict=True):
            group.update(
                lr=self.config.lr * rule(schedule.last_epoch),
                initial_lr=self.config.lr,
                weight_decay=self.config.weight_decay,
            )

    def on_train_batch_start(self, batch, number):
        if self.config.dropout:
            torch.manual_seed(step_seed(self.config.seed, self.current_epoch, number))

    def training_step(self, batch, number):
        images, labels = batch
        loss = self.loss(self(images), labels)
        self.position.add(loss.detach(), len(images))
        self.log("loss", loss, prog_bar=True, logger=False)
        return loss

    def take_train_loss(self):
        """The mean loss over the images of the epoch and all devices; the next epoch begins with nothing."""
        mean = torch.as_tensor(self.position.loss / self.position.images, device=self.device)
        self.position = Position(self.position.epoch + 1)
        return float(self.trainer.strategy.reduce(mean, reduce_op="mean"))

    def validation_step(self, batch, number):
        case, images, labels = batch
        counts = overlap_counts(self(images), labels, self.classes)
        self.counts[case] = self.counts.get(case, 0) + counts

    def on_validation_epoch_end(self):
        dice = torch.stack([dice_of_counts(counts) for counts in self.counts.values()]).mean()
        self.counts.clear()
        self.log("val_dice", dice, prog_bar=True, logger=False, sync_dist=True)

    def configure_optimizers(self):
        config = self.config
        optimizer = torch.optim.Adam(self.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        falls = [max(1, round(part * config.epochs)) for part in config.milestones]
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda epoch: config.gamma ** sum(epoch >= fall for fall in falls)
        )
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_save_checkpoint(self, checkpoint):
        checkpoint.update(format=FORMAT, format_version=FORMAT_VERSION, **self.identity)
        checkpoint["position"] = {**asdict(self.position), "loss": float(self.position.loss)}

    def on_load_checkpoint(self, checkpoint):
        self.position = Position(**checkpoint["position"])


@dataclass
class Position:
    """How far training has come: finished epochs and, in the next, batches, images and the sum of their losses."""

    epoch: int = 0
    batches: int = 0
    images: int = 0
    loss: float = 0.0

    def add(self, loss, images):
        self.batches += 1
        self.images += images
        self.loss = self.loss + loss * images


class Loss(nn.Module):
    """Cross-entropy (binary for one class), Dice over the whole batch, or their sum; labels (B, H, W) hold 0..classes.

    Dice runs over the batch, because a slice without lesions has a Dice loss of nearly 1 whatever is predicted.
    """

    def __init__(self, classes, parts):
        super().__init__()
        self.binary = classes == 1
        self.entropy = nn.BCEWithLogitsLoss() if self.binary else nn.CrossEntropyLoss()
        kind = {"sigmoid": True} if self.binary else {"softmax": True, "to_onehot_y": True, "include_background": False}
        self.dice = DiceLoss(batch=True, **kind)
        self.parts = parts.split("+")

    def forward(self, logits, labels):
        logits, labels = logits.float(), labels[:, None]
        values = []
        if "entropy" in self.parts:
            values.append(self.entropy(logits, labels if self.binary else labels[:, 0].long()))
        if "dice" in self.parts:
            values.append(self.dice(logits, labels))
        return sum(values)


def overlap_counts(logits, labels, classes):
    """Voxels in both, in the prediction and in the label: (3, classes), for logits (B, K, H, W), labels (B, H, W)."""
    predicted = (logits[:, 0] > 0).long() if classes == 1 else logits.argmax(1)
    values = torch.arange(1, classes + 1, device=logits.device)[:, None]
    mine, theirs = predicted.flatten() == values, labels.flatten() == values
    return torch.stack([(mine & theirs).sum(1), mine.sum(1), theirs.sum(1)])


def dice_of_counts(counts):
    """Dice of a volume, mean over its classes; 1 for a class that is in neither."""
    both, mine, theirs = counts.double()
    total = mine + theirs
    return torch.where(total > 0, 2 * both / total.clamp(min=1), 1.0).mean()


class Slices(pl.LightningDataModule):
    """Training slices in random order, and the validation cases in batches of slices of one case."""

    def __init__(self, train, val, config):
        super().__init__()
        self.train, self.val, self.config = train, val, config

    def train_dataloader(self):
        config, trainer, position = self.config, self.trainer, self.trainer.lightning_module.position
        held = _stacked(self.train, config.every)
        if config.data_on_device:
            held = [tensor.to(trainer.strategy.root_device) for tensor in held]
        slices = TrainingSlices(*held, seed=config.seed, flip=config.flip, rotate=config.rotate)
        order = EpochBatches(
            len(slices),
            config.batch_size,
            config.seed,
            rank=trainer.global_rank,
            replicas=trainer.world_size,
            epoch=position.epoch,
            done=position.batches,
        )
        return DataLoader(
            slices,
            sampler=order,
            batch_size=None,
            num_workers=config.num_workers,
            persistent_workers=config.num_workers > 0,
            worker_init_fn=ignore_signals,
            timeout=WORKER_TIMEOUT if config.num_workers else 0,
            pin_memory=trainer.strategy.root_device.type == "cuda" and not config.data_on_device,
        )

    def val_dataloader(self):
        step = self.config.batch_size
        batches = [
            (number, torch.from_numpy(case.images[part]), torch.from_numpy(case.label[part]))
            for number, case in enumerate(self.val)
            for part in (slice(start, start + step) for start in range(0, len(case.images), step))
        ]
        return DataLoader(batches, batch_size=None) if batches else []


def fit(trainer, segmenter, slices, checkpoint=None):
    """Train until the last epoch, from the start or from a checkpoint's path.

    Raises NonFiniteError when training diverges, Interrupted after SIGINT or SIGTERM (within the trainer's `Signals`),
    and UsageError for a batch that memory does not hold and for worker processes that die or hang, all with the
    checkpoints in place.
    """
    # PyTorch listens for dead workers from the first loader of a process on, and Lightning puts back after each fit
    # what it found before it. With the listener there before, a worker that dies in a later fit is noticed at once too.
    _set_SIGCHLD_handler()
    try:
        with peers_may_end(trainer):
            trainer.fit(segmenter, slices, ckpt_path=checkpoint)
    except SystemExit as stop:
        raise Interrupted(signal.SIGINT) from stop  # Lightning's answer to a KeyboardInterrupt, with the exit code 1
    except torch.OutOfMemoryError as error:
        raise UsageError(
            f"--batch-size: {segmenter.config.batch_size} slices do not fit into the memory of the device. Use fewer "
            "with --accumulate-grad-batches, --precision bf16-mixed, or narrower --filters"
        ) from error
    except (RuntimeError, MemoryError) as error:
        if "DataLoader" not in str(error):
            raise
        for worker in multiprocessing.active_children():
            worker.kill()  # one that hangs ignores gentler signals, and this process would wait for it
        lines = str(error).strip().splitlines()
        reason = " ".join(dict.fromkeys((lines[0], lines[-1])))  # what happened; the last line of a traceback says why
        raise UsageError(
            f"--num-workers: a process that makes batches failed ({reason}). "
            "Go on with --resume, and with --num-workers 0 where it happens again"
        ) from error


def make_trainer(config, folder, signals):
    """Lightning's trainer of a run, whose checkpoints and log go to `folder` and which `signals` stop.

    Raises UsageError for a device or a precision that is not there.
    """
    _quieten_lightning()
    divergence = StopOnDivergence()
    recorder = Recorder(folder, divergence)
    try:
        return pl.Trainer(
            max_epochs=config.epochs,
            precision=config.precision,
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.num_nodes,
            accumulate_grad_batches=config.accumulate_grad_batches,
            gradient_clip_val=config.gradient_clip_val,
            deterministic=config.deterministic,
            callbacks=[divergence, ProgressLine(), recorder, StopOnSignal(recorder, signals)],
            plugins=[WholeCheckpoints()],
            logger=_tensorboard(folder),
            enable_progress_bar=False,  # Lightning's shows nothing on some terminals; ours is `ProgressLine`
            enable_model_summary=False,
            enable_checkpointing=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, ValueError, TypeError, ModuleNotFoundError) as error:
        chosen = ", ".join(f"{name} {getattr(config, name)}" for name in ("accelerator", "devices", "precision"))
        raise UsageError(f"{chosen}: cannot be had here ({error}). Choose what this machine has") from error


def _stacked(cases, every):
    """Images (N, C, H, W), labels (N, H, W) and padding (N, C) of every n-th slice of the cases."""
    images = torch.cat([torch.from_numpy(case.images[::every]) for case in cases])
    labels = torch.cat([torch.from_numpy(case.label[::every]) for case in cases])
    padding = [torch.from_numpy(case.padding).expand(len(case.images[::every]), -1) for case in cases]
    return images, labels, torch.cat(padding)


def _tensorboard(folder):
    if find_spec("tensorboard") is None:
        return False
    return pl.loggers.TensorBoardLogger(folder, name="", version="tensorboard")


def _quieten_lightning():
    """Silence Lightning's advertisements and its advice on worker processes, which slices in memory do not need."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", "The '.*_dataloader' does not have many workers")
    # Ours is resumable: the sampler goes on behind the batches that are done.
    warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch")
    warnings.filterwarnings("ignore", "Total length of `list` across ranks is zero")  # no validation
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
