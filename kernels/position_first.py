"""The calibrator's hidden layers as its backward needs them where they are wide: tiles (positions, units).

There a gradient of a weight is a sum over positions, d^T h, and the gradient of a layer's input d W, the weight as it
lies in memory: both take d and h with positions first. The kernels that stream features have units first, as
in `calibrator_outputs`, whose products read the weight as it lies.

Widths are padded to powers of two of at least 16 (`tl.dot` needs that); padded units have zero weights and biases, and
every activation keeps zero. Products whose inner size exceeds INNER run in steps of INNER: an FMA product keeps a whole
row of its operands in registers, and would spill them at widths of 64.
"""

import triton
import triton.language as tl

from nerd_fast.kernels.calibrator import activate, fenced_product


@triton.jit
def first_layer(v, units, weight, bias, WIDTH: tl.constexpr, SPATIAL_DIMS: tl.constexpr):
    """Pre-activations (positions, units) of the given units of the first layer; weight (WIDTH, 2 SPATIAL_DIMS)."""
    inside = units < WIDTH
    z = tl.load(bias + units, mask=inside, other=0.0).to(tl.float32)[None, :]
    for direction in tl.static_range(2 * SPATIAL_DIMS):
        w = tl.load(weight + units * (2 * SPATIAL_DIMS) + direction, mask=inside, other=0.0).to(tl.float32)
        z = tl.fma(v[direction][:, None], w[None, :], z)
    return z


@triton.jit
def layer(h, outputs, inside, weight, bias, IN: tl.constexpr, INNER: tl.constexpr, PRECISION: tl.constexpr):
    """Pre-activations (positions, outputs) of the given outputs of a later layer from h (positions, padded IN).

    weight (.., IN)
    """
    z = tl.load(bias + outputs, mask=inside, other=0.0).to(tl.float32)[None, :]
    z = tl.broadcast_to(z, [h.shape[0], outputs.shape[0]])
    if h.shape[1] <= INNER:
        return fenced_product(h, _columns_transposed(weight, outputs, inside, 0, IN, h.shape[1]), z, PRECISION)
    else:
        for step in range(0, h.shape[1] // INNER):
            w = _columns_transposed(weight, outputs, inside, step * INNER, IN, INNER)
            z = fenced_product(columns(h, step, INNER), w, z, PRECISION)
        return z


@triton.jit
def _columns_transposed(weight, outputs, inside, start, IN: tl.constexpr, COUNT: tl.constexpr):
    """Weights (units, outputs) of the units [start, start + COUNT); weight (.., IN).

    Taken for scattered, they lie with the outputs of a unit side by side in shared memory, as the lanes of a warp read
    them: 11,530 wavefronts a warp at hidden (64, 64), C 16, where they are 16,010 the other way round.
    """
    units = start + tl.arange(0, COUNT)
    pointers = tl.max_contiguous(weight + outputs[None, :] * IN + units[:, None], [1, 1])
    return tl.load(pointers, mask=inside[None, :] & (units < IN)[:, None], other=0.0).to(tl.float32)


@triton.jit
def columns(h, step, COUNT: tl.constexpr):
    """Columns [step * COUNT, (step + 1) * COUNT) of h (positions, units), as (positions, COUNT)."""
    ROWS: tl.constexpr = h.shape[0]
    STEPS: tl.constexpr = h.shape[1] // COUNT
    if STEPS == 1:
        return h
    else:
        steps = tl.reshape(h, [ROWS, STEPS, COUNT])
        chosen = tl.arange(0, STEPS)[None, :, None] == step
        return tl.sum(tl.where(chosen, steps, 0.0), 1)


@triton.jit
def hidden_layers(
    v,
    weights,
    biases,
    HIDDEN: tl.constexpr,
    PADDED: tl.constexpr,
    SPATIAL_DIMS: tl.constexpr,
    ACTIVATION: tl.constexpr,
    INNER: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Pre-activations of every hidden layer, first to last: a tuple of (positions, PADDED[i])."""
    zs = (first_layer(v, tl.arange(0, PADDED[0]), weights[0], biases[0], HIDDEN[0], SPATIAL_DIMS),)
    if len(HIDDEN) > 1:
        zs += (
            _second_layer(v, weights, biases, HIDDEN, PADDED[0], PADDED[1], SPATIAL_DIMS, ACTIVATION, INNER, PRECISION),
        )
    for i in tl.static_range(2, len(HIDDEN)):
        h = activate(zs[i - 1], ACTIVATION)
        units = tl.arange(0, PADDED[i])
        zs += (layer(h, units, units < HIDDEN[i], weights[i], biases[i], HIDDEN[i - 1], INNER, PRECISION),)
    return zs


@triton.jit
def _second_layer(
    v,
    weights,
    biases,
    HIDDEN: tl.constexpr,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    SPATIAL_DIMS: tl.constexpr,
    ACTIVATION: tl.constexpr,
    INNER: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Pre-activations (positions, OUT) of the second layer. The first is cheap: its units are made as consumed."""
    outputs = tl.arange(0, OUT)
    inside = outputs < HIDDEN[1]
    z = tl.load(biases[1] + outputs, mask=inside, other=0.0).to(tl.float32)[None, :]
    z = tl.broadcast_to(z, [v[0].shape[0], OUT])
    for start in range(0, IN, INNER):
        h = first_layer(v, start + tl.arange(0, INNER), weights[0], biases[0], HIDDEN[0], SPATIAL_DIMS)
        w = _columns_transposed(weights[1], outputs, inside, start, HIDDEN[0], INNER)
        z = fenced_product(activate(h, ACTIVATION), w, z, PRECISION)
    return z
