"""What NeRD is compared with: coordinates at the input of a plain network, and NeRDm that sees no position."""

import pytest
import torch

from nerd_fast import NeRDm
from nerd_fast.segmentation.network.controls import BlindNeRDm, with_coordinates
from nerd_fast.segmentation.network.exported import export_program
from nerd_fast.segmentation.network.windows import windowed_logits
from tests.segmentation.network.test_network import network

HEADS = (NeRDm, BlindNeRDm)


def trained(kind):
    """A head whose calibration is not what it starts with: the same parameters for both kinds."""
    torch.manual_seed(0)
    head = kind(4, 2)
    torch.nn.init.normal_(head.calibrator[-1].weight, std=0.5)
    return head


def test_a_blind_head_has_the_parameters_of_nerdm():
    seeing, blind = (trained(kind).state_dict() for kind in HEADS)
    assert seeing.keys() == blind.keys()
    assert all(torch.equal(seeing[name], blind[name]) for name in seeing)


def test_a_blind_head_says_everywhere_what_nerdm_says_at_the_centre():
    x = torch.randn(1, 4, 1, 1).expand(-1, -1, 5, 7)
    seeing, blind = (trained(kind)(x) for kind in HEADS)
    torch.testing.assert_close(blind, seeing[..., 2:3, 3:4].expand_as(blind))
    assert (seeing - blind).abs().max() > 0.01


def test_a_blind_head_learns_every_layer_of_its_calibrator():
    head = trained(BlindNeRDm)
    head(torch.randn(2, 4, 6, 6)).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in head.parameters())


def test_the_position_map_of_a_blind_head_is_what_it_computes():
    head, x = trained(BlindNeRDm), torch.randn(2, 4, 5, 6)
    weight, beta = head.position_map((5, 6))
    torch.testing.assert_close(torch.einsum("bchw,kchw->bkhw", x, weight) + beta, head(x))


def test_coordinates_run_from_minus_one_to_one_along_rows_and_columns():
    rows, columns = with_coordinates(torch.zeros(1, 2, 3, 5))[0, 2:]
    assert rows[:, 0].tolist() == [-1, 0, 1]
    assert columns[0].tolist() == [-1, -0.5, 0, 0.5, 1]


def test_coordconv_starts_with_the_weights_of_the_plain_network():
    plain, coordinates = network("conv").state_dict(), network("coordconv").state_dict()
    first = "conv_0.conv_0.conv.weight"
    assert torch.equal(coordinates[first][:, :2], plain[first])
    assert all(torch.equal(coordinates[name], plain[name]) for name in plain if name != first)


def test_a_window_of_coordconv_sees_the_coordinates_of_the_whole_image():
    model, images = network("coordconv"), torch.rand(1, 2, 32, 48)
    torch.testing.assert_close(windowed_logits(model, images, (32, 48)), model(images))
    seen = []
    model.conv_0.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    windowed_logits(model, images, (32, 32))
    assert [[float(window[0, 3, 0, end]) for end in (0, -1)] for window in seen] == [
        pytest.approx([-1, 31 / 47 * 2 - 1]),
        pytest.approx([16 / 47 * 2 - 1, 1]),
    ]


@pytest.mark.parametrize("head", ["coordconv", "blind"])
def test_controls_are_exported(head):
    model, images = network(head), torch.rand(3, 2, 32, 48)
    torch.testing.assert_close(export_program(model, (32, 48)).module()(images), model(images))
