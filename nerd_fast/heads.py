"""NeRD heads as modules: drop-in replacements for the last 1x1 convolution of a segmentation network."""

from collections.abc import Iterable, Sequence
from typing import Any, Self, TypedDict, Unpack

import torch
from torch import Tensor, nn

from nerd_fast import arguments, functional
from nerd_fast.arguments import Activation, Backend, Precision
from nerd_fast.calibrated import Calibrated, CalibratorLayer, ClassifierLayer, draw_classifier
from nerd_fast.convolution import ConvolutionLike, check_conv, check_set_by_conv
from nerd_fast.distances import Scale
from nerd_fast.integers import at_least_one
from nerd_fast.windows import Positions, apply_in_windows


class HeadOptions(TypedDict, total=False):
    """The options of a head that a convolution does not decide."""

    hidden_channels: Iterable[int]
    activation: Activation
    distance_scale: Scale
    backend: Backend
    precision: Precision | None
    device: torch.device | str | None
    dtype: torch.dtype | None


class NeRDHead(ConvolutionLike, Calibrated):
    """What NeRDm and NeRDc share: the classes, the bias and the conversion from a convolution.

    in_channels C and out_channels K; spatial_dims 2 or 3; hidden_channels the widths of the calibrator's hidden
    layers; activation "relu", "leaky_relu", "silu" or "tanh"; bias adds one number per output; distance_scale
    "extent" or a number, see `boundary_distances`; backend "auto", "torch", "triton" or "reference" (plain PyTorch);
    precision of float32 products: None follows `torch.get_float32_matmul_precision()`, "ieee", "tf32x3" or "tf32"
    choose.

    State dict: `classifier` (K, C; NeRDm only), `bias` (K,) if there is one, `calibrator.0.weight`,
    `calibrator.0.bias`, `calibrator.2.weight`, ... whatever the backend. The state dict of a 1x1 convolution, `weight`
    (K, C, 1, 1) or (K, C, 1, 1, 1) and `bias`, loads too, strictly: as the head's start.

    `forward(x, origin=None, extent=None)`: features (B, C, *spatial) to logits (B, K, *spatial). `origin` and
    `extent` say that x is the window at `origin` of an image of size `extent` (padding, tiles), in pixels: one position
    for the batch, or one for each sample, a list of B tuples or an integer tensor (B, d). Samples of equal windows are
    computed together; a tensor on a GPU is waited for. `nerd_fast.placed` says it to every head inside of a network.

    Raises ValueError or TypeError for arguments that do not fit, on construction and before any launch.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 1,
        *,
        spatial_dims: int = 2,
        hidden_channels: Iterable[int] = (32, 32),
        activation: Activation = "relu",
        bias: bool = False,
        distance_scale: Scale = "extent",
        backend: Backend = "auto",
        precision: Precision | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        in_channels = at_least_one("in_channels", in_channels)
        out_channels = at_least_one("out_channels", out_channels)
        if not isinstance(bias, bool):
            raise TypeError(f"bias: expected True or False, got {bias!r}")
        super().__init__(
            in_channels,
            self._outputs(in_channels, out_channels),
            spatial_dims=spatial_dims,
            hidden_channels=hidden_channels,
            activation=activation,
            distance_scale=distance_scale,
            backend=backend,
            precision=precision,
            device=device,
            dtype=dtype,
        )
        self.out_channels = out_channels
        if bias:
            self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self._add_parameters({"device": device, "dtype": dtype})
        self.reset_parameters()

    @classmethod
    def from_conv(cls, conv: nn.Conv2d | nn.Conv3d, **options: Unpack[HeadOptions]) -> Self:
        """The head that computes what `conv` computes, an `nn.Conv2d` or `nn.Conv3d` with kernel 1.

        Weight and bias are copied (a head without bias for a convolution without), with their device, dtype,
        requires_grad and the training mode; the calibrator is new and trains. `options` are the constructor's other
        keyword arguments. Raises TypeError for another kind of module and for an argument that the convolution decides,
        ValueError for a convolution that is not a plain 1x1.
        """
        check_conv(conv)
        check_set_by_conv(options, ("in_channels", "out_channels", "bias", "spatial_dims"))
        weight = conv.weight.detach().flatten(1)
        like_conv: HeadOptions = {"device": weight.device, "dtype": weight.dtype}
        like_conv.update(options)
        head = cls(
            conv.in_channels,
            conv.out_channels,
            spatial_dims=conv.weight.dim() - 2,
            bias=conv.bias is not None,
            **like_conv,
        )
        with torch.no_grad():
            head._classifier_parameter().view(-1).copy_(weight.flatten())
            if conv.bias is not None:
                head.bias.copy_(conv.bias)
        if conv.bias is not None:
            head.bias.requires_grad_(conv.bias.requires_grad)
        if not conv.weight.requires_grad:
            head._classifier_parameter().requires_grad_(False)
        return head.train(conv.training)

    def reset_parameters(self) -> None:
        """A fresh head: a random classifier, as `nn.Conv2d` draws it, the same at every position."""
        super().reset_parameters()
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def position_map(
        self, size: Sequence[int], *, origin: Sequence[int] | None = None, extent: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """The head as a position-wise linear map of an image of `size` pixels: weight (K, C, *size), beta (K, *size).

        `functional.apply_position_map(x, weight, beta)` then gives the head's logits without its MLP. The map
        is a snapshot: it does not follow the parameters.
        """
        weight, beta = self._fold(self.calibration(size, origin=origin, extent=extent))
        if self.bias is not None:
            beta = beta + self.bias.to(beta.dtype).view(-1, *[1] * self.spatial_dims)
        return weight, beta

    def extra_repr(self) -> str:
        """What `repr` says of the head: its arguments."""
        return f"{self.in_channels}, {self.out_channels}, bias={self.bias is not None}, {super().extra_repr()}"

    @staticmethod
    def _outputs(in_channels: int, out_channels: int) -> int:
        """How many outputs the calibrator has."""
        raise NotImplementedError

    def _logits_of_modules(self, x: Tensor, origin: Positions | None, extent: Positions | None) -> Tensor:
        """The logits with a calibrator that is called, not read: as the position-wise map of what it yields."""
        arguments.check_tensor(x, self.in_channels, self.spatial_dims)

        def apply(x: Tensor, origin: Sequence[int], extent: Sequence[int]) -> Tensor:
            weight, beta = self.position_map(x.shape[2:], origin=origin, extent=extent)
            return (torch.einsum("kc...,bc...->bk...", weight, x.to(weight.dtype)) + beta).to(x.dtype)

        with torch.autocast(x.device.type, enabled=False):
            return apply_in_windows(apply, x, origin, extent)

    def _add_parameters(self, factory: dict[str, Any]) -> None:
        """Registers the parameters beside the calibrator and the bias."""

    def _classifier_parameter(self) -> Tensor:
        """The parameter that holds the (K, C) classifier of a head that starts."""
        raise NotImplementedError

    def _fold(self, f: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and beta of the position-wise linear map that the calibrator's outputs stand for."""
        raise NotImplementedError


class NeRDm(NeRDHead):
    """NeRDm (paper, eq. 5): features normalised by position, then one classifier.

    `s_k = sum_c w_kc (x_c a_c(v) + b_c(v))` with `f(v) = (a, b) = (1/sigma, -mu/sigma)`. A fresh head has a = 1 and
    b = 0 everywhere: it is the 1x1 convolution with weight `classifier`.
    """

    __doc__ += (NeRDHead.__doc__ or "").partition("\n")[2]

    @property
    def weight(self) -> Tensor:
        """The classifier as the weight of a convolution, (K, C, 1, 1) or (K, C, 1, 1, 1): a view, not a parameter."""
        return self.classifier.view(*self.classifier.shape, *self.kernel_size)

    def reset_parameters(self) -> None:
        """A fresh head: a random classifier, as `nn.Conv2d` draws it, the same at every position."""
        super().reset_parameters()
        draw_classifier(self.classifier)

    def forward(self, x: Tensor, origin: Positions | None = None, extent: Positions | None = None) -> Tensor:
        """Logits (B, K, *spatial) of features x (B, C, *spatial), x the window at `origin` of an image of `extent`."""
        if self._runs_its_modules():
            return self._logits_of_modules(x, origin, extent)
        options = self._options(origin, extent)
        return functional.nerdm(x, self.classifier, *self._linears(), self.bias, **options)

    @staticmethod
    def _outputs(in_channels: int, out_channels: int) -> int:
        return 2 * in_channels

    def _add_parameters(self, factory: dict[str, Any]) -> None:
        self.classifier = nn.Parameter(torch.empty(self.out_channels, self.in_channels, **factory))

    def _start(self, weight: Tensor) -> dict[str, Tensor]:
        a = torch.ones_like(weight[0])
        return {"classifier": weight, **self._last_layer_start(torch.cat([a, torch.zeros_like(a)]))}

    def _classifier_parameter(self) -> Tensor:
        return self.classifier

    def _fold(self, f: Tensor) -> tuple[Tensor, Tensor]:
        a, b = f.chunk(2)
        classifier = self.classifier.to(f.dtype)
        weight = classifier.view(*classifier.shape, *[1] * self.spatial_dims) * a
        return weight, torch.einsum("kc,c...->k...", classifier, b)


class NeRDc(NeRDHead):
    """NeRDc (paper, section 2.2): every position its own linear classifier, `s_k = sum_c x_c w_kc(v)`, `w = f(v)`.

    A fresh head has the same random classifier everywhere: it is a 1x1 convolution.
    """

    __doc__ += (NeRDHead.__doc__ or "").partition("\n")[2]

    def forward(self, x: Tensor, origin: Positions | None = None, extent: Positions | None = None) -> Tensor:
        """Logits (B, K, *spatial) of features x (B, C, *spatial), x the window at `origin` of an image of `extent`."""
        if self._runs_its_modules():
            return self._logits_of_modules(x, origin, extent)
        options = self._options(origin, extent)
        return functional.nerdc(x, *self._linears(), self.bias, out_channels=self.out_channels, **options)

    @staticmethod
    def _outputs(in_channels: int, out_channels: int) -> int:
        return out_channels * in_channels

    def _last_layer(self, inputs: int, outputs: int, factory: dict[str, Any]) -> CalibratorLayer:
        return ClassifierLayer(inputs, outputs, self.in_channels, **factory)

    def _start(self, weight: Tensor) -> dict[str, Tensor]:
        return self._last_layer_start(weight.flatten())

    def _classifier_parameter(self) -> Tensor:
        bias: Tensor = self._linear_layers()[-1].bias
        return bias

    def _fold(self, f: Tensor) -> tuple[Tensor, Tensor]:
        weight = f.unflatten(0, (self.out_channels, self.in_channels))
        return weight, weight.new_zeros(self.out_channels, *weight.shape[2:])
