"""Positions in the whole image for nnU-Net's sliding window, which hands the network one tile after the other.

    class Predictor(WholeImageMixin, nnUNetPredictor): ...

For heads that were trained with the borders of whole images. nnU-Net's own trainers show them those of patches, and
such heads predict as nnU-Net does it.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, combinations
from typing import Any

import torch
from torch import Tensor

from nerd_fast.surgery import placed


class WholeImageMixin:
    """Tells every head where in the padded image its tile lies, mirrored tiles in the mirrored image."""

    network: torch.nn.Module
    use_mirroring: bool
    allowed_mirroring_axes: Sequence[int] | None

    @torch.inference_mode()
    def _internal_predict_sliding_window_return_logits(
        self, data: Tensor, slicers: Sequence[tuple[Any, ...]], do_on_device: bool = True
    ) -> Tensor:
        # nnU-Net 2.8 predicts the tiles in this order, each with one call of the method below
        self._tiles: Iterator[tuple[Any, ...]] = iter(slicers)
        self._image = tuple(data.shape[1:])
        predict = super()._internal_predict_sliding_window_return_logits  # type: ignore[misc]  # of nnU-Net
        logits: Tensor = predict(data, slicers, do_on_device)
        return logits

    @torch.inference_mode()
    def _internal_maybe_mirror_and_predict(self, x: Tensor) -> Tensor:
        dims = x.dim() - 2
        origin = [axis.start for axis in next(self._tiles)[-dims:]]  # a 2-D tile has the number of its slice before
        extent = self._image[-dims:]
        axes = tuple(self.allowed_mirroring_axes or ()) if self.use_mirroring else ()
        flips = list(chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1)))
        return sum(self._predicted(x, origin, extent, flip) for flip in flips) / len(flips)  # type: ignore[return-value]

    def _predicted(self, x: Tensor, origin: Sequence[int], extent: Sequence[int], flip: Sequence[int]) -> Tensor:
        sizes = x.shape[2:]
        there = [extent[a] - origin[a] - sizes[a] if a in flip else origin[a] for a in range(len(origin))]
        axes = [axis + 2 for axis in flip]
        with placed(self.network, there, extent) as network:
            logits: Tensor = network(x.flip(axes)).flip(axes)
        return logits
