"""From tensors to launches: allocations, strides, and the device they run on."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import accumulate

import torch
import triton

from nerd_fast.kernels import tiling
from nerd_fast.kernels.apply_backward import apply_backward
from nerd_fast.kernels.calibrator_backward import calibrator_backward
from nerd_fast.kernels.forward import forward_kernel
from nerd_fast.kernels.reduction import sum_rows


@dataclass(frozen=True)
class Launch:
    """One kernel launch: what `kernel[(programs,)](*arguments, **constants, **options)` would run."""

    kernel: object
    programs: int
    arguments: tuple
    constants: dict
    options: dict = field(default_factory=dict)

    def run(self):
        self.kernel[(self.programs,)](*self.arguments, **self.constants, **self.options)


def forward(x, classifier, weights, biases, bias, *, out_channels, activation, scale, origin, extent, precision):
    """Logits (B, K, *spatial) in x's dtype and memory format, from one launch."""
    logits = empty_logits(x, out_channels)
    if logits.numel():
        call = Call(x, classifier, weights, biases, out_channels, activation, scale, origin, extent, precision)
        launch = forward_launch(call, logits, bias)
        with on_device(x):
            launch.run()
    return logits


def backward(
    grad, x, classifier, weights, biases, bias, *, out_channels, activation, scale, origin, extent, precision, wants
):
    """The wanted gradients in the order x, classifier, bias, *weights, *biases, from at most three launches."""
    owners = (x, classifier, bias, *weights, *biases)
    wanted = [owner for owner, want in zip(owners, wants, strict=True) if want]
    if not x.numel():
        return [torch.zeros_like(owner) for owner in wanted]
    call = Call(x, classifier, weights, biases, out_channels, activation, scale, origin, extent, precision)
    gradients = [torch.empty_like(owner) for owner in wanted]
    destinations = [
        gradient if _is_flat(gradient) else torch.empty_like(gradient, memory_format=torch.contiguous_format)
        for gradient in gradients
    ]
    by_owner = iter(destinations)
    slots = [next(by_owner) if want else None for want in wants]
    launches = backward_launches(call, grad, slots, wants)
    with on_device(x):
        for launch in launches:
            launch.run()
        for gradient, destination in zip(gradients, destinations, strict=True):
            if gradient is not destination:
                gradient.copy_(destination)
    return gradients


class Call:
    """One call of a head: the features as (B, C, N), the contiguous parameters, and what the kernels specialise on."""

    def __init__(self, x, classifier, weights, biases, out_channels, activation, scale, origin, extent, precision):
        self.x, self.stride_p = flat_positions(x)
        self.classifier = None if classifier is None else classifier.contiguous()
        self.weights = tuple(weight.contiguous() for weight in weights)
        self.biases = tuple(b.contiguous() for b in biases)
        self.batch, self.positions = x.shape[0], x[0, 0].numel()
        self.head = tiling.Head(
            modulates=classifier is not None,
            in_channels=x.shape[1],
            out_channels=out_channels,
            hidden_channels=tuple(weight.shape[0] for weight in weights[:-1]),
            spatial_dims=x.dim() - 2,
            activation=activation,
            scale=scale,
            precision=precision,
            capability=torch.cuda.get_device_capability(x.device) if x.is_cuda else None,
        )
        depth = (0,) * (3 - len(origin))
        self.geometry = (*x.shape[-2:], *depth, *origin, *(1 for _ in depth), *extent)

    @property
    def x_strides(self):
        return self.x.stride(0), self.x.stride(1), self.stride_p

    @property
    def calibrator(self):
        """The constants of the calibrator, the same in every kernel."""
        head = self.head
        return {
            "HIDDEN": head.hidden_channels,
            "PADDED": head.padded,
            "SPATIAL_DIMS": head.spatial_dims,
            "ACTIVATION": head.activation,
            "SCALE": head.scale,
            "PRECISION": head.precision,
        }


def forward_launch(call, logits, bias):
    head, tile = call.head, tiling.forward(call.head)
    tiles = triton.cdiv(call.positions, tile.positions)
    shares = tiling.shares(tiles, call.batch, tile.samples)
    logits, stride_p = flat_positions(logits)
    arguments = (
        logits,
        call.x,
        call.classifier,
        call.weights,
        call.biases,
        bias if bias is None else bias.contiguous(),
        logits.stride(0),
        logits.stride(1),
        stride_p,
        *call.x_strides,
        call.positions,
        call.batch,
        *call.geometry,
        shares,
    )
    constants = {
        "MODULATES": head.modulates,
        "C": head.in_channels,
        "K": head.out_channels,
        **call.calibrator,
        **_tile_constants(tile),
    }
    return Launch(forward_kernel, tiles * shares, arguments, constants, options(tile))


def backward_launches(call, grad, slots, wants):
    """The launches that fill the slots, one contiguous (for x: flat) tensor for each wanted gradient, else None."""
    head = call.head
    wants_x, wants_classifier, wants_bias = wants[:3]
    wants_f = any(wants[3:])
    grad, grad_stride_p = flat_positions(grad)
    tile = tiling.apply_backward(head)
    tiles = triton.cdiv(call.positions, tile.positions)
    shares = tiling.shares(tiles, call.batch, tile.samples)
    columns = head.out_channels * (head.in_channels + 1)
    workspace = {"dtype": torch.float32, "device": grad.device}
    grad_f = torch.empty(shares, head.outputs, tiles * tile.positions, **workspace) if wants_f else None
    apply_rows = torch.empty(tiles * shares, columns, **workspace) if wants_classifier or wants_bias else None
    if wants_x:
        grad_x, stride_dp = flat_positions(slots[0])
        grad_x_strides = (grad_x.stride(0), grad_x.stride(1), stride_dp)
    else:
        grad_x, grad_x_strides = None, (0, 0, 0)
    arguments = (
        grad_x,
        grad_f,
        apply_rows,
        grad,
        call.x,
        call.classifier,
        call.weights,
        call.biases,
        *grad_x_strides,
        grad.stride(0),
        grad.stride(1),
        grad_stride_p,
        *call.x_strides,
        call.positions,
        call.batch,
        *call.geometry,
        shares,
        tiles,
    )
    constants = {
        "MODULATES": head.modulates,
        "C": head.in_channels,
        "K": head.out_channels,
        **call.calibrator,
        "WANTS_X": wants_x,
        "WANTS_F": wants_f,
        "WANTS_CLASSIFIER": wants_classifier,
        "WANTS_BIAS": wants_bias,
        **_tile_constants(tile),
    }
    launches = [Launch(apply_backward, tiles * shares, arguments, constants, options(tile))]

    pieces = [t for pair in zip(call.weights, call.biases, strict=True) for t in pair]
    offsets = (0, *accumulate(piece.numel() for piece in pieces))
    rows, first = apply_rows, 0
    if wants_f:
        rows, first = torch.empty(0), offsets[-1]
        launch, rows = _calibrator_launch(call, grad_f, apply_rows, shares, tiles, columns, offsets, workspace)
        launches.append(launch)
    layers = len(call.weights)
    starts = {
        1: first,
        2: first + head.out_channels * head.in_channels,
        **{3 + layer: offsets[2 * layer] for layer in range(layers)},
        **{3 + layers + layer: offsets[2 * layer + 1] for layer in range(layers)},
    }
    chosen = [i for i in range(1, len(slots)) if slots[i] is not None]
    if chosen:
        launches.append(_reduction_launch(rows, [slots[i] for i in chosen], [starts[i] for i in chosen]))
    return launches


def _calibrator_launch(call, grad_f, apply_rows, shares, apply_tiles, columns, offsets, workspace):
    head, tile = call.head, tiling.calibrator_backward(call.head)
    tiles = triton.cdiv(call.positions, tile.positions)
    programs = tiling.row_programs(tiles)
    columns = 0 if apply_rows is None else columns
    rows = torch.empty(programs, offsets[-1] + columns, **workspace)
    arguments = (
        rows,
        grad_f,
        apply_rows,
        call.weights,
        call.biases,
        call.positions,
        grad_f.shape[2],
        tiles,
        0 if apply_rows is None else apply_rows.shape[0],
        *call.geometry,
        shares,
    )
    constants = {
        "OUTPUTS": head.outputs,
        "APPLY_COLUMNS": columns,
        "OFFSETS": offsets,
        **call.calibrator,
        "P": tile.positions,
        "DEPTH": tile.depth,
    }
    return Launch(calibrator_backward, programs, arguments, constants, options(tile)), rows


def _reduction_launch(rows, gradients, starts):
    sizes = tuple(gradient.numel() for gradient in gradients)
    programs = sum(triton.cdiv(size, 64) for size in sizes)
    arguments = (tuple(gradients), rows, rows.shape[0], rows.shape[1])
    constants = {"COLUMNS": tuple(starts), "SIZES": sizes, "R": 16, "U": 64}
    return Launch(sum_rows, programs, arguments, constants, {"num_warps": 4})


def _tile_constants(tile):
    return {"P": tile.positions, "S": tile.samples, "G": tile.classes, "T": tile.channels, "DEPTH": tile.depth}


def options(tile):
    return {"num_warps": tile.num_warps, "num_stages": 1, "enable_fp_fusion": True}


def flat_positions(t):
    """t (B, C, *spatial) and the stride from one position to the next; a copy where no single stride leads there."""
    stride = position_stride(t)
    if stride is None:
        t = t.contiguous()
        stride = 1
    return t, stride


def position_stride(t):
    """The stride between neighbours in the flattened positions of t (B, C, *spatial), None where there is none."""
    stride, reach = None, None
    for size, step in zip(reversed(t.shape[2:]), reversed(t.stride()[2:]), strict=True):
        if size == 1:
            continue
        if stride is None:
            stride = step
        elif step != reach:
            return None
        reach = step * size
    return 1 if stride is None else stride


def empty_logits(x, out_channels):
    """Unwritten logits in x's dtype, channels_last where x is so and not contiguous as well."""
    shape = (x.shape[0], out_channels, *x.shape[2:])
    last = x.dim() > 3 and not x.is_contiguous() and x.shape[1] > 1 and x.stride(1) == 1
    channels_last = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
    return torch.empty(
        shape, dtype=x.dtype, device=x.device, memory_format=channels_last if last else torch.contiguous_format
    )


def _is_flat(gradient):
    return (
        gradient.is_contiguous() or position_stride(gradient) is not None
        if gradient.dim() > 3
        else gradient.is_contiguous()
    )


def on_device(x):
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()
