"""Training that diverges stops with the diagnosis, before anything is overwritten."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from nerd_fast.segmentation.base.errors import NonFiniteError
from nerd_fast.segmentation.training.divergence import LEAST_SCALE, MOST_SKIPPED, StopOnDivergence, first_bad_module


class Scaler:
    def __init__(self, scale):
        self.scale = scale

    def get_scale(self):
        return self.scale


def trainer(scaler=None):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    precision = SimpleNamespace(scaler=scaler)
    return SimpleNamespace(precision_plugin=precision, optimizers=[optimizer], current_epoch=2, global_step=40)


def test_a_loss_that_is_not_finite_names_the_module_it_came_from():
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1), nn.ReLU())
    nn.init.constant_(network[1].weight, torch.inf)
    guard, module = StopOnDivergence(), SimpleNamespace(network=network)
    guard.on_train_batch_start(trainer(), module, (torch.ones(1, 1, 4, 4), None), 0)
    with pytest.raises(NonFiniteError, match=r"epoch 3, step 41, .*the loss is nan.*not finite: 1\."):
        guard.on_before_backward(trainer(), module, torch.tensor(torch.nan))


def test_images_that_are_not_finite_are_told_from_a_network_that_is_not():
    assert first_bad_module(nn.ReLU(), torch.tensor([torch.nan])) == "The images are not finite"


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_step():
    module = nn.Linear(1, 1)
    module.weight.grad = torch.tensor([[torch.inf]])
    with pytest.raises(NonFiniteError, match="First parameter with one: weight"):
        StopOnDivergence().on_before_optimizer_step(trainer(), module, None)


def run_steps(guard, scaler, scales):
    for scale in scales:
        guard.on_train_batch_start(trainer(scaler), None, (None,), 0)
        scaler.scale = scale
        guard.on_train_batch_end(trainer(scaler), None)


def test_skipped_steps_are_counted_and_twenty_in_a_row_stop_the_run():
    guard, scaler = StopOnDivergence(), Scaler(2.0**30)
    run_steps(guard, scaler, [2.0**29, 2.0**28, 2.0**28])
    assert (guard.skipped, guard.skipped_in_a_row) == (2, 0)
    falling = [2.0 ** (28 - step) for step in range(1, MOST_SKIPPED + 1)]
    run_steps(guard, scaler, falling[:-1])
    with pytest.raises(NonFiniteError, match="20 steps in a row were skipped"):
        run_steps(guard, scaler, falling[-1:])


def test_a_scale_that_collapses_stops_the_run():
    with pytest.raises(NonFiniteError, match="bf16-mixed"):
        run_steps(StopOnDivergence(), Scaler(LEAST_SCALE), [LEAST_SCALE / 2])


@pytest.mark.parametrize("hook", ["on_validation_start", "on_train_epoch_end"])
def test_running_means_that_are_not_finite_stop_the_run_before_it_is_saved(hook):
    network = nn.BatchNorm2d(2)
    network.running_mean[0] = torch.inf
    with pytest.raises(NonFiniteError, match="NaN or infinity in running_mean"):
        getattr(StopOnDivergence(), hook)(trainer(), SimpleNamespace(network=network))


def test_a_scaler_is_left_to_deal_with_a_loss_that_is_not_finite():
    guard, scaler = StopOnDivergence(), Scaler(2.0**16)
    guard.on_train_batch_start(trainer(scaler), None, (None,), 0)
    guard.on_before_backward(trainer(scaler), None, torch.tensor(torch.inf))
