"""A convolution that normalises what it reads by position: where the head of a network has a kernel of its own.

The convolution stays what it was: the same object in the same place, with its weight, its attributes and its hooks.
Its class alone changes, to one of those below, and a `norm` becomes its child. (A forward hook would do the same, but
in a network that is compiled already: PyTorch does not look whether hooks were added since.)
"""

import copy
from typing import Any

from torch import Tensor, nn

from nerd_fast.convolution import check_set_by_conv
from nerd_fast.norm import NeRDNorm


class NormedConv(nn.Module):
    """What the four classes below add to the convolution that they inherit from.

    State dict: that of the convolution and `norm.calibrator.0.weight`, ... The state dict of the convolution alone
    loads too, strictly: the norm is the identity then.

    `forward(input, *arguments, origin=None, extent=None)`: the convolution of the normalised input. `arguments` are
    those of the convolution; `origin` and `extent` say that the input is the window at `origin` of an image of size
    `extent`, in pixels of the input.
    """

    norm: NeRDNorm

    def forward(self, input: Tensor, *arguments: Any, origin: Any = None, extent: Any = None, **others: Any) -> Tensor:
        """What the convolution makes of the normalised input (B, C, *spatial), the window at `origin` of `extent`."""
        normalised = self.norm(input, origin=origin, extent=extent)
        y: Tensor = super().forward(normalised, *arguments, **others)
        return y

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *arguments: Any
    ) -> None:
        own = f"{prefix}norm."
        if f"{prefix}weight" in state_dict and not any(key.startswith(own) for key in state_dict):
            weight = state_dict[f"{prefix}weight"]
            # of a weight that is no tensor PyTorch says so itself, and nothing is missing beside it
            start = self._identity(weight) if isinstance(weight, Tensor) else self.norm
            if isinstance(weight, Tensor) and local_metadata.get("assign_to_params_buffers"):
                start = start.to(weight)  # its values will be the parameters: of the weight's dtype
            # PyTorch hands in a copy of the user's dictionary, and fills the norm from it afterwards
            state_dict.update({f"{own}{name}": parameter for name, parameter in start.state_dict().items()})
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *arguments)

    def _identity(self, weight: Tensor) -> NeRDNorm:
        """The norm, yielding a = 1 and b = 0; hidden layers keep their values, those that have none are drawn."""
        norm = copy.deepcopy(self.norm)
        if any(parameter.is_meta for parameter in norm.parameters()):
            norm = norm.to_empty(device=weight.device)
            norm.reset_parameters()
        else:
            norm._linear_layers()[-1].reset_parameters()
        return norm


class NormedConv2d(NormedConv, nn.Conv2d):
    """An `nn.Conv2d` of features that are normalised by position."""


class NormedConv3d(NormedConv, nn.Conv3d):
    """An `nn.Conv3d` of features that are normalised by position."""


class NormedConvTranspose2d(NormedConv, nn.ConvTranspose2d):
    """An `nn.ConvTranspose2d` of features that are normalised by position."""


class NormedConvTranspose3d(NormedConv, nn.ConvTranspose3d):
    """An `nn.ConvTranspose3d` of features that are normalised by position."""


NORMED: dict[type[nn.Module], type[NormedConv]] = {
    nn.Conv2d: NormedConv2d,
    nn.Conv3d: NormedConv3d,
    nn.ConvTranspose2d: NormedConvTranspose2d,
    nn.ConvTranspose3d: NormedConvTranspose3d,
}


def norm_for(conv: Any, norm_class: type[NeRDNorm], **options: Any) -> NeRDNorm:
    """A fresh norm of what `conv` reads, of its device, dtype and mode; `options` are the norm's other arguments."""
    check_set_by_conv(options, ("channels", "spatial_dims"))
    factory = {"device": conv.weight.device, "dtype": conv.weight.dtype, **options}
    norm = norm_class(conv.in_channels, spatial_dims=conv.weight.dim() - 2, **factory)
    return norm.train(conv.training)


def put_in_front(norm: NeRDNorm, conv: nn.Module) -> None:
    """Makes `conv`, of a class in NORMED, normalise what it reads by `norm`, in place."""
    conv.norm = norm
    conv.__class__ = NORMED[type(conv)]
