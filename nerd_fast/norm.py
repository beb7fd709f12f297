"""NeRDNorm: the normalisation by position that is inside of NeRDm, as a module of its own."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from nerd_fast import arguments, functional
from nerd_fast.arguments import Activation, Backend, Precision
from nerd_fast.calibrated import Calibrated
from nerd_fast.distances import Scale
from nerd_fast.integers import at_least_one
from nerd_fast.windows import Positions, apply_in_windows


class NeRDNorm(Calibrated):
    """Features normalised by position: `y_c = a_c(v) x_c + b_c(v)` with `f(v) = (a, b) = (1/sigma, -mu/sigma)`.

    What NeRDm (paper, eq. 5) does before its classifier, for networks whose head is not a 1x1 convolution: put it in
    front of that head. A fresh module has a = 1 and b = 0 everywhere: it is the identity, and training moves it away.

    channels C; spatial_dims 2 or 3; hidden_channels the widths of the calibrator's hidden layers; activation "relu",
    "leaky_relu", "silu" or "tanh"; distance_scale "extent" or a number, see `boundary_distances`; backend "auto",
    "torch", "triton" or "reference" (plain PyTorch); precision of float32 products: None follows
    `torch.get_float32_matmul_precision()`, "ieee", "tf32x3" or "tf32" choose.

    State dict: `calibrator.0.weight`, `calibrator.0.bias`, `calibrator.2.weight`, ... whatever the backend.

    `forward(x, origin=None, extent=None)`: features (B, C, *spatial) to features of the same shape, dtype and memory
    format. `origin` and `extent` say that x is the window at `origin` of an image of size `extent`, in pixels,
    one position for the batch or one for each sample, as for the heads.

    Raises ValueError or TypeError for arguments that do not fit, on construction and before any launch.
    """

    def __init__(
        self,
        channels: int,
        *,
        spatial_dims: int = 2,
        hidden_channels: Iterable[int] = (32, 32),
        activation: Activation = "relu",
        distance_scale: Scale = "extent",
        backend: Backend = "auto",
        precision: Precision | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        channels = at_least_one("channels", channels)
        super().__init__(
            channels,
            2 * channels,
            spatial_dims=spatial_dims,
            hidden_channels=hidden_channels,
            activation=activation,
            distance_scale=distance_scale,
            backend=backend,
            precision=precision,
            device=device,
            dtype=dtype,
        )

    @property
    def channels(self) -> int:
        """C, of features (B, C, *spatial)."""
        return self.in_channels

    def forward(self, x: Tensor, origin: Positions | None = None, extent: Positions | None = None) -> Tensor:
        """Features of the shape of x, (B, C, *spatial), x being the window at `origin` of an image of `extent`."""
        if self._runs_its_modules():
            return self._normalised_by_modules(x, origin, extent)
        return functional.nerdnorm(x, *self._linears(), **self._options(origin, extent))

    def _normalised_by_modules(self, x: Tensor, origin: Positions | None, extent: Positions | None) -> Tensor:
        """The features with a calibrator that is called, not read."""
        arguments.check_tensor(x, self.in_channels, self.spatial_dims)

        def apply(x: Tensor, origin: Sequence[int], extent: Sequence[int]) -> Tensor:
            a, b = self.calibration(x.shape[2:], origin=origin, extent=extent).chunk(2)
            return (x * a + b).to(x.dtype)

        with torch.autocast(x.device.type, enabled=False):
            return apply_in_windows(apply, x, origin, extent)

    def extra_repr(self) -> str:
        """What `repr` says of the norm: its arguments."""
        return f"{self.channels}, {super().extra_repr()}"
