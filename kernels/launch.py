"""From tensors to launches: one for the forward, at most three for the backward, on the device of the features."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import accumulate

import torch

from nerd_fast.kernels import tiling
from nerd_fast.kernels.apply_backward import apply_backward
from nerd_fast.kernels.apply_forward import apply_forward
from nerd_fast.kernels.calibrator_backward import calibrator_backward
from nerd_fast.kernels.layout import destination, empty_logits, flat_positions
from nerd_fast.kernels.reduction import sum_rows

SUM_ROWS = {"R": 16, "U": 64}  # 16 rows of 64 columns, 8 loads in flight for each of 128 threads


@dataclass(frozen=True)
class Launch:
    """One kernel launch: `kernel[(programs,)](*arguments, **constants, **options)`."""

    kernel: object
    programs: int
    arguments: tuple
    constants: dict
    options: dict = field(default_factory=dict)

    def run(self):
        self.kernel[(self.programs,)](*self.arguments, **self.constants, **self.options)


def forward(x, classifier, weights, biases, bias, *, out_channels, origin, extent, activation, scale, precision):
    """Logits (B, K, *spatial) in x's dtype and memory format, from one launch.

    x (B, C, *spatial); classifier (K, C), None for NeRDc; weights and biases of the calibrator; bias (K,) or None;
    scale None for "extent", else the factor of pixel distances; origin and extent of the window in pixels;
    precision "ieee", "tf32x3" or "tf32". Nothing is validated here.
    """
    logits = empty_logits(x, out_channels)
    if logits.numel():
        head = head_of(x, classifier, weights, out_channels, activation, scale, precision)
        launch = forward_launch(Call(head, x, classifier, weights, biases, origin, extent), logits, bias)
        with on_device_of(x):
            launch.run()
    return logits


def backward(
    grad, x, classifier, weights, biases, bias, *, out_channels, origin, extent, activation, scale, precision, wants
):
    """The wanted gradients in the order x, classifier, bias, *weights, *biases, each like what it belongs to.

    grad (B, K, *spatial) may have any strides; the rest is as in `forward`.
    """
    owners = (x, classifier, bias, *weights, *biases)
    if not x.numel():
        return [torch.zeros_like(owner) for owner, want in zip(owners, wants, strict=True) if want]
    gradients = [torch.empty_like(owner) if want else None for owner, want in zip(owners, wants, strict=True)]
    slots = [None if g is None else destination(g, is_features=i == 0) for i, g in enumerate(gradients)]
    head = head_of(x, classifier, weights, out_channels, activation, scale, precision)
    launches = backward_launches(Call(head, x, classifier, weights, biases, origin, extent), grad, slots)
    with on_device_of(x):
        for launch in launches:
            launch.run()
        for gradient, slot in zip(gradients, slots, strict=True):
            if gradient is not slot:
                gradient.copy_(slot)
    return [gradient for gradient in gradients if gradient is not None]


def head_of(x, classifier, weights, out_channels, activation, scale, precision):
    """What the kernels are specialised on."""
    return tiling.Head(
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


class Call:
    """One call of a head: the features as (B, C, N), contiguous parameters, and where the window lies in the image."""

    def __init__(self, head, x, classifier, weights, biases, origin, extent):
        self.head = head
        self.batch, self.positions = x.shape[0], x.shape[2:].numel()
        self.x, stride_p = flat_positions(x)
        self.x_strides = (self.x.stride(0), self.x.stride(1), stride_p)
        self.classifier = None if classifier is None else classifier.contiguous()
        self.weights = tuple(weight.contiguous() for weight in weights)
        self.biases = tuple(b.contiguous() for b in biases)
        flat = len(origin) == 2
        self.geometry = (*x.shape[-2:], *((0, *origin) if flat else origin), *((1, *extent) if flat else extent))

    @property
    def aligned(self):
        """Whether Triton can prove that 16 neighbours in memory, along positions or channels, are there and aligned."""
        stride_b, stride_c, stride_p = self.x_strides
        if stride_p == 1:
            return not (self.positions % 16 or stride_c % 16 or stride_b % 16)
        return stride_c == 1 and not (self.head.in_channels % 16 or stride_p % 16 or stride_b % 16)

    @property
    def constants(self):
        """The constants of the calibrator, the same in every kernel."""
        return {
            "HIDDEN": self.head.hidden_channels,
            "PADDED": self.head.padded,
            "SPATIAL_DIMS": self.head.spatial_dims,
            "ACTIVATION": self.head.activation,
            "SCALE": self.head.scale,
            "PRECISION": self.head.precision,
        }

    @property
    def parameter_offsets(self):
        """Where the calibrator's parameters begin in a row of partial sums: weight, bias, weight, ..., and the end."""
        sizes = (t.numel() for pair in zip(self.weights, self.biases, strict=True) for t in pair)
        return (0, *accumulate(sizes))

    def cover(self, tile):
        """How many tiles cover the positions, and over how many programs the batch of a tile is shared out."""
        tiles = -(-self.positions // tile.positions)
        return tiles, tiling.shares(tiles, self.batch)


def forward_launch(call, logits, bias):
    """The launch that fills logits."""
    tile = tiling.forward(call.head)
    tiles, shares = call.cover(tile)
    logits, stride_p = flat_positions(logits)
    arguments = (
        logits,
        call.x,
        call.classifier,
        call.weights,
        call.biases,
        None if bias is None else bias.contiguous(),
        logits.stride(0),
        logits.stride(1),
        stride_p,
        *call.x_strides,
        call.positions,
        call.batch,
        *call.geometry,
        shares,
    )
    constants = _map_constants(call, tile) | {"G": tile.classes}
    return Launch(apply_forward, tiles * shares, arguments, constants, _options(tile))


def backward_launches(call, grad, slots):
    """The launches that fill the slots: a tensor for each wanted gradient in the order of `backward`, else None."""
    head = call.head
    wants_f = any(slot is not None for slot in slots[3:])
    wants_rows = slots[1] is not None or slots[2] is not None
    tile = tiling.apply_backward(head, call.aligned)
    tiles, shares = call.cover(tile)
    grad_f = rows = None
    if wants_f:
        grad_f = _workspace(grad, shares, head.outputs, tiles * tile.positions)
    if wants_rows:
        rows = _workspace(grad, tiles * shares, head.out_channels * (head.in_channels + 1))
    launches = [_apply_launch(call, grad, slots, grad_f, rows, tile, tiles, shares)]
    offsets = call.parameter_offsets
    if wants_f:
        launch = _calibrator_launch(call, grad_f, rows)
        launches.append(launch)
        rows = launch.arguments[0]
    starts = _row_starts(offsets if wants_f else (0,), head, len(call.weights))
    wanted = [(slot, start) for slot, start in zip(slots[1:], starts, strict=True) if slot is not None]
    if wanted:
        launches.append(_reduction_launch(rows, *zip(*wanted, strict=True)))
    return launches


def _apply_launch(call, grad, slots, grad_f, rows, tile, tiles, shares):
    grad, grad_stride_p = flat_positions(grad)
    grad_x = slots[0]
    grad_x_strides = (0, 0, 0)
    if grad_x is not None:
        grad_x, stride_p = flat_positions(grad_x)
        grad_x_strides = (grad_x.stride(0), grad_x.stride(1), stride_p)
    arguments = (
        grad_x,
        grad_f,
        rows,
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
    wants = {
        "WANTS_X": grad_x is not None,
        "WANTS_F": grad_f is not None,
        "WANTS_CLASSIFIER": slots[1] is not None,
        "WANTS_BIAS": slots[2] is not None,
    }
    return Launch(apply_backward, tiles * shares, arguments, _map_constants(call, tile) | wants, _options(tile))


def _calibrator_launch(call, grad_f, apply_rows):
    tile = tiling.calibrator_backward(call.head)
    offsets = call.parameter_offsets
    tiles = -(-call.positions // tile.positions)
    programs = tiling.row_programs(tiles)
    apply_programs, columns = (0, 0) if apply_rows is None else apply_rows.shape
    rows = _workspace(grad_f, programs, offsets[-1] + columns)
    arguments = (
        rows,
        grad_f,
        apply_rows,
        call.weights,
        call.biases,
        call.positions,
        grad_f.shape[2],
        tiles,
        apply_programs,
        *call.geometry,
        grad_f.shape[0],
    )
    constants = {
        "OUTPUTS": call.head.outputs,
        "APPLY_COLUMNS": columns,
        "OFFSETS": offsets,
        **call.constants,
        "P": tile.positions,
        "DEPTH": tile.depth,
    }
    return Launch(calibrator_backward, programs, arguments, constants, _options(tile))


def _row_starts(offsets, head, layers):
    """Where each parameter begins in a row, in the order classifier, bias, *weights, *biases."""
    apply = offsets[-1]
    pairs = offsets[:-1] if len(offsets) > 1 else (0,) * (2 * layers)
    return (apply, apply + head.out_channels * head.in_channels, *pairs[::2], *pairs[1::2])


def _reduction_launch(rows, gradients, starts):
    sizes = tuple(gradient.numel() for gradient in gradients)
    programs = sum(-(-size // SUM_ROWS["U"]) for size in sizes)
    constants = {"COLUMNS": starts, "SIZES": sizes, **SUM_ROWS}
    return Launch(sum_rows, programs, (gradients, rows, *rows.shape), constants, {"num_warps": 4, "num_stages": 1})


def _map_constants(call, tile):
    return {
        "MODULATES": call.head.modulates,
        "C": call.head.in_channels,
        "K": call.head.out_channels,
        **call.constants,
        "P": tile.positions,
        "S": tile.samples,
        "T": tile.channels,
        "DEPTH": tile.depth,
    }


def _options(tile):
    # Pipelining (num_stages) costs registers; Triton 3.10 turns fusion to FMA off unless it is asked for.
    return {"num_warps": tile.num_warps, "num_stages": 1, "enable_fp_fusion": True, "maxnreg": tile.registers}


def _workspace(like, *shape):
    return torch.empty(shape, dtype=torch.float32, device=like.device)


def on_device_of(x):
    """Triton launches on the current device: make it the one that holds the features."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()
