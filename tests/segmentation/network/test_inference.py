"""From slices to a mask: batches that shrink, flips that turn back, and no mask from NaN."""

import numpy as np
import pytest
import torch
from torch import nn

from nerd_fast import NeRDc
from nerd_fast.segmentation.base.errors import NonFiniteError, UsageError
from nerd_fast.segmentation.network.inference import predict_mask, predict_probabilities


@pytest.fixture
def images():
    return np.random.default_rng(0).random((7, 2, 6, 10), dtype=np.float32)


@pytest.fixture
def network():
    return nn.Conv2d(2, 1, 3, padding=1)


class Small(nn.Module):
    """A network whose memory holds `room` slices."""

    def __init__(self, network, room):
        super().__init__()
        self.network, self.room, self.batches = network, room, []

    def forward(self, images):
        if len(images) > self.room:
            raise torch.OutOfMemoryError
        self.batches.append(len(images))
        return self.network(images)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_the_batch_does_not_matter(network, images, batch_size):
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).sigmoid().numpy()
    np.testing.assert_allclose(predict_probabilities(network, images, batch_size=batch_size), expected, atol=1e-6)


def test_a_batch_that_is_too_large_is_halved_until_it_fits(network, images):
    small = Small(network, room=2)
    found = predict_probabilities(small, images, batch_size=6)
    assert small.batches == [2, 2, 2, 1]
    np.testing.assert_allclose(found, predict_probabilities(network, images), atol=1e-6)


def test_one_slice_that_does_not_fit_is_an_error(network, images):
    with pytest.raises(UsageError, match="case 3: one slice of"):
        predict_probabilities(Small(network, room=0), images, name="case 3")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_logit_that_is_not_finite_is_an_error_and_no_mask(network, images, value):
    with torch.no_grad():
        network.bias.fill_(value)
    with pytest.raises(NonFiniteError, match="case 3: logits of slices 0 to 6"):
        predict_mask(network, images, name="case 3")


def test_several_classes_take_the_likeliest(images):
    network = nn.Conv2d(2, 3, 1)
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).argmax(1).numpy()
    np.testing.assert_array_equal(predict_mask(network, images), expected)


def test_the_threshold_is_that_of_the_probability(network, images):
    probabilities = predict_probabilities(network, images)[:, 0]
    threshold = float(np.median(probabilities))
    np.testing.assert_array_equal(predict_mask(network, images, threshold=threshold), probabilities >= threshold)


def test_flips_average_what_the_network_says_of_each_turned_slice(images):
    """A head that reads positions sees the turned slice at the positions it was turned to."""
    head = NeRDc(2)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn_like(parameter))
        x = torch.from_numpy(images)
        turned = [head(x), head(x.flip(-1)).flip(-1), head(x.flip(-2)).flip(-2), head(x.flip(-2, -1)).flip(-2, -1)]
        expected = torch.stack(turned).mean(0).sigmoid().numpy()
    found = predict_probabilities(head, images, flips=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - predict_probabilities(head, images)).max() > 0.01


def test_a_symmetric_network_does_not_notice_flips(images):
    network = nn.Conv2d(2, 1, 1)
    np.testing.assert_allclose(
        predict_probabilities(network, images, flips=True), predict_probabilities(network, images), atol=1e-6
    )


@pytest.mark.parametrize("window", [(3, 4), (6, 10), (100, 100)])
@pytest.mark.parametrize("flips", [False, True])
def test_windows_tell_the_head_where_they_lie(images, window, flips):
    """A head alone says the same of a pixel whichever window shows it, as long as its position is right."""
    head = NeRDc(2)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn_like(parameter))
    found = predict_probabilities(head, images, window=window, flips=flips)
    np.testing.assert_allclose(found, predict_probabilities(head, images, flips=flips), atol=1e-5)


def test_after_windows_a_head_is_where_it_was(images):
    head, x = NeRDc(2), torch.from_numpy(images)
    before = head(x)
    predict_probabilities(head, images, window=(3, 4))
    assert torch.equal(head(x), before)


def test_a_window_as_large_as_the_slice_is_the_slice(network, images):
    whole = predict_probabilities(network, images)
    np.testing.assert_allclose(predict_probabilities(network, images, window=(6, 10)), whole, atol=1e-6)
