"""Order and augmentation of the training slices as functions of (seed, epoch, slice): no generator has a state.

So a run that was killed and resumed sees what an uninterrupted one sees, whatever the number of worker processes.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset, Sampler

ORDER, AUGMENTATION, STEP = range(3)  # one stream of random numbers for each purpose


def generator(*key):
    """A NumPy generator that depends on the integers of `key` alone."""
    return np.random.default_rng(key)


def step_seed(seed, epoch, step):
    """The seed of torch's random numbers (dropout) in one training step."""
    return int(generator(STEP, seed, epoch, step).integers(2**63))


def last_batch(slices: int, batch_size: int, replicas: int = 1) -> int:
    """How many slices the last batch of an epoch of `EpochBatches` has on each device."""
    return math.ceil((slices % (batch_size * replicas) or batch_size * replicas) / replicas)


class EpochBatches(Sampler):
    """Yields (epoch, slice numbers) for each batch of an epoch, the share of one of several devices.

    The slices are put in the order of (seed, epoch) and cut into batches of `batch_size * replicas`; device `rank`
    takes every `replicas`-th slice of each. So several devices see together what one device sees with their batch size;
    only the last batch is filled up from the front where it does not divide.

    `epoch` and `done` say where a resumed run goes on: in that epoch, after so many batches. The length is that of a
    whole epoch all the same.
    """

    def __init__(self, slices, batch_size, seed, *, rank=0, replicas=1, epoch=0, done=0):
        self.slices, self.batch_size, self.seed = slices, batch_size, seed
        self.rank, self.replicas = rank, replicas
        self.epoch, self.resumed = epoch, (epoch, done)

    def set_epoch(self, epoch):
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self):
        return math.ceil(self.slices / (self.batch_size * self.replicas))

    def __iter__(self):
        epoch = self.epoch
        order = generator(ORDER, self.seed, epoch).permutation(self.slices)
        step = self.batch_size * self.replicas
        done = self.resumed[1] if epoch == self.resumed[0] else 0
        for start in range(done * step, self.slices, step):
            batch = order[start : start + step]
            batch = np.concatenate([batch, np.resize(order, -len(batch) % self.replicas)])
            yield epoch, torch.from_numpy(batch[self.rank :: self.replicas])


class TrainingSlices(Dataset):
    """Batches of slices held in memory: (epoch, slice numbers) -> images (B, C, H, W), labels (B, H, W) as float32.

    `images` is float32 (N, C, H, W), `labels` uint8 (N, H, W), on any device. `flip` turns each slice over along each
    axis with probability 1/2; `rotate` turns it by an angle from [-rotate, rotate] degrees, image values interpolated
    linearly, labels by the nearest, and puts `padding`, float32 (N, C), where nothing comes from.
    """

    def __init__(self, images, labels, padding, *, seed=0, flip=False, rotate=0.0):
        self.images, self.labels, self.padding = images, labels, padding
        self.seed, self.flip, self.rotate = seed, flip, rotate

    def __len__(self):
        return len(self.images)

    def __getitem__(self, key):
        epoch, numbers = key
        where = numbers.to(self.images.device)
        images, labels = self.images[where], self.labels[where].float()
        if self.flip or self.rotate:
            draws = [generator(AUGMENTATION, self.seed, epoch, number).random(3) for number in numbers.tolist()]
            images, labels = augment(
                images, labels, self.padding[where], np.stack(draws), flip=self.flip, rotate=self.rotate
            )
        return images, labels


def augment(images, labels, padding, draws, *, flip, rotate):
    """Flip and turn each slice as its three draws from [0, 1) say: (B, C, H, W), (B, H, W) -> the same shapes.

    Rotation is about the centre and in pixels, so that proportions stay; what comes from outside the slice is the
    `padding` (B, C) of its channel, and background in the label. `draws` are (B, 3).
    """
    if flip:
        for axis, draw in ((-2, draws[:, 0]), (-1, draws[:, 1])):
            turned = torch.from_numpy(draw < 0.5).to(images.device)
            images = torch.where(turned[:, None, None, None], images.flip(axis), images)
            labels = torch.where(turned[:, None, None], labels.flip(axis), labels)
    if rotate:
        grid = _rotation_grid((2 * draws[:, 2] - 1) * rotate, images)
        inside = torch.ones_like(images[:, :1])
        images, inside = (
            F.grid_sample(each, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            for each in (images, inside)
        )
        images = images + (1 - inside).clamp(min=0) * padding[..., None, None]
        labels = F.grid_sample(labels[:, None], grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0]
    return images, labels


def _rotation_grid(degrees, images):
    """Where each pixel of the turned slices comes from, in the coordinates of grid_sample: (B, H, W, 2)."""
    height, width = images.shape[-2:]
    cosine, sine, zero = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees)), np.zeros_like(degrees)
    rows = [[cosine, -sine * height / width, zero], [sine * width / height, cosine, zero]]
    matrix = torch.from_numpy(np.array(rows).transpose(2, 0, 1)).to(images)
    return F.affine_grid(matrix, list(images.shape), align_corners=False)
