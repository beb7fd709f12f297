"""A position map by the kernels: from tensors to launches, one for the forward, at most two for the backward."""

from nerd_fast.kernels import map_plan, reduction
from nerd_fast.kernels.launch import on_device_of, wanted_gradients
from nerd_fast.kernels.layout import empty_logits, workspace


def forward(x, weight, beta):
    """Logits (B, K, *spatial) in x's dtype and memory format, from one launch; nothing is validated here.

    x (B, C, *spatial), weight (K, C, *spatial), beta (K, *spatial) or None.
    """
    logits = empty_logits(x, weight.shape[0])
    if logits.numel():
        with on_device_of(x):
            forward_launch(logits, x, weight, beta).run()
    return logits


def backward(grad, x, weight, beta, *, wants):
    """The wanted gradients in the order x, weight, beta, each like what it belongs to; grad may have any strides."""
    return wanted_gradients((x, weight, beta), wants, lambda slots: backward_launches(grad, x, weight, slots))


def forward_launch(logits, x, weight, beta):
    """The launch that fills logits."""
    beta_strides = None if beta is None else beta.stride()
    planned = map_plan.forward(x.shape, x.stride(), weight.shape[0], weight.stride(), beta_strides, logits.stride())
    arguments = {
        "logits": logits,
        "x": x.contiguous() if planned.x_copied else x,
        "weight": weight.contiguous() if planned.weight_copied else weight,
        "beta": beta.contiguous() if planned.beta_copied else beta,
    }
    return planned.apply.on(arguments)


def backward_launches(grad, x, weight, slots):
    """The launches that fill the slots: tensors for the gradients of x, weight and beta, None where not wanted."""
    grad_x, grad_weight, grad_beta = slots
    wants = tuple(slot is not None for slot in slots)
    grad_x_strides = grad_x.stride() if wants[0] else None
    strides = x.stride(), weight.shape[0], weight.stride(), grad.stride(), grad_x_strides
    planned = map_plan.backward(x.shape, *strides, wants)
    rows = workspace(x, planned.rows)
    sums = (grad_weight, grad_beta) if rows is None else (rows, rows[:, planned.weight_end :])
    arguments = {
        "grad_x": grad_x,
        "grad_weight": sums[0] if wants[1] else None,
        "grad_beta": sums[1] if wants[2] else None,
        "grad": grad.contiguous() if planned.grad_copied else grad,
        "x": x.contiguous() if planned.x_copied else x,
        "weight": weight.contiguous() if planned.weight_copied else weight,
    }
    yield planned.apply.on(arguments)
    if planned.summing:
        # One that is not wanted has the type of one that is, so that no other kernel is compiled for it.
        stand_in = grad_beta if grad_weight is None else grad_weight
        gradients = [stand_in if slot is None else slot for slot in slots[1:]]
        places = (*gradients, *[stand_in] * (reduction.GRADIENTS - 2))
        yield planned.summing.on({"gradients": places, "rows": rows, "last": None, "last_gradients": None})
