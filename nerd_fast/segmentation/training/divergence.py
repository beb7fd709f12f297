"""Training that diverges is stopped with a diagnosis before it writes what it has become."""

import pytorch_lightning as pl
import torch

from nerd_fast.segmentation.base.errors import NonFiniteError

MOST_SKIPPED = 20  # steps in a row that a GradScaler may skip
LEAST_SCALE = 2.0**-14  # a scale below this multiplies gradients away; at 0 the next healthy step makes weights NaN


class StopOnDivergence(pl.Callback):
    """Raises NonFiniteError at a loss or gradient that is not finite; with float16, at a scaler that collapses.

    A float16 scaler meets infinite gradients as a matter of course and skips their steps: there, only
    `MOST_SKIPPED` of them in a row or a scale below `LEAST_SCALE` stop the run.
    """

    def __init__(self):
        self.skipped = 0
        self.skipped_in_a_row = 0
        self._batch = None
        self._scale = None

    def on_train_batch_start(self, trainer, module, batch, number):
        self._batch = batch
        scaler = _scaler(trainer)
        self._scale = scaler.get_scale() if scaler else None

    def on_before_backward(self, trainer, module, loss):
        if self._scale is None and not torch.isfinite(loss):
            raise _error(trainer, f"the loss is {loss.item()}", first_bad_module(module.network, self._batch[0]))

    def on_before_optimizer_step(self, trainer, module, optimizer):
        if self._scale is not None:
            return
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        if torch.nn.utils.get_total_norm(gradients).isfinite():  # one wait for the device instead of one for each
            return
        bad = [name for name, p in module.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        if bad:
            raise _error(trainer, "a gradient is not finite", f"First parameter with one: {bad[0]}")

    def on_validation_start(self, trainer, module):
        self._check_weights(trainer, module)

    def on_train_epoch_end(self, trainer, module):
        self._check_weights(trainer, module)

    def _check_weights(self, trainer, module):
        # A float16 overflow whose step was skipped has passed through the running means of normalisation all the same.
        bad = [name for name, value in module.network.state_dict().items() if not value.isfinite().all()]
        if bad:
            raise _error(trainer, f"NaN or infinity in {', '.join(bad[:3])}", "It came within this epoch")

    def on_train_batch_end(self, trainer, module, *_):
        self._batch = None
        if self._scale is None:
            return
        scale = _scaler(trainer).get_scale()
        skipped = scale < self._scale
        self.skipped += skipped
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0
        if self.skipped_in_a_row >= MOST_SKIPPED or scale < LEAST_SCALE:
            found = f"{self.skipped_in_a_row} steps in a row were skipped, the loss scale is {scale:g}"
            raise _error(trainer, found, "float16 does not hold these gradients: use --precision bf16-mixed")


def first_bad_module(network, images):
    """Say which module's output is the first that is not finite, for these images."""
    if not torch.isfinite(images).all():
        return "The images are not finite"
    found = []

    def look(name):
        def hook(module, inputs, output):
            if not found and isinstance(output, torch.Tensor) and not torch.isfinite(output).all():
                found.append(name)

        return hook

    hooks = [module.register_forward_hook(look(name)) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return f"First module whose output is not finite: {found[0] if found else 'none, the logits are finite'}"


def _scaler(trainer):
    return getattr(trainer.precision_plugin, "scaler", None)


def _error(trainer, found, diagnosis):
    rate = trainer.optimizers[0].param_groups[0]["lr"]
    where = f"epoch {trainer.current_epoch + 1}, step {trainer.global_step + 1}, learning rate {rate:g}"
    return NonFiniteError(
        f"{where}: {found}. {diagnosis}. "
        "The last checkpoint was saved before: resume it with a lower --lr and --override, or look at the data"
    )
