"""NeRD heads as modules: drop-in replacements for the last 1x1 convolution of a segmentation network."""

import math

import torch
from torch import nn

from nerd_fast import functional
from nerd_fast.calibrated import Calibrated, check_size


class NeRDHead(Calibrated):
    """What NeRDm and NeRDc share: the classes, the bias and the conversion from a convolution.

    in_channels C and out_channels K; spatial_dims 2 or 3; hidden_channels the widths of the calibrator's hidden
    layers; activation "relu", "leaky_relu", "silu" or "tanh"; bias adds one number per output; distance_scale
    "extent" or a number, see `boundary_distances`; backend "auto", "torch" or "triton"; precision of float32
    products: None follows `torch.get_float32_matmul_precision()`, "ieee", "tf32x3" or "tf32" choose.

    State dict: `classifier` (K, C; NeRDm only), `bias` (K,) if there is one, `calibrator.0.weight`,
    `calibrator.0.bias`, `calibrator.2.weight`, ... whatever the backend.

    `forward(x, origin=None, extent=None)`: features (B, C, *spatial) to logits (B, K, *spatial). `origin` and
    `extent` say that x is the window at `origin` of an image of size `extent` (padding, tiles), in pixels.

    Raises ValueError or TypeError for arguments that do not fit, on construction and before any launch.
    """

    def __init__(
        self,
        in_channels,
        out_channels=1,
        *,
        spatial_dims=2,
        hidden_channels=(32, 32),
        activation="relu",
        bias=False,
        distance_scale="extent",
        backend="auto",
        precision=None,
        device=None,
        dtype=None,
    ):
        check_size("in_channels", in_channels)
        check_size("out_channels", out_channels)
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

    @classmethod
    def from_conv(cls, conv, **options):
        """The head that computes what `conv` computes, an `nn.Conv2d` or `nn.Conv3d` with kernel 1.

        Weight and bias are copied (a head without bias for a convolution without), with their device, dtype,
        requires_grad and the training mode. `options` are the constructor's other keyword arguments. Raises
        TypeError for another kind of module and ValueError for a convolution that is not a plain 1x1.
        """
        _check_conv(conv)
        for name in ("bias", "spatial_dims"):
            if name in options:
                raise TypeError(f"{name}: from_conv takes it from the convolution; do not pass it")
        weight = conv.weight.detach().flatten(1)
        head = cls(
            conv.in_channels,
            conv.out_channels,
            spatial_dims=conv.weight.dim() - 2,
            bias=conv.bias is not None,
            **{"device": weight.device, "dtype": weight.dtype, **options},
        )
        head._start_from(weight)
        if conv.bias is not None:
            head.bias.requires_grad_(conv.bias.requires_grad)
            with torch.no_grad():
                head.bias.copy_(conv.bias)
        if not conv.weight.requires_grad:
            head._classifier_parameter().requires_grad_(False)
        return head.train(conv.training)

    def position_map(self, size, *, origin=None, extent=None):
        """The head as a position-wise linear map of an image of `size` pixels: weight (K, C, *size), beta (K, *size).

        `functional.apply_position_map(x, weight, beta)` then gives the head's logits without its MLP. The map
        is a snapshot: it does not follow the parameters.
        """
        weight, beta = self._fold(self.calibration(size, origin=origin, extent=extent))
        if self.bias is not None:
            beta = beta + self.bias.to(beta.dtype).view(-1, *[1] * self.spatial_dims)
        return weight, beta

    def extra_repr(self):
        return f"{self.in_channels}, {self.out_channels}, bias={self.bias is not None}, {super().extra_repr()}"

    def _reset_bias(self):
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class NeRDm(NeRDHead):
    """NeRDm (paper, eq. 5): features normalised by position, then one classifier.

    `s_k = sum_c w_kc (x_c a_c(v) + b_c(v))` with `f(v) = (a, b) = (1/sigma, -mu/sigma)`. A fresh head has a = 1 and
    b = 0 everywhere: it is the 1x1 convolution with weight `classifier`.
    """

    __doc__ += NeRDHead.__doc__.partition("\n")[2]

    def __init__(self, in_channels, out_channels=1, **options):
        super().__init__(in_channels, out_channels, **options)
        last = self.calibrator[-1]
        self.classifier = nn.Parameter(last.weight.new_empty(out_channels, in_channels))
        self.reset_parameters()

    def reset_parameters(self):
        """A fresh head: a random classifier, as `nn.Conv2d` draws it, the same at every position."""
        self._reset_hidden()
        self._start_from(_random_classifier(self.classifier))
        self._reset_bias()

    def forward(self, x, origin=None, extent=None):
        options = self._options(origin, extent)
        return functional.nerdm(x, self.classifier, *self._linears(), self.bias, **options)

    @staticmethod
    def _outputs(in_channels, out_channels):
        return 2 * in_channels

    def _start_from(self, weight):
        last = self.calibrator[-1]
        with torch.no_grad():
            self.classifier.copy_(weight)
            last.weight.zero_()
            last.bias[: self.in_channels] = 1
            last.bias[self.in_channels :] = 0

    def _classifier_parameter(self):
        return self.classifier

    def _fold(self, f):
        a, b = f.chunk(2)
        classifier = self.classifier.to(f.dtype)
        weight = classifier.view(*classifier.shape, *[1] * self.spatial_dims) * a
        return weight, torch.einsum("kc,c...->k...", classifier, b)


class NeRDc(NeRDHead):
    """NeRDc (paper, section 2.2): every position its own linear classifier, `s_k = sum_c x_c w_kc(v)`, `w = f(v)`.

    A fresh head has the same random classifier everywhere: it is a 1x1 convolution.
    """

    __doc__ += NeRDHead.__doc__.partition("\n")[2]

    def __init__(self, in_channels, out_channels=1, **options):
        super().__init__(in_channels, out_channels, **options)
        self.reset_parameters()

    def reset_parameters(self):
        """A fresh head: a random classifier, as `nn.Conv2d` draws it, the same at every position."""
        self._reset_hidden()
        last = self.calibrator[-1].bias
        self._start_from(_random_classifier(last.new_empty(self.out_channels, self.in_channels)))
        self._reset_bias()

    def forward(self, x, origin=None, extent=None):
        options = self._options(origin, extent)
        return functional.nerdc(x, *self._linears(), self.bias, out_channels=self.out_channels, **options)

    @staticmethod
    def _outputs(in_channels, out_channels):
        return out_channels * in_channels

    def _start_from(self, weight):
        last = self.calibrator[-1]
        with torch.no_grad():
            last.weight.zero_()
            last.bias.copy_(weight.flatten())

    def _classifier_parameter(self):
        return self.calibrator[-1].bias

    def _fold(self, f):
        weight = f.unflatten(0, (self.out_channels, self.in_channels))
        return weight, weight.new_zeros(self.out_channels, *weight.shape[2:])


def _random_classifier(like):
    """A (K, C) weight drawn as `nn.Conv2d` draws that of a 1x1 convolution."""
    weight = torch.empty_like(like)
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    return weight


def _check_conv(conv):
    if not isinstance(conv, (nn.Conv2d, nn.Conv3d)):
        raise TypeError(f"conv: expected an nn.Conv2d or nn.Conv3d with kernel 1, got {type(conv).__name__}")
    if isinstance(conv.weight, nn.parameter.UninitializedParameter):
        raise ValueError(f"conv: {type(conv).__name__} has no weight yet; run one forward pass of the network first")
    if nn.utils.parametrize.is_parametrized(conv) or "weight" not in conv._parameters:
        raise ValueError(
            "conv: its weight is parametrized (weight_norm, spectral_norm, ...), which a head would drop; remove the "
            "parametrization first, with torch.nn.utils.parametrize.remove_parametrizations(conv, 'weight')"
        )
    for name, expected in (("kernel_size", 1), ("stride", 1), ("groups", 1)):
        value = getattr(conv, name)
        if any(v != expected for v in (value if isinstance(value, tuple) else (value,))):
            raise ValueError(f"conv: expected a 1x1 convolution with {name} {expected}, got {name} {value}")
    if conv.padding != "same" and any(p != 0 for p in (conv.padding if conv.padding != "valid" else (0,))):
        raise ValueError(f"conv: expected no padding, got padding {conv.padding}")
