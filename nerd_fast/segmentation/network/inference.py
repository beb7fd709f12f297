"""From the slices of a volume to its mask: in batches that shrink where memory runs out."""

import numpy as np
import torch

from nerd_fast.segmentation.base.errors import NonFiniteError, UsageError
from nerd_fast.segmentation.network.windows import windowed_logits

FLIPS = ((), (-2,), (-1,), (-2, -1))


def predict_probabilities(network, images, *, batch_size=32, flips=False, window=None, name="the case"):
    """Return the probability of each output, float32 (S, K, H, W), for images float32 (S, C, H, W), both in memory.

    One output goes through a sigmoid, several through a softmax. With `flips` the logits are averaged over the slices
    as they are and turned over along either axis and both; the head then reads the positions of what it is given, and
    its answer is turned back. With `window` (h, w) each slice is seen through windows that overlap. The batch is halved
    where the device runs out of memory.

    Raises NonFiniteError where a logit is NaN or infinite, for its mask would be empty without a word, and UsageError
    where not even one slice fits into memory.
    """
    device = next(network.parameters()).device
    parts, start = [], 0
    network.eval()
    with torch.inference_mode():
        while start < len(images):
            batch = torch.from_numpy(images[start : start + batch_size]).to(device)
            logits = _logits_within_memory(network, batch, flips, window)
            if logits is None and batch_size > 1:
                batch_size = (len(batch) + 1) // 2
                continue
            if logits is None:
                raise UsageError(
                    f"{name}: one slice of {tuple(batch.shape[-2:])} is too large for the memory of {device}. "
                    "Use --window, --accelerator cpu, or a device with more memory free"
                )
            if not torch.isfinite(logits).all():
                raise NonFiniteError(
                    f"{name}: logits of slices {start} to {start + len(batch) - 1} are NaN or infinite. "
                    "Look at the input with `nerd-fast verify`, or use another checkpoint"
                )
            parts.append((logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)).cpu())
            start += len(batch)
    return torch.cat(parts).numpy()


def predict_mask(network, images, *, threshold=0.5, **options):
    """Return the mask, uint8 (S, H, W): class numbers, 0 for background; arguments as for `predict_probabilities`."""
    probabilities = predict_probabilities(network, images, **options)
    if probabilities.shape[1] == 1:
        return (probabilities[:, 0] >= threshold).astype(np.uint8)
    return probabilities.argmax(1).astype(np.uint8)


def _logits_within_memory(network, batch, flips, window):
    # The retry happens outside of this function, after the exception has let go of the tensors it holds.
    try:
        return _logits(network, batch, flips, window)
    except torch.OutOfMemoryError:
        return None


def _logits(network, batch, flips, window):
    logits = [_logits_once(network, batch.flip(axes), window).flip(axes) for axes in (FLIPS if flips else FLIPS[:1])]
    return sum(logits) / len(logits)


def _logits_once(network, batch, window):
    if window is not None:
        return windowed_logits(network, batch, window)
    return network(batch.contiguous(memory_format=torch.channels_last)).float()


def mask_of(network, prepared, options):
    """Class numbers (S, H, W) uint8 of the slices of a case, made as the `InferenceOptions` say."""
    return predict_mask(
        network,
        prepared.images,
        threshold=options.threshold,
        batch_size=options.batch_size,
        flips=options.flips,
        window=options.window,
        name=prepared.name,
    )
