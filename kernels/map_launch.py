"""From tensors to launches of a position map: one for the forward, at most two for the backward."""

import torch

from nerd_fast.kernels import map_tiling, reduction
from nerd_fast.kernels.launch import Launch, on_device_of
from nerd_fast.kernels.layout import destination, empty_logits, flat_positions
from nerd_fast.kernels.map_backward import map_backward
from nerd_fast.kernels.map_forward import map_forward


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
    owners = (x, weight, beta)
    if not x.numel():
        return [torch.zeros_like(owner) for owner, want in zip(owners, wants, strict=True) if want]
    gradients = [torch.empty_like(owner) if want else None for owner, want in zip(owners, wants, strict=True)]
    slots = [
        None if gradient is None else destination(gradient, is_features=i == 0) for i, gradient in enumerate(gradients)
    ]
    with on_device_of(x):
        for launch in backward_launches(grad, x, weight, slots):
            launch.run()
        for gradient, slot in zip(gradients, slots, strict=True):
            if gradient is not slot:
                gradient.copy_(slot)
    return [gradient for gradient in gradients if gradient is not None]


def forward_launch(logits, x, weight, beta):
    """The launch that fills logits."""
    classes, channels = weight.shape[:2]
    adjacent = adjacency(x)
    tile = map_tiling.forward(channels, classes, adjacent)
    programs = -(-x.shape[2:].numel() // tile.positions) * -(-classes // tile.class_step)
    shares = map_tiling.shares(programs, x.shape[0], tile.samples)
    arguments = {
        **_features("logits", logits, "class"),
        **_features("x", x, "channel"),
        **_weight(weight),
        **_beta(beta),
        "positions": x.shape[2:].numel(),
        "batch": x.shape[0],
        "shares": shares,
    }
    constants = {
        "CHANNELS": channels,
        "CLASSES": classes,
        "CHANNELS_ADJACENT": adjacent == "channels",
        "ROWS": tile.rows,
        "POSITIONS": tile.positions,
        "TURNS": tile.turns,
        "CHANNEL_STEP": tile.channel_step,
        "CLASS_STEP": tile.class_step,
    }
    return Launch(map_forward, programs * shares, arguments, constants, _OPTIONS)


def backward_launches(grad, x, weight, slots):
    """The launches that fill the slots: tensors for the gradients of x, weight and beta, None where not wanted.

    With more than one share of the batch the sums of each go to a row of a workspace, and a second launch adds them.
    """
    grad_x, grad_weight, grad_beta = slots
    classes, channels = weight.shape[:2]
    positions = x.shape[2:].numel()
    tile = map_tiling.backward(channels, classes, adjacency(x))
    programs = -(-positions // tile.positions) * -(-channels // tile.channels)
    wants_sums = grad_weight is not None or grad_beta is not None
    shares = map_tiling.shares(programs, x.shape[0], tile.samples)
    rows, sums = None, (grad_weight, grad_beta)
    weight_end = 0 if grad_weight is None else grad_weight.numel()
    if wants_sums and shares > 1:
        width = weight_end + (0 if grad_beta is None else grad_beta.numel())
        rows = torch.empty(shares, width, dtype=torch.float32, device=x.device)
        sums = rows, rows[:, weight_end:]
    arguments = {
        **_features("grad_x", grad_x, "channel"),
        "grad_weight": sums[0] if grad_weight is not None else None,
        "grad_weight_stride_class": channels * positions,
        "grad_weight_stride_channel": positions,
        "grad_beta": sums[1] if grad_beta is not None else None,
        "grad_beta_stride_class": positions,
        "stride_share": 0 if rows is None else rows.shape[1],
        **_features("grad", grad, "class"),
        **_features("x", x, "channel"),
        **_weight(weight),
        "positions": positions,
        "batch": x.shape[0],
        "shares": shares,
    }
    constants = {
        "CHANNELS": channels,
        "CLASSES": classes,
        "WANTS_X": grad_x is not None,
        "WANTS_WEIGHT": grad_weight is not None,
        "WANTS_BETA": grad_beta is not None,
        "POSITIONS": tile.positions,
        "CHANNELS_AT_ONCE": tile.channels,
        "SAMPLES": tile.samples,
    }
    launches = [Launch(map_backward, programs * shares, arguments, constants, _OPTIONS)]
    if rows is not None:
        launches.append(_sum_launch(rows, (grad_weight, grad_beta), (weight_end, rows.shape[1])))
    return launches


def _sum_launch(rows, gradients, ends):
    """The launch that sums the rows of the workspace into those gradients, of two, that are not None."""
    absent = reduction.GRADIENTS - len(gradients)
    stand_in = next(gradient for gradient in gradients if gradient is not None)
    slots = tuple(stand_in if gradient is None else gradient for gradient in (*gradients, *[None] * absent))
    arguments = {
        "gradients": slots,
        "rows": rows,
        "count": rows.shape[0],
        "width": rows.shape[1],
        "wanted": sum(1 << i for i, gradient in enumerate(gradients) if gradient is not None),
        **dict(zip(reduction.ENDS, (*ends, *[ends[-1]] * absent), strict=True)),
    }
    constants = {"ROWS_AT_ONCE": reduction.ROWS_AT_ONCE, "COLUMNS": reduction.COLUMNS}
    programs = -(-rows.shape[1] // reduction.COLUMNS)
    return Launch(reduction.sum_rows, programs, arguments, constants, _OPTIONS)


def adjacency(x):
    """ "positions" or "channels" where Triton can prove that neighbours of these lie side by side and aligned in x."""
    x, stride_position = flat_positions(x)
    stride_batch, stride_channel = x.stride()[:2]
    positions, channels = x.shape[2:].numel(), x.shape[1]
    if stride_position == 1 and not (positions % 16 or stride_channel % 16 or stride_batch % 16):
        return "positions"
    if stride_channel == 1 and not (channels % 4 or stride_position % 16 or stride_batch % 16):
        return "channels"
    return None


def _features(name, tensor, axis):
    """The arguments of a tensor (B, C, *spatial) or (B, K, *spatial) of this name, with its strides."""
    strides, flat = (0, 0, 0), None
    if tensor is not None:
        flat, stride_position = flat_positions(tensor)
        strides = (flat.stride(0), flat.stride(1), stride_position)
    names = (f"{name}_stride_batch", f"{name}_stride_{axis}", f"{name}_stride_position")
    return {name: flat, **dict(zip(names, strides, strict=True))}


def _weight(weight):
    flat, stride_position = flat_positions(weight)
    return {
        "weight": flat,
        "weight_stride_class": flat.stride(0),
        "weight_stride_channel": flat.stride(1),
        "weight_stride_position": stride_position,
    }


def _beta(beta):
    if beta is None:
        return {"beta": None, "beta_stride_class": 0, "beta_stride_position": 0}
    flat, stride_position = flat_positions(beta[None])
    return {"beta": flat, "beta_stride_class": flat.stride(1), "beta_stride_position": stride_position}


# Pipelining (num_stages) costs registers; Triton 3.10 turns fusion to FMA off unless it is asked for.
_OPTIONS = {"num_warps": map_tiling.WARPS, "num_stages": 1, "enable_fp_fusion": True}
