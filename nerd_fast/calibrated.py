"""What every module with a calibrator shares: the MLP over boundary distances, its options, its start, what it yields.

The start belongs to the layers. Tools that initialise a network module by module (from the meta device, as FSDP does)
call `reset_parameters` of every layer in an order of their own, and no order may lose the start.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nerd_fast import arguments
from nerd_fast.arguments import Activation, Backend, Precision
from nerd_fast.backends.calibrator import LEAKY_RELU_SLOPE
from nerd_fast.distances import Scale, boundary_distances, check_dtype, resolve_scale, sizes
from nerd_fast.plain import runs_in_plain_pytorch, warn_of_plain_pytorch

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class CalibratorLayer(nn.Linear):
    """A Linear layer of the calibrator, of a type of its own: dynamic quantisation replaces `nn.Linear` alone."""


class NormalisationLayer(CalibratorLayer):
    """The last layer of a calibrator that yields a and b of C channels: it starts at a = 1, b = 0 everywhere."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        a, b = self.bias.detach().chunk(2)
        a.fill_(1)
        b.zero_()


class ClassifierLayer(CalibratorLayer):
    """The last layer of a calibrator that yields (K, C) classifiers: it starts at a random one, everywhere the same."""

    def __init__(self, inputs: int, outputs: int, in_channels: int, **factory: Any) -> None:
        self.in_channels = in_channels
        self.outputs = outputs
        super().__init__(inputs, outputs, **factory)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        draw_classifier(self.bias.detach().view(-1, self.in_channels))


def draw_classifier(classifier: Tensor) -> None:
    """Fills a (K, C) classifier as `nn.Conv2d` draws the weight of a 1x1 convolution."""
    nn.init.kaiming_uniform_(classifier, a=5**0.5)


class Calibrated(nn.Module):
    """A module whose calibrator f reads where a position is: the base of the heads and of the normalisation.

    `outputs` is the number of outputs of f; the other arguments are those of the modules. State dict:
    `calibrator.0.weight`, `calibrator.0.bias`, `calibrator.2.weight`, ... whatever the backend.
    """

    def __init__(
        self,
        in_channels: int,
        outputs: int,
        *,
        spatial_dims: int,
        hidden_channels: Iterable[int],
        activation: Activation,
        distance_scale: Scale,
        backend: Backend,
        precision: Precision | None,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        spatial_dims = arguments.number_of_axes(spatial_dims)
        arguments.check_choices(activation, backend, precision)
        check_dtype(dtype)
        scale = resolve_scale(distance_scale)
        self.in_channels = in_channels
        self.outputs = outputs
        self.spatial_dims = spatial_dims
        self.hidden_channels = arguments.hidden_widths(hidden_channels)
        self.activation = activation
        self.distance_scale: Scale = "extent" if scale is None else scale
        self.backend = backend
        self.precision = precision
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        layers: list[nn.Module] = []
        inputs = 2 * spatial_dims
        for width in self.hidden_channels:
            layers += [CalibratorLayer(inputs, width, **factory), ACTIVATIONS[activation]()]
            inputs = width
        self.calibrator = nn.Sequential(*layers, self._last_layer(inputs, outputs, factory))

    def _last_layer(self, inputs: int, outputs: int, factory: dict[str, Any]) -> CalibratorLayer:
        return NormalisationLayer(inputs, outputs, **factory)

    def reset_parameters(self) -> None:
        """A fresh module: the same at every position."""
        for layer in self._linear_layers():
            layer.reset_parameters()

    def calibration(
        self, size: Sequence[int], *, origin: Sequence[int] | None = None, extent: Sequence[int] | None = None
    ) -> Tensor:
        """f(v) at every position of an image of `size` pixels, (outputs, *size), to look at.

        Where f yields a and b (NeRDm, NeRDNorm) the first C planes are a = 1/sigma, the others b = -mu/sigma; for NeRDc
        plane k C + c is w_kc.
        """
        size = sizes("size", size, self.spatial_dims)
        any_parameter = next(self.parameters(), torch.empty(0))
        dtype, device = torch.promote_types(any_parameter.dtype, torch.float32), any_parameter.device
        v = boundary_distances(size, self.distance_scale, origin, extent, dtype=dtype, device=device)
        with torch.autocast(device.type, enabled=False):
            h = v.flatten(1).T
            if alteration(self.calibrator, ACTIVATIONS[self.activation]):
                inside = next(self.calibrator.parameters(), v)
                h = self.calibrator(h.to(inside.dtype))
            else:
                for layer in self.calibrator:
                    if isinstance(layer, nn.Linear):
                        h = nn.functional.linear(h, layer.weight.to(dtype), layer.bias.to(dtype))
                    else:
                        h = layer(h)
        if h.dim() != 2 or h.shape[1] != self.outputs:
            raise ValueError(f"calibrator: expected {self.outputs} outputs for every position, got {tuple(h.shape)}")
        return h.T.contiguous().view(-1, *size)  # planes, as apply_position_map reads them

    def extra_repr(self) -> str:
        """What `repr` says of the module: its arguments."""
        return (
            f"spatial_dims={self.spatial_dims}, hidden_channels={self.hidden_channels}, "
            f"activation={self.activation!r}, distance_scale={self.distance_scale!r}, backend={self.backend!r}, "
            f"precision={self.precision!r}"
        )

    def _runs_its_modules(self) -> bool:
        """Whether the calibrator must be called as the modules it is made of: it was altered.

        Raises ValueError where a backend was asked for that reads its parameters alone.
        """
        altered = alteration(self.calibrator, ACTIVATIONS[self.activation])
        if altered is None:
            return False
        if self.backend in ("torch", "triton"):
            raise ValueError(
                f"{altered}, which backend={self.backend!r} would ignore, for it reads the parameters of the "
                "calibrator alone; backend='reference' and 'auto' call its modules"
            )
        runs_in_plain_pytorch("reference", self.precision)
        if self.backend == "auto" and not torch.compiler.is_compiling():
            warn_of_plain_pytorch(altered)
        return True

    def _linear_layers(self) -> list[Any]:
        """The Linear layers of a calibrator that was not altered."""
        # not by slicing the Sequential, which would build another at every call
        return list(self.calibrator._modules.values())[::2]

    def _linears(self) -> tuple[list[Tensor], list[Tensor]]:
        """The calibrator's parameters as the functional interface takes them: weights, biases."""
        layers = self._linear_layers()
        return [_parameter(layer, "weight") for layer in layers], [_parameter(layer, "bias") for layer in layers]

    def _options(self, origin: Any, extent: Any) -> dict[str, Any]:
        return {
            "activation": self.activation,
            "distance_scale": self.distance_scale,
            "origin": origin,
            "extent": extent,
            "backend": self.backend,
            "precision": self.precision,
        }


def alteration(calibrator: nn.Module, activation: type[nn.Module]) -> str | None:
    """What tells a calibrator from Linear layers and activations in turn, in a sentence's beginning, or None.

    Parametrized weights are no alteration: who reads them gets the parametrized ones. Neither is what a layer was
    replaced by if it computes the same from its weight and bias.
    """
    if type(calibrator) is not nn.Sequential:
        return f"the calibrator is a {type(calibrator).__name__}"
    if _is_hooked(calibrator):
        return "the calibrator has hooks or a forward of its own"
    number = 0
    for number, (name, layer) in enumerate(calibrator._modules.items(), 1):
        kind = type(layer)
        if number % 2 == 0:
            fits = kind is activation and (kind is not nn.LeakyReLU or layer.negative_slope == LEAKY_RELU_SLOPE)
        elif kind in _OURS:
            fits = layer._parameters["bias"] is not None
        else:
            fits = isinstance(layer, nn.Linear) and kind.forward is nn.Linear.forward and layer.bias is not None
        if not fits:
            return f"calibrator.{name} is {layer}"
        if _is_hooked(layer):
            return f"calibrator.{name} has hooks or a forward of its own"
    return None if number % 2 else "the calibrator ends in an activation"


def _parameter(layer: nn.Linear, name: str) -> Any:
    """`layer.name` without the detour through the module's attributes; a parametrized one is found by it alone."""
    parameter = layer._parameters.get(name)
    return getattr(layer, name) if parameter is None else parameter


def _is_hooked(module: nn.Module) -> bool:
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
        return True
    return "forward" in module.__dict__


_OURS = (CalibratorLayer, NormalisationLayer, ClassifierLayer)
