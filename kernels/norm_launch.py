"""The normalisation by position by the kernels: one launch for the forward, at most three for the backward."""

from itertools import chain

from nerd_fast.kernels import norm_plan
from nerd_fast.kernels.heads import Call, capability_of, parameter_launches
from nerd_fast.kernels.launch import on_device_of, wanted_gradients
from nerd_fast.kernels.layout import empty_logits, workspace


def forward(x, weights, biases, *, activation, scale, origin, extent, precision):
    """y (B, C, *spatial) in x's dtype and memory format, from one launch; nothing is validated here.

    x (B, C, *spatial); weights and biases of a calibrator of 2 C outputs; scale None for "extent", else the factor of
    pixel distances; origin and extent of the window in pixels; precision "ieee", "tf32x3" or "tf32".
    """
    y = empty_logits(x, x.shape[1])
    if y.numel():
        planned = norm_plan.forward(
            _describe(x, weights, activation, scale, precision), x.shape, x.stride(), y.stride()
        )
        with on_device_of(x):
            forward_launch(planned, Call(x, None, weights, biases, origin, extent), y).run()
    return y


def backward(grad, x, weights, biases, *, activation, scale, origin, extent, precision, wants):
    """The wanted gradients in the order x, *weights, *biases, each like what it belongs to.

    grad (B, C, *spatial) may have any strides; the rest is as in `forward`.
    """

    def launches(slots):
        description = _describe(x, weights, activation, scale, precision)
        grad_x_strides = slots[0].stride() if wants[0] else None
        planned = norm_plan.backward(description, x.shape, x.stride(), grad.stride(), grad_x_strides, tuple(wants))
        return backward_launches(planned, Call(x, None, weights, biases, origin, extent), grad, slots)

    return wanted_gradients((x, *weights, *biases), wants, launches)


def _describe(x, weights, activation, scale, precision):
    hidden = tuple([weight.shape[0] for weight in weights[:-1]])
    return norm_plan.describe(x.shape, hidden, activation, scale, precision, capability_of(x.device))


def forward_launch(planned, call, y):
    """The launch that fills y."""
    x = call.x.contiguous() if planned.x_copied else call.x
    return planned.apply.on({"y": y, "x": x, **call.calibrator})


def backward_launches(planned, call, grad, slots):
    """The launches that fill the slots: a tensor for each wanted gradient in the order of `backward`, else None."""
    grad_f = workspace(grad, planned.grad_f)
    arguments = {
        "grad_x": slots[0],
        "grad_f": grad_f,
        "grad": grad.contiguous() if planned.grad_copied else grad,
        "x": call.x.contiguous() if planned.x_copied else call.x,
        **call.calibrator,
    }
    return chain([planned.apply.on(arguments)], parameter_launches(planned, call, grad_f, None, slots))
