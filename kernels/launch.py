"""From tensors to launches: one for the forward, at most three for the backward, on the device of the features.

Arguments reach a kernel by name: what a launch passes and what the kernel's signature lists meet in one place, Python's
own binding, which refuses a name too many and one too few.
"""

from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import accumulate

import torch

from nerd_fast.kernels import reduction, tiling
from nerd_fast.kernels.apply_backward import apply_backward
from nerd_fast.kernels.apply_forward import apply_forward
from nerd_fast.kernels.calibrator_backward import calibrator_backward
from nerd_fast.kernels.layout import destination, empty_logits, flat_positions


@dataclass(frozen=True)
class Launch:
    """One kernel launch: `kernel[(programs,)](**arguments, **constants, **options)`.

    `arguments` are tensors and integers, `constants` the kernel's constexprs, both by name.
    """

    kernel: object
    programs: int
    arguments: dict
    constants: dict
    options: dict = field(default_factory=dict)

    def run(self):
        """Launches; the compiled kernel, None in the interpreter."""
        return self.kernel[(self.programs,)](**self.arguments, **self.constants, **self.options)


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
        self.window = _window(x.shape[2:], origin, extent)

    @property
    def aligned(self):
        """Whether Triton can prove that 16 neighbours in memory, along positions or channels, are there and aligned."""
        stride_b, stride_c, stride_p = self.x_strides
        if stride_p == 1:
            return not (self.positions % 16 or stride_c % 16 or stride_b % 16)
        return stride_c == 1 and not (self.head.in_channels % 16 or stride_p % 16 or stride_b % 16)

    @property
    def calibrator(self):
        """The arguments of the calibrator, the same in every kernel."""
        return {"weights": self.weights, "biases": self.biases, "positions": self.positions, **self.window}

    @property
    def features(self):
        """The arguments of the features and the classifier, the same in both kernels that stream them."""
        strides = _strides("stride_xb", "stride_xc", "stride_xp", self.x_strides)
        return {"x": self.x, "classifier": self.classifier, "batch": self.batch, **strides}

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
    arguments = {
        "logits": logits,
        "bias": None if bias is None else bias.contiguous(),
        **_strides("stride_sb", "stride_sk", "stride_sp", (logits.stride(0), logits.stride(1), stride_p)),
        **call.features,
        **call.calibrator,
        "shares": shares,
    }
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
    if wants_f:
        launches.append(_calibrator_launch(call, grad_f, rows, slots))
        rows = launches[-1].arguments["rows"]
    if wants_f or wants_rows:
        launches.append(_reduction_launch(call, rows, slots, wants_f))
    return launches


def _apply_launch(call, grad, slots, grad_f, rows, tile, tiles, shares):
    grad, grad_stride_p = flat_positions(grad)
    grad_x = slots[0]
    grad_x_strides = (0, 0, 0)
    if grad_x is not None:
        grad_x, stride_p = flat_positions(grad_x)
        grad_x_strides = (grad_x.stride(0), grad_x.stride(1), stride_p)
    arguments = {
        "grad_x": grad_x,
        "grad_f": grad_f,
        "rows": rows,
        "grad": grad,
        **_strides("stride_db", "stride_dc", "stride_dp", grad_x_strides),
        **_strides("stride_gb", "stride_gk", "stride_gp", (grad.stride(0), grad.stride(1), grad_stride_p)),
        **call.features,
        **call.calibrator,
        "shares": shares,
        "tiles": tiles,
    }
    wants = {
        "WANTS_X": grad_x is not None,
        "WANTS_F": grad_f is not None,
        "WANTS_CLASSIFIER": slots[1] is not None,
        "WANTS_BIAS": slots[2] is not None,
    }
    return Launch(apply_backward, tiles * shares, arguments, _map_constants(call, tile) | wants, _options(tile))


def _calibrator_launch(call, grad_f, apply_rows, slots):
    tile = tiling.calibrator_backward(call.head)
    offsets = call.parameter_offsets
    tiles = -(-call.positions // tile.positions)
    programs = tiling.row_programs(tiles)
    apply_programs, apply_columns = (0, 0) if apply_rows is None else apply_rows.shape
    classifier_columns = call.head.out_channels * call.head.in_channels
    arguments = {
        "rows": _workspace(grad_f, programs, offsets[-1] + apply_columns),
        "grad_f": grad_f,
        "apply_rows": apply_rows,
        **call.calibrator,
        "grad_f_width": grad_f.shape[2],
        "tiles": tiles,
        "shares": grad_f.shape[0],
        "apply_programs": apply_programs,
        # the apply pass has written the columns of the classifier, then of the bias, where they are wanted
        "first_apply_column": classifier_columns if slots[1] is None else 0,
        "last_apply_column": classifier_columns if slots[2] is None else apply_columns,
    }
    constants = {
        "OUTPUTS": call.head.outputs,
        "APPLY_COLUMNS": apply_columns,
        "OFFSETS": offsets,
        **call.constants,
        "P": tile.positions,
        "DEPTH": tile.depth,
    }
    return Launch(calibrator_backward, programs, arguments, constants, _options(tile))


def _reduction_launch(call, rows, slots, wants_f):
    """The launch that sums the rows: the calibrator's parameters where they are wanted, the classifier's and the bias'.

    A row lists the parameters layer by layer, weight and bias, in as many places as the deepest calibrator has.
    """
    head, layers = call.head, len(call.weights)
    absent = reduction.GRADIENTS - 2 * layers - 2
    calibrator = [slot for pair in zip(slots[3 : 3 + layers], slots[3 + layers :], strict=True) for slot in pair]
    gradients = [*calibrator, *[None] * absent, slots[1], slots[2]]
    offsets = call.parameter_offsets if wants_f else (0,) * (2 * layers + 1)
    classifier_end = offsets[-1] + head.out_channels * head.in_channels
    ends = (*offsets[1:], *[offsets[-1]] * absent, classifier_end, classifier_end + head.out_channels)
    # One that is not wanted has the type of one that is, so that no other kernel is compiled for it.
    stand_in = next(gradient for gradient in gradients if gradient is not None)
    arguments = {
        "gradients": tuple(stand_in if gradient is None else gradient for gradient in gradients),
        "rows": rows,
        "count": rows.shape[0],
        "width": rows.shape[1],
        "wanted": sum(1 << i for i, gradient in enumerate(gradients) if gradient is not None),
        **dict(zip(reduction.ENDS, ends, strict=True)),
    }
    constants = {"ROWS_AT_ONCE": reduction.ROWS_AT_ONCE, "COLUMNS": reduction.COLUMNS}
    programs = -(-rows.shape[1] // reduction.COLUMNS)
    return Launch(reduction.sum_rows, programs, arguments, constants, {"num_warps": 4, "num_stages": 1})


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


def _window(spatial, origin, extent):
    """Where the positions lie: height and width of x's last axes, the window's origin, the image's extent; in pixels.

    In 2-D the depth is one.
    """
    flat = len(spatial) == 2
    depth, row, column = (0, *origin) if flat else origin
    whole_depth, whole_height, whole_width = (1, *extent) if flat else extent
    return {
        "height": spatial[-2],
        "width": spatial[-1],
        "origin_d": depth,
        "origin_h": row,
        "origin_w": column,
        "extent_d": whole_depth,
        "extent_h": whole_height,
        "extent_w": whole_width,
    }


def _strides(batch, channel, position, strides):
    """The strides of a (B, C, N) tensor under the names of a kernel's arguments."""
    return dict(zip((batch, channel, position), strides, strict=True))


def _workspace(like, *shape):
    return torch.empty(shape, dtype=torch.float32, device=like.device)


def on_device_of(x):
    """Triton launches on the current device: make it the one that holds the features."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()
