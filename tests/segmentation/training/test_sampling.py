"""Order and augmentation depend on (seed, epoch, slice) alone, and several devices share what one would see."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from nerd_fast.segmentation.training.sampling import EpochBatches, TrainingSlices, augment, last_batch, step_seed

ZERO = torch.zeros(1, 1)
COUNTS = {"slices": st.integers(1, 40), "batch_size": st.integers(1, 9), "replicas": st.integers(1, 4)}


def numbers(batches, epoch=None):
    if epoch is not None:
        batches.set_epoch(epoch)
    return [batch.tolist() for _, batch in batches]


@given(**COUNTS)
def test_every_slice_comes_once_an_epoch_and_only_the_filling_repeats(slices, batch_size, replicas):
    ranks = [numbers(EpochBatches(slices, batch_size, 0, rank=rank, replicas=replicas)) for rank in range(replicas)]
    seen = [number for rank in ranks for batch in rank for number in batch]
    assert set(seen) == set(range(slices))
    assert len(seen) == slices + -slices % replicas


@given(**COUNTS)
def test_devices_together_take_the_batches_of_one_device(slices, batch_size, replicas):
    ranks = [numbers(EpochBatches(slices, batch_size, 0, rank=rank, replicas=replicas)) for rank in range(replicas)]
    alone = numbers(EpochBatches(slices, batch_size * replicas, 0))
    assert [len(batches) for batches in ranks] == [len(alone)] * replicas
    for step, batch in enumerate(alone):
        assert set(batch) <= {number for batches in ranks for number in batches[step]}


@given(**COUNTS)
def test_length_is_the_number_of_batches(slices, batch_size, replicas):
    batches = EpochBatches(slices, batch_size, 0, replicas=replicas)
    assert len(batches) == len(list(batches))


def test_order_changes_with_epoch_and_seed_and_nothing_else():
    order = numbers(EpochBatches(50, 7, seed=1), epoch=3)
    assert order == numbers(EpochBatches(50, 7, seed=1), epoch=3)
    assert order != numbers(EpochBatches(50, 7, seed=1), epoch=4)
    assert order != numbers(EpochBatches(50, 7, seed=2), epoch=3)


def test_a_resumed_epoch_goes_on_behind_the_batches_done_and_the_next_is_whole():
    whole = EpochBatches(50, 7, seed=1)
    resumed = EpochBatches(50, 7, seed=1, epoch=3, done=4)
    assert numbers(resumed) == numbers(whole, epoch=3)[4:]
    assert numbers(resumed, epoch=4) == numbers(whole, epoch=4)
    assert len(resumed) == len(whole)


def slices(**options):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 2, 8, 12, generator=generator)
    return TrainingSlices(images, (images[:, 0] > 0.5).to(torch.uint8), torch.zeros(6, 2), **options)


def test_without_augmentation_slices_come_as_they_are():
    data = slices()
    images, labels = data[0, torch.tensor([4, 1])]
    assert torch.equal(images, data.images[[4, 1]])
    assert torch.equal(labels, data.labels[[4, 1]].float())


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_is_the_same_for_any_number_of_workers(workers):
    data = slices(seed=5, flip=True, rotate=20.0)
    loader = DataLoader(data, sampler=EpochBatches(6, 2, 5), batch_size=None, num_workers=workers)
    for (images, _), key in zip(loader, EpochBatches(6, 2, 5), strict=True):
        assert torch.equal(images, data[key][0])


def test_augmentation_belongs_to_the_slice_and_not_to_its_place_in_the_batch():
    data = slices(seed=5, flip=True, rotate=20.0)
    together, _ = data[2, torch.tensor([0, 3])]
    assert torch.equal(together[1], data[2, torch.tensor([3])][0][0])
    assert not torch.equal(together[1], data[3, torch.tensor([3])][0][0])


@pytest.mark.parametrize(
    ("draw", "axes"), [((0.9, 0.9), ()), ((0.1, 0.9), (-2,)), ((0.9, 0.1), (-1,)), ((0.1, 0.1), (-2, -1))]
)
def test_flips_turn_image_and_label_alike(draw, axes):
    images = torch.arange(12.0).reshape(1, 1, 3, 4)
    turned, labels = augment(images, images[:, 0], ZERO, np.array([[*draw, 0.5]]), flip=True, rotate=0.0)
    assert torch.equal(turned, images.flip(axes))
    assert torch.equal(labels, images[:, 0].flip(axes))


def test_a_quarter_turn_is_a_rotation_in_pixels():
    images = torch.zeros(1, 1, 9, 13)
    images[0, 0, 4, 8] = 1  # two pixels right of the centre
    turned, labels = augment(images, images[:, 0], ZERO, np.array([[0.9, 0.9, 1.0]]), flip=False, rotate=90.0)
    assert torch.nonzero(turned[0, 0] > 0.5).tolist() in ([[2, 6]], [[6, 6]])
    assert torch.equal(labels[0] > 0.5, turned[0, 0] > 0.5)


def test_turning_draws_no_frame_of_another_grey_than_the_padding():
    images = torch.full((2, 2, 16, 12), 0.5)
    images[:, 1] = torch.tensor([0.25, 0.75])[:, None, None]
    padding = images[:, :, 0, 0]
    draws = np.array([[0.9, 0.9, 1.0], [0.9, 0.9, 0.2]])
    turned, labels = augment(images, torch.ones(2, 16, 12), padding, draws, flip=False, rotate=30.0)
    torch.testing.assert_close(turned, images, rtol=0, atol=1e-6)
    assert labels.min() == 0


def test_a_turned_label_keeps_its_values():
    labels = torch.randint(0, 3, (4, 16, 16)).float()
    draws = np.random.default_rng(0).random((4, 3))
    _, turned = augment(labels[:, None], labels, torch.zeros(4, 1), draws, flip=True, rotate=30.0)
    assert set(turned.unique().tolist()) <= {0.0, 1.0, 2.0}


def test_step_seeds_differ_between_steps_and_repeat():
    assert step_seed(0, 1, 2) == step_seed(0, 1, 2)
    assert len({step_seed(seed, epoch, step) for seed in range(3) for epoch in range(3) for step in range(3)}) == 27


@pytest.mark.parametrize(("slices", "batch", "replicas"), [(12, 5, 1), (12, 4, 1), (11, 2, 2), (9, 2, 2), (3, 8, 2)])
def test_the_last_batch_is_as_large_as_said(slices, batch, replicas):
    *_, (_, numbers) = EpochBatches(slices, batch, seed=0, replicas=replicas)
    assert len(numbers) == last_batch(slices, batch, replicas)
