"""Training: the loss and the score are what they say, and a run that was stopped ends as one that was not."""

import os
import signal
import time

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss

from nerd_fast.segmentation.base.errors import Interrupted, UsageError
from nerd_fast.segmentation.commands.train import train
from nerd_fast.segmentation.training import training
from nerd_fast.segmentation.training.training import Loss, Position, dice_of_counts, overlap_counts
from tests.segmentation.runs_for_tests import log_of, tiny_config, tiny_data, weights_of

SIGINT_BEFORE = signal.getsignal(signal.SIGINT)  # ignored in a background job of a shell


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_data(tmp_path_factory.mktemp("training") / "data")


def test_loss_of_one_class_is_monai_s_dice_and_cross_entropy_over_the_batch():
    logits, labels = torch.randn(3, 1, 8, 8), (torch.rand(3, 8, 8) > 0.7).float()
    expected = DiceCELoss(sigmoid=True, batch=True)(logits, labels[:, None])
    torch.testing.assert_close(Loss(1, "entropy+dice")(logits, labels), expected)


def test_loss_of_several_classes_leaves_the_background_out_of_dice():
    logits, labels = torch.randn(3, 4, 8, 8), torch.randint(0, 4, (3, 8, 8)).float()
    monai = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)
    torch.testing.assert_close(Loss(3, "entropy+dice")(logits, labels), monai(logits, labels[:, None]))


def test_parts_of_the_loss_add_up():
    logits, labels = torch.randn(2, 1, 8, 8), (torch.rand(2, 8, 8) > 0.5).float()
    parts = Loss(1, "entropy")(logits, labels) + Loss(1, "dice")(logits, labels)
    torch.testing.assert_close(Loss(1, "entropy+dice")(logits, labels), parts)


def test_a_slice_without_lesion_does_not_drown_the_batch():
    logits = torch.full((2, 1, 8, 8), -20.0)
    logits[0, 0, :4] = 20.0
    labels = (logits[:, 0] > 0).float()
    assert Loss(1, "entropy+dice")(logits, labels) < 1e-4


def test_validation_dice_is_that_of_the_whole_volume():
    labels = torch.zeros(2, 4, 4)
    labels[0, :2] = 1  # 8 voxels, of which 4 are found, and 4 false ones in the other slice
    logits = torch.full((2, 1, 4, 4), -1.0)
    logits[0, 0, 0] = logits[1, 0, 3] = 1.0
    counts = sum(overlap_counts(logits[s : s + 1], labels[s : s + 1], 1) for s in range(2))
    assert dice_of_counts(counts) == pytest.approx(2 * 4 / (8 + 8))


def test_a_class_in_neither_scores_1():
    assert dice_of_counts(torch.tensor([[2, 0], [2, 0], [2, 0]])) == 1.0


def test_several_classes_are_counted_each():
    labels = torch.tensor([[[0, 1, 2, 2]]])
    logits = torch.nn.functional.one_hot(torch.tensor([[[0, 1, 1, 2]]]), 3).permute(0, 3, 1, 2).float()
    assert overlap_counts(logits, labels, 2).tolist() == [[1, 1], [2, 1], [1, 2]]


def test_the_mean_loss_weighs_images_and_not_batches():
    position = Position()
    position.add(torch.tensor(1.0), 3)
    position.add(torch.tensor(5.0), 1)
    assert (position.batches, float(position.loss / position.images)) == (2, 2.0)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("training") / "run"
    train(tiny_config(data, folder, head="nerdm", flip=True, dropout=0.1, epochs=3))
    return folder


def test_a_run_leaves_checkpoints_configuration_and_log(finished):
    left = {path.name for path in finished.iterdir()}
    assert {"last.ckpt", "best.ckpt", "config.yaml", "metrics.csv"} <= left
    rows = log_of(finished)
    assert rows[0] == ["epoch", "step", "lr", "train_loss", "val_dice", "skipped"]
    assert [row[:3] for row in rows[1:]] == [["1", "3", "0.001"], ["2", "6", "0.001"], ["3", "9", "0.00025"]]


def test_the_rate_is_halved_after_50_70_and_90_percent(data, tmp_path):
    config = tiny_config(data, tmp_path, epochs=10)
    segmenter = training.Segmenter(torch.nn.Conv2d(1, 1, 1), config, 1, {})
    schedule = segmenter.configure_optimizers()["lr_scheduler"]
    rates = [config.lr * schedule.lr_lambdas[0](epoch) for epoch in range(10)]
    np.testing.assert_allclose(rates, [1e-3] * 5 + [5e-4] * 2 + [2.5e-4] * 2 + [1.25e-4])


@pytest.fixture
def interrupt(monkeypatch):
    """Sends a signal to this process while a step runs: `interrupt(step)`."""
    steps = {"done": 0, "at": None}
    original = training.Segmenter.training_step

    def step(self, *arguments):
        steps["done"] += 1
        if steps["done"] == steps["at"]:
            os.kill(os.getpid(), steps["signal"])
        return original(self, *arguments)

    monkeypatch.setattr(training.Segmenter, "training_step", step)

    def at(number, which=signal.SIGTERM):
        steps.update(done=0, at=number, signal=which)

    return at


@pytest.mark.parametrize(
    ("step", "which", "workers"),
    [(1, signal.SIGTERM, 0), (3, signal.SIGINT, 0), (5, signal.SIGINT, 2), (6, signal.SIGTERM, 2)],
)
def test_a_run_stopped_by_a_signal_and_resumed_ends_bit_for_bit_as_if_nothing_had_been(
    data, finished, tmp_path, interrupt, step, which, workers
):
    """Steps 3 and 6 are the last of an epoch; the others lie within."""
    config = tiny_config(data, tmp_path, head="nerdm", flip=True, dropout=0.1, epochs=3, num_workers=workers)
    interrupt(step, which)
    with pytest.raises(Interrupted) as interruption:
        train(config)
    assert interruption.value.exit_code == 128 + which
    interrupt(None)
    config.resume = True
    train(config)
    assert weights_of(tmp_path / "last.ckpt") == weights_of(finished / "last.ckpt")
    assert log_of(tmp_path) == log_of(finished)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def run_out_of_memory():
    raise MemoryError("no room for a batch")


def hang():
    time.sleep(60)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (die, "DataLoader worker"),
        (run_out_of_memory, "MemoryError: no room for a batch"),
        (hang, "timed out after 5 "),
    ],
)
def test_a_worker_that_fails_is_told_in_a_line_and_the_run_goes_on_from_its_checkpoint(
    data, finished, tmp_path, monkeypatch, fault, says
):
    """The worker fails in the second epoch."""
    config = tiny_config(data, tmp_path, head="nerdm", flip=True, dropout=0.1, epochs=3, num_workers=1)
    batch = training.TrainingSlices.__getitem__

    def failing(self, key):
        return fault() if key[0] == 1 else batch(self, key)

    with monkeypatch.context() as patched:
        patched.setattr(training.TrainingSlices, "__getitem__", failing)
        if fault is hang:  # long enough for a worker of a busy machine to begin
            patched.setattr(training, "WORKER_TIMEOUT", 5)
        patched.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.5)  # how long a worker is waited for
        with pytest.raises(UsageError, match=r"--num-workers: a process that makes batches failed") as error:
            train(config)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    config.resume = True
    train(config)
    assert weights_of(tmp_path / "last.ckpt") == weights_of(finished / "last.ckpt")


def test_the_death_of_a_worker_is_listened_for_in_later_runs_of_the_process_too(data, tmp_path):
    train(tiny_config(data, tmp_path, epochs=1, num_workers=1))
    assert callable(signal.getsignal(signal.SIGCHLD))


def test_signals_act_as_before_once_training_is_over(finished):
    assert signal.getsignal(signal.SIGINT) is SIGINT_BEFORE


def test_a_finished_run_can_be_resumed_says_so_and_stays_as_it_is(data, finished, capsys):
    before = weights_of(finished / "last.ckpt")
    run = train(tiny_config(data, finished, head="nerdm", flip=True, dropout=0.1, epochs=3, resume=True))
    assert [row["epoch"] for row in run.log] == [1, 2, 3]
    assert weights_of(finished / "last.ckpt") == before
    said = capsys.readouterr().out
    assert f"{finished / 'last.ckpt'}: finished, 3 of 3 epochs are done" in said
    assert "training cases" not in said


@pytest.mark.parametrize(
    "options",
    [
        {"accumulate_grad_batches": 2, "gradient_clip_val": 1.0},
        {"precision": "bf16-mixed", "head": "nerdc"},
        {"data_on_device": True, "flip": True, "rotate": 10.0},
        {"loss": "dice", "normalisation": "group", "every": 2},
    ],
)
def test_options_train(data, tmp_path, options):
    train(tiny_config(data, tmp_path, epochs=1, **options))
    assert np.isfinite(float(log_of(tmp_path)[1][3]))


@pytest.mark.parametrize(("every", "slices"), [(1, 12), (4, 4)])
def test_every_nth_slice_of_each_volume_is_trained_on(data, tmp_path, capsys, every, slices):
    train(tiny_config(data, tmp_path / "run", epochs=1, every=every))
    assert f"2 training cases with {slices} slices" in capsys.readouterr().out
    assert int(log_of(tmp_path / "run")[-1][1]) == slices // 4, "the steps of an epoch, in batches of 4"


def test_slices_on_the_device_train_to_the_same_weights(data, tmp_path):
    for name, on_device in (("a", False), ("b", True)):
        train(tiny_config(data, tmp_path / name, epochs=1, data_on_device=on_device, flip=True, rotate=5.0))
    assert weights_of(tmp_path / "a" / "last.ckpt") == weights_of(tmp_path / "b" / "last.ckpt")
