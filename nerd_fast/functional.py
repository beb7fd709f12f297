"""The heads as functions of tensors: the public, stateless contract.

Shapes: features x (B, C, *spatial), logits (B, K, *spatial), spatial (H, W) or (D, H, W). The calibrator f is
given by its Linear parameters, first to last, each weight (out, in).
"""

from collections.abc import Sequence

from torch import Tensor

from nerd_fast import arguments, integers
from nerd_fast.arguments import Activation, Backend, MapBackend, Precision
from nerd_fast.autograd import NeRDcFunction, NeRDmFunction, NeRDNormFunction, PositionMapFunction
from nerd_fast.distances import Scale, resolve_scale
from nerd_fast.plain import reference_in_windows, runs_in_plain_pytorch
from nerd_fast.windows import Positions, apply_in_windows

__all__ = [
    "NeRDNormFunction",
    "NeRDcFunction",
    "NeRDmFunction",
    "PositionMapFunction",
    "apply_position_map",
    "nerdc",
    "nerdm",
    "nerdnorm",
]


def nerdm(
    x: Tensor,
    classifier: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    bias: Tensor | None = None,
    *,
    activation: Activation = "relu",
    distance_scale: Scale = "extent",
    origin: Positions | None = None,
    extent: Positions | None = None,
    backend: Backend = "auto",
    precision: Precision | None = None,
) -> Tensor:
    """NeRDm (paper, eq. 5): `s_k = sum_c w_kc (x_c a_c(v) + b_c(v)) + bias_k` with `f(v) = (a, b)`.

    x (B, C, *spatial) in float32, float16, bfloat16 or, on the torch backend, float64; classifier (K, C);
    f with 2 or 3 times 2 inputs (4 or 6 boundary distances) and 2 C outputs; bias (K,) or None. Parameters are in
    float32 or x's dtype. `distance_scale`: see `boundary_distances`. `backend`: "auto", "torch", "triton" or
    "reference". `precision` of float32 products: None (follows PyTorch's setting), "ieee", "tf32x3", "tf32".

    `origin` and `extent` say that x is the window at `origin` of an image of size `extent`: one position, (r, c) or
    (k, r, c), for the whole batch, or one for each sample, a list of B of them or an integer tensor (B, d). Samples of
    equal windows are computed together. A tensor on a GPU is waited for.

    `"reference"` runs the paper's equations as plain PyTorch, which can be differentiated twice, in forward mode and
    by `torch.func`, traced, and exported to ONNX; it keeps B C N numbers and more, and leaves the memory format to
    PyTorch. `"auto"` takes it while `torch.jit.trace` or an ONNX exporter runs.

    Returns logits (B, K, *spatial) in x's dtype and memory format. Differentiable once in every tensor.
    Raises ValueError or TypeError, before any launch, for arguments that do not fit one another, and ValueError
    when a backend asked for by name cannot run them.
    """
    arguments.check_are_tensors(classifier=classifier, weights=weights, biases=biases, bias=bias)
    if classifier.dim() != 2:
        raise ValueError(f"classifier: expected shape (K, C), got {tuple(classifier.shape)}")
    out_channels, in_channels = classifier.shape
    arguments.check_features(x, in_channels, weights)
    meaning = f"1/sigma and -mu/sigma of {in_channels} channels"
    _check(x, weights, biases, bias, out_channels, 2 * in_channels, meaning, activation, backend, precision)
    arguments.check_companions(x, classifier=classifier, weights=weights, biases=biases, bias=bias)
    scale = resolve_scale(distance_scale)
    if runs_in_plain_pytorch(backend, precision, x, classifier, *weights, *biases, bias):
        return reference_in_windows(
            "nerdm",
            x,
            classifier,
            weights,
            biases,
            bias,
            activation=activation,
            distance_scale=distance_scale,
            origin=origin,
            extent=extent,
        )

    def apply(x: Tensor, *window: tuple[int, ...]) -> Tensor:
        options = (activation, scale, *window, backend, precision)
        y: Tensor = NeRDmFunction.apply(x, classifier, bias, *options, *weights, *biases)
        return y

    return apply_in_windows(apply, x, origin, extent)


def nerdc(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    bias: Tensor | None = None,
    *,
    out_channels: int,
    activation: Activation = "relu",
    distance_scale: Scale = "extent",
    origin: Positions | None = None,
    extent: Positions | None = None,
    backend: Backend = "auto",
    precision: Precision | None = None,
) -> Tensor:
    """NeRDc (paper, section 2.2): `s_k = sum_c x_c w_kc(v) + bias_k`, output `k C + c` of f being `w_kc`.

    f has K C outputs; everything else is as for `nerdm`.
    """
    out_channels = integers.at_least_one("out_channels", out_channels)
    arguments.check_are_tensors(weights=weights, biases=biases, bias=bias)
    outputs = arguments.outputs_of(weights)
    if outputs < out_channels or outputs % out_channels:
        raise ValueError(f"weights: expected {out_channels} C outputs of the last layer, got {outputs}")
    arguments.check_features(x, outputs // out_channels, weights)
    meaning = f"{out_channels} classifiers of {x.shape[1]} channels"
    _check(x, weights, biases, bias, out_channels, outputs, meaning, activation, backend, precision)
    arguments.check_companions(x, weights=weights, biases=biases, bias=bias)
    scale = resolve_scale(distance_scale)
    if runs_in_plain_pytorch(backend, precision, x, *weights, *biases, bias):
        return reference_in_windows(
            "nerdc",
            x,
            weights,
            biases,
            bias,
            out_channels=out_channels,
            activation=activation,
            distance_scale=distance_scale,
            origin=origin,
            extent=extent,
        )

    def apply(x: Tensor, *window: tuple[int, ...]) -> Tensor:
        options = (activation, scale, *window, backend, precision)
        y: Tensor = NeRDcFunction.apply(x, out_channels, bias, *options, *weights, *biases)
        return y

    return apply_in_windows(apply, x, origin, extent)


def nerdnorm(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    *,
    activation: Activation = "relu",
    distance_scale: Scale = "extent",
    origin: Positions | None = None,
    extent: Positions | None = None,
    backend: Backend = "auto",
    precision: Precision | None = None,
) -> Tensor:
    """The normalisation of NeRDm by itself: `y_c = a_c(v) x_c + b_c(v)` with `f(v) = (a, b)`, f with 2 C outputs.

    Returns y (B, C, *spatial) in x's dtype and memory format. Everything else is as for `nerdm`.
    """
    arguments.check_are_tensors(weights=weights, biases=biases)
    outputs = arguments.outputs_of(weights)
    if outputs % 2 or not outputs:
        raise ValueError(f"weights: expected 2 C outputs of the last layer, got {outputs}")
    channels = outputs // 2
    arguments.check_features(x, channels, weights)
    meaning = f"1/sigma and -mu/sigma of {channels} channels"
    _check(x, weights, biases, None, channels, outputs, meaning, activation, backend, precision)
    arguments.check_companions(x, weights=weights, biases=biases)
    scale = resolve_scale(distance_scale)
    if runs_in_plain_pytorch(backend, precision, x, *weights, *biases):
        return reference_in_windows(
            "nerdnorm",
            x,
            weights,
            biases,
            activation=activation,
            distance_scale=distance_scale,
            origin=origin,
            extent=extent,
        )

    def apply(x: Tensor, *window: tuple[int, ...]) -> Tensor:
        y: Tensor = NeRDNormFunction.apply(x, activation, scale, *window, backend, precision, *weights, *biases)
        return y

    return apply_in_windows(apply, x, origin, extent)


def apply_position_map(
    x: Tensor, weight: Tensor, beta: Tensor | None = None, *, backend: MapBackend = "auto"
) -> Tensor:
    """`s_k = sum_c x_c W_kc(v) + beta_k(v)`: a head frozen by `position_map`, without its MLP.

    x (B, C, *spatial), weight (K, C, *spatial), beta (K, *spatial) or None. Returns logits (B, K, *spatial) in x's
    dtype and memory format, accumulated in float32 at least. Differentiable once in every tensor. A weight in x's
    memory format, `weight.to(memory_format=torch.channels_last)` for x in channels_last, is not laid out anew in each
    call. `backend`: "auto", "torch" or "triton".

    Raises ValueError or TypeError, before any launch, for arguments that do not fit one another.
    """
    arguments.check_map_backend(backend)
    arguments.check_are_tensors(weight=weight, beta=beta)
    if weight.dim() not in (4, 5):
        raise ValueError(f"weight: expected (K, C, H, W) or (K, C, D, H, W), got {tuple(weight.shape)}")
    arguments.check_tensor(x, weight.shape[1], weight.dim() - 2)
    if weight.shape[2:] != x.shape[2:]:
        raise ValueError(f"weight: expected positions {tuple(x.shape[2:])} like x, got {tuple(weight.shape[2:])}")
    if beta is not None and beta.shape != (weight.shape[0], *x.shape[2:]):
        raise ValueError(f"beta: expected {(weight.shape[0], *x.shape[2:])}, got {tuple(beta.shape)}")
    arguments.check_companions(x, weight=weight, beta=beta)
    logits: Tensor = PositionMapFunction.apply(x, weight, beta, backend)
    return logits


def _check(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    bias: Tensor | None,
    out_channels: int,
    outputs: int,
    meaning: str,
    activation: str,
    backend: str,
    precision: str | None,
) -> None:
    arguments.check_choices(activation, backend, precision)
    arguments.check_calibrator(weights, biases, x.dim() - 2, outputs, meaning)
    arguments.check_vector("bias", bias, out_channels)
