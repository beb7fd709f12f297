"""nnU-Net's sliding window with positions in the whole image: the logits of the whole image, mirrored or not."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from nerd_fast import NeRDc, NeRDm
from nerd_fast.nnunet import WholeImageMixin
from tests.exactness import randomise


class Predictor:
    """What the mixin asks of nnU-Net's predictor, where nnU-Net is not installed."""

    def predict_sliding_window_return_logits(self, image):
        patch = self.configuration_manager.patch_size
        starts = [range(0, whole - size + 1, size // 2) for whole, size in zip(image.shape[1:], patch, strict=True)]
        grid = torch.cartesian_prod(*[torch.tensor(list(axis)) for axis in starts]).tolist()
        tiles = [(slice(None), *map(slice, origin, map(sum, zip(origin, patch, strict=True)))) for origin in grid]
        return self._internal_predict_sliding_window_return_logits(image, tiles, True)

    def _internal_predict_sliding_window_return_logits(self, data, slicers, do_on_device=True):
        total, count = 0, torch.zeros(data.shape[1:])
        for tile in slicers:
            logits = torch.zeros(2, *data.shape[1:])
            logits[tile] = self._internal_maybe_mirror_and_predict(data[tile][None])[0]
            total, count[tile[1:]] = total + logits, count[tile[1:]] + 1
        return total / count


def real_predictor():
    module = pytest.importorskip("nnunetv2.inference.predict_from_raw_data")
    return module.nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)


predictors = pytest.mark.parametrize("make", [Predictor, real_predictor], ids=["imitated", "nnunetv2"])


def predictor_of(make, network, patch, mirror):
    plain = make()
    kind = type("PlacedPredictor", (WholeImageMixin, type(plain)), {})
    predictor = kind.__new__(kind)
    predictor.__dict__.update(plain.__dict__)
    predictor.network = network
    predictor.configuration_manager = SimpleNamespace(patch_size=patch)
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=2)
    predictor.use_mirroring = mirror
    predictor.use_gaussian = False  # nnU-Net weights and adds tiles in half precision: 0.16 off at a corner
    predictor.allowed_mirroring_axes = tuple(range(len(patch)))
    return predictor


@predictors
@pytest.mark.parametrize("head_class", [NeRDm, NeRDc])
@pytest.mark.parametrize("mirror", [False, True])
def test_logits_in_tiles_are_those_of_the_whole_image(make, head_class, mirror):
    body, head = nn.Conv3d(1, 4, 1), randomise(head_class(4, 2, spatial_dims=3, hidden_channels=(8,)))
    network = nn.Sequential(body, head).eval()
    image = torch.randn(1, 8, 12, 8)
    whole = [(), (2,), (3,), (4,), (2, 3), (2, 4), (3, 4), (2, 3, 4)] if mirror else [()]
    with torch.inference_mode():
        expected = sum(network(image[None].flip(axes)).flip(axes) for axes in whole)[0] / len(whole)
        found = predictor_of(make, network, (4, 8, 4), mirror).predict_sliding_window_return_logits(image).float()
        plain = network(image[None, :, :4, :8, :4])[0]
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)
    assert (plain - expected[:, :4, :8, :4]).abs().max() > 0.1


@predictors
def test_two_dimensional_tiles_of_a_volume_are_slices(make):
    network = nn.Sequential(nn.Conv2d(1, 4, 1), randomise(NeRDm(4, 2, hidden_channels=(8,)))).eval()
    predictor = predictor_of(make, network, (4, 4), False)
    predictor._tiles = iter([(slice(None), 3, slice(2, 6), slice(0, 4))])
    predictor._image = (5, 8, 8)
    image = torch.randn(1, 1, 8, 8)
    with torch.inference_mode():
        found = predictor._internal_maybe_mirror_and_predict(image[:, :, 2:6, :4])
        torch.testing.assert_close(found, network(image)[:, :, 2:6, :4], rtol=1e-4, atol=1e-4)
