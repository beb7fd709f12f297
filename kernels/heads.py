"""The heads by the kernels: from tensors to launches, one for the forward, at most three for the backward."""

from functools import cache
from itertools import chain

import torch

from nerd_fast.kernels import plan
from nerd_fast.kernels.calibrator_backward_narrow import calibrator_backward_narrow
from nerd_fast.kernels.launch import on_device_of, wanted_gradients
from nerd_fast.kernels.layout import empty_logits, workspace
from nerd_fast.kernels.reduction import GRADIENTS


def forward(x, classifier, weights, biases, bias, *, out_channels, origin, extent, activation, scale, precision):
    """Logits (B, K, *spatial) in x's dtype and memory format, from one launch.

    x (B, C, *spatial); classifier (K, C), None for NeRDc; weights and biases of the calibrator; bias (K,) or None;
    scale None for "extent", else the factor of pixel distances; origin and extent of the window in pixels;
    precision "ieee", "tf32x3" or "tf32". Nothing is validated here.
    """
    logits = empty_logits(x, out_channels)
    if logits.numel():
        description = describe(x, classifier, weights, out_channels, activation, scale, precision)
        planned = plan.forward(description, x.shape, x.stride(), x.element_size(), logits.stride())
        call = Call(x, classifier, weights, biases, origin, extent)
        with on_device_of(x):
            forward_launch(planned, call, logits, bias).run()
    return logits


def backward(
    grad, x, classifier, weights, biases, bias, *, out_channels, origin, extent, activation, scale, precision, wants
):
    """The wanted gradients in the order x, classifier, bias, *weights, *biases, each like what it belongs to.

    grad (B, K, *spatial) may have any strides; the rest is as in `forward`.
    """

    def launches(slots):
        description = describe(x, classifier, weights, out_channels, activation, scale, precision)
        grad_x_strides = slots[0].stride() if wants[0] else None
        planned = plan.backward(description, x.shape, x.stride(), grad.stride(), grad_x_strides, tuple(wants))
        return backward_launches(planned, Call(x, classifier, weights, biases, origin, extent), grad, slots)

    return wanted_gradients((x, classifier, bias, *weights, *biases), wants, launches)


def describe(x, classifier, weights, out_channels, activation, scale, precision):
    """What the kernels are specialised on: the fields of a `tiling.Head`."""
    return (
        classifier is not None,
        x.shape[1],
        out_channels,
        tuple([weight.shape[0] for weight in weights[:-1]]),
        x.dim() - 2,
        activation,
        scale,
        precision,
        capability_of(x.device),
    )


@cache
def capability_of(device):
    """The compute capability of a GPU, None for the interpreter on a CPU."""
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else None


class Call:
    """The tensors of a call of a head, parameters contiguous, and where its window lies in the image."""

    def __init__(self, x, classifier, weights, biases, origin, extent):
        depth, row, column = (0, *origin) if len(origin) == 2 else origin
        whole_depth, whole_height, whole_width = (1, *extent) if len(extent) == 2 else extent
        self.x = x
        self.classifier = None if classifier is None else classifier.contiguous()
        self.calibrator = {
            "weights": tuple([weight.contiguous() for weight in weights]),
            "biases": tuple([bias.contiguous() for bias in biases]),
            "height": x.shape[-2],
            "width": x.shape[-1],
            "origin_d": depth,
            "origin_h": row,
            "origin_w": column,
            "extent_d": whole_depth,
            "extent_h": whole_height,
            "extent_w": whole_width,
        }


def forward_launch(planned, call, logits, bias):
    """The launch that fills logits."""
    arguments = {
        "logits": logits,
        "x": call.x.contiguous() if planned.x_copied else call.x,
        "classifier": call.classifier,
        "bias": None if bias is None else bias.contiguous(),
        **call.calibrator,
    }
    return planned.apply.on(arguments)


def backward_launches(planned, call, grad, slots):
    """The launches that fill the slots: a tensor for each wanted gradient in the order of `backward`, else None."""
    grad_f, rows = workspace(grad, planned.grad_f), workspace(grad, planned.apply_rows)
    arguments = {
        "grad_x": slots[0],
        "grad_f": grad_f,
        "rows": rows,
        "grad": grad.contiguous() if planned.grad_copied else grad,
        "x": call.x.contiguous() if planned.x_copied else call.x,
        "classifier": call.classifier,
        **call.calibrator,
    }
    return chain([planned.apply.on(arguments)], parameter_launches(planned, call, grad_f, rows, slots))


def parameter_launches(planned, call, grad_f, apply_rows, slots):
    """Those of the launches of a backward that make parameters' gradients of what the first one wrote."""
    rows = apply_rows
    if planned.calibrator:
        rows = grad_f if planned.rows.plane else workspace(grad_f, planned.rows[:2])
        arguments = {"rows": rows, "grad_f": grad_f, "apply_rows": apply_rows, **call.calibrator}
        if planned.calibrator.kernel is calibrator_backward_narrow:
            arguments["classifier"] = call.classifier if planned.folded else None
        yield planned.calibrator.on(arguments)
    if planned.reduction:
        gradients = tuple([slots[place] for place in planned.summed])
        arguments = {"gradients": gradients[:GRADIENTS], "rows": rows, "last": None, "last_gradients": None}
        if planned.folded:
            weights, biases = call.calibrator["weights"], call.calibrator["biases"]
            arguments["last"] = (weights[-1], biases[-1], call.classifier)
            arguments["last_gradients"] = gradients[GRADIENTS:]
        yield planned.reduction.on(arguments)
