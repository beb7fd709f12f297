"""What every module with a calibrator shares: the MLP over boundary distances, its options and what it yields."""

import torch
from torch import nn

from nerd_fast import arguments
from nerd_fast.distances import boundary_distances, resolve_scale

ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "silu": nn.SiLU, "tanh": nn.Tanh}


class Calibrated(nn.Module):
    """A module whose calibrator f reads where a position is: the base of the heads and of the normalisation.

    `outputs` is the number of outputs of f; the other arguments are those of the modules. State dict:
    `calibrator.0.weight`, `calibrator.0.bias`, `calibrator.2.weight`, ... whatever the backend.
    """

    def __init__(
        self,
        in_channels,
        outputs,
        *,
        spatial_dims,
        hidden_channels,
        activation,
        distance_scale,
        backend,
        precision,
        device,
        dtype,
    ):
        super().__init__()
        hidden_channels = tuple(hidden_channels)
        _check_calibrator(spatial_dims, hidden_channels)
        arguments.check_choices(activation, backend, precision)
        resolve_scale(distance_scale)
        self.in_channels = in_channels
        self.spatial_dims = spatial_dims
        self.hidden_channels = hidden_channels
        self.activation = activation
        self.distance_scale = distance_scale
        self.backend = backend
        self.precision = precision
        factory = {"device": device, "dtype": dtype}
        self.calibrator = _calibrator(2 * spatial_dims, hidden_channels, outputs, activation, factory)

    def calibration(self, size, *, origin=None, extent=None):
        """f(v) at every position of an image of `size` pixels, (outputs, *size), to look at.

        Where f yields a and b (NeRDm, NeRDNorm) the first C planes are a = 1/sigma, the others b = -mu/sigma; for NeRDc
        plane k C + c is w_kc.
        """
        last = self.calibrator[-1].weight
        if len(tuple(size)) != self.spatial_dims:
            raise ValueError(f"size: expected {self.spatial_dims} numbers, got {tuple(size)}")
        dtype = torch.promote_types(last.dtype, torch.float32)
        v = boundary_distances(size, self.distance_scale, origin, extent, dtype=dtype, device=last.device)
        with torch.autocast(last.device.type, enabled=False):
            h = v.flatten(1).T
            for layer in self.calibrator:
                if isinstance(layer, nn.Linear):
                    h = nn.functional.linear(h, layer.weight.to(dtype), layer.bias.to(dtype))
                else:
                    h = layer(h)
        return h.T.contiguous().view(-1, *size)  # planes, as apply_position_map reads them

    def extra_repr(self):
        return (
            f"spatial_dims={self.spatial_dims}, hidden_channels={self.hidden_channels}, "
            f"activation={self.activation!r}, distance_scale={self.distance_scale!r}, backend={self.backend!r}, "
            f"precision={self.precision!r}"
        )

    def _linears(self):
        """The calibrator's parameters as the functional interface takes them: weights, biases."""
        layers = list(self.calibrator)[::2]  # slicing the Sequential itself would build a module at every call
        return [layer.weight for layer in layers], [layer.bias for layer in layers]

    def _options(self, origin, extent):
        return {
            "activation": self.activation,
            "distance_scale": self.distance_scale,
            "origin": origin,
            "extent": extent,
            "backend": self.backend,
            "precision": self.precision,
        }

    def _reset_hidden(self):
        for layer in self.calibrator[:-1]:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()


def check_size(name, value):
    """Raises ValueError unless the argument `name` is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")


def _calibrator(inputs, hidden_channels, outputs, activation, factory):
    layers = []
    for width in hidden_channels:
        layers += [nn.Linear(inputs, width, **factory), ACTIVATIONS[activation]()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs, **factory))


def _check_calibrator(spatial_dims, hidden_channels):
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims: expected 2 or 3, got {spatial_dims!r}")
    if not hidden_channels or any(isinstance(w, bool) or not isinstance(w, int) or w < 1 for w in hidden_channels):
        raise ValueError(f"hidden_channels: expected one width of at least 1 per hidden layer, got {hidden_channels}")
