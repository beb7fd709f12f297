"""The calibrator's layers as the kernels that stream features need them: tiles (units, positions), float32.

A product multiplies a weight (out, in) as it lies in memory with the units of the layer before. In shared memory the
lanes of a warp then read neighbouring positions, which lie in different banks, and one and the same row of the weight.
Weights that lanes read across rows, as positions-first tiles need them, lie 8 to 16 to a bank: 2,500 wavefronts a warp
and tile of 32 positions, hidden (32, 32), where 400 suffice.

Widths are padded to powers of two of at least 16 (`tl.dot` needs that); padded units have zero weights and biases, and
every activation keeps zero.
"""

import triton
import triton.language as tl

from nerd_fast.kernels.calibrator import activate, fenced_product, product

# A product of the first layer's units, made as they are consumed: 64 at once would take twice the shared memory, and 16
# no less than the layers after it take.
FIRST_UNITS = tl.constexpr(32)


@triton.jit
def first_layer(v, units, weight, bias, WIDTH: tl.constexpr, SPATIAL_DIMS: tl.constexpr):
    """Pre-activations (U, P) of the given units (U,) of the first layer; weight (WIDTH, 2 SPATIAL_DIMS)."""
    z = tl.load(bias + units, mask=units < WIDTH, other=0.0).to(tl.float32)[:, None]
    w = _first_weights(weight, units, WIDTH, SPATIAL_DIMS)
    for direction in tl.static_range(2 * SPATIAL_DIMS):
        z = tl.fma(w[direction][:, None], v[direction][None, :], z)
    return z


@triton.jit
def _first_weights(weight, units, WIDTH: tl.constexpr, SPATIAL_DIMS: tl.constexpr):
    """The columns (U,) of the first layer's weight, read together.

    Read one by one, a thread would load every column of each of its units: 32 loads, not one.
    """
    UNITS: tl.constexpr = units.shape[0]
    COLUMNS: tl.constexpr = 4 * (SPATIAL_DIMS - 1)
    column = tl.arange(0, COLUMNS)
    inside = (units < WIDTH)[:, None] & (column < 2 * SPATIAL_DIMS)[None, :]
    w = tl.load(weight + units[:, None] * (2 * SPATIAL_DIMS) + column[None, :], mask=inside, other=0.0).to(tl.float32)
    even, odd = tl.split(tl.reshape(w, [UNITS, COLUMNS // 2, 2]))
    if SPATIAL_DIMS == 2:
        top, bottom = tl.split(even)
        right, left = tl.split(odd)
        return top, right, bottom, left
    else:
        top_front, bottom = tl.split(tl.reshape(even, [UNITS, 2, 2]))
        right_back, left = tl.split(tl.reshape(odd, [UNITS, 2, 2]))
        top, front = tl.split(top_front)
        right, back = tl.split(right_back)
        bottom, _ = tl.split(bottom)
        left, _ = tl.split(left)
        return top, right, bottom, left, front, back


@triton.jit
def layer(h, outputs, inside, weight, bias, IN: tl.constexpr, INNER: tl.constexpr, PRECISION: tl.constexpr):
    """Pre-activations (U, P) of the rows `outputs` (U,) of a later layer from h (padded IN, P); weight (.., IN).

    Products whose inner size exceeds INNER run in steps of INNER.
    """
    z = _biases(bias, outputs, inside, h.shape[1])
    STEP: tl.constexpr = INNER if h.shape[0] > INNER else h.shape[0]
    for step in tl.static_range(h.shape[0] // STEP):
        units = step * STEP + tl.arange(0, STEP)
        z = _weighted(_weights(weight, outputs, inside, units, IN), _rows(h, step, STEP), z, PRECISION)
    return z


@triton.jit
def _biases(bias, outputs, inside, POSITIONS: tl.constexpr):
    """The biases of the given outputs at every position, (outputs, POSITIONS)."""
    b = tl.load(bias + outputs, mask=inside, other=0.0).to(tl.float32)
    return tl.broadcast_to(b[:, None], [outputs.shape[0], POSITIONS])


@triton.jit
def _weights(weight, outputs, inside, units, IN: tl.constexpr):
    """The weights (outputs, units) of the given outputs and units of the layer before; weight (.., IN)."""
    pointers = weight + outputs[:, None] * IN + units[None, :]
    return tl.load(pointers, mask=inside[:, None] & (units < IN)[None, :], other=0.0).to(tl.float32)


@triton.jit
def _weighted(w, h, z, PRECISION: tl.constexpr):
    """z + w h. On tensor cores positions come first: they read shared memory without conflicts either way, and 64 rows
    of units would turn to another kind of product on sm_90 (wgmma), of which 32 positions fill a fraction."""
    if PRECISION == "ieee":
        return fenced_product(w, h, z, PRECISION)
    else:
        return tl.trans(product(tl.trans(h), tl.trans(w), tl.trans(z), PRECISION))


@triton.jit
def _rows(h, step: tl.constexpr, COUNT: tl.constexpr):
    """Rows [step * COUNT, (step + 1) * COUNT) of h (U, P): a masked sum, which is exact."""
    STEPS: tl.constexpr = h.shape[0] // COUNT
    if STEPS == 1:
        return h
    else:
        steps = tl.reshape(h, [STEPS, COUNT, h.shape[1]])
        chosen = tl.arange(0, STEPS)[:, None, None] == step
        return tl.sum(tl.where(chosen, steps, 0.0), 0)


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
    """Pre-activations of every hidden layer, first to last: a tuple of (PADDED[i], P)."""
    zs = (first_layer(v, tl.arange(0, PADDED[0]), weights[0], biases[0], HIDDEN[0], SPATIAL_DIMS),)
    if len(HIDDEN) > 1:
        zs += (_second_layer(v, weights, biases, HIDDEN, PADDED[0], PADDED[1], SPATIAL_DIMS, ACTIVATION, PRECISION),)
    for i in tl.static_range(2, len(HIDDEN)):
        units = tl.arange(0, PADDED[i])
        h = activate(zs[i - 1], ACTIVATION)
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
    PRECISION: tl.constexpr,
):
    """Pre-activations (OUT, positions) of the second layer. The first is cheap: its units are made as consumed."""
    outputs = tl.arange(0, OUT)
    inside = outputs < HIDDEN[1]
    z = _biases(biases[1], outputs, inside, v[0].shape[0])
    STEP: tl.constexpr = FIRST_UNITS if IN > FIRST_UNITS else IN
    for start in range(0, IN, STEP):
        units = start + tl.arange(0, STEP)
        h = activate(first_layer(v, units, weights[0], biases[0], HIDDEN[0], SPATIAL_DIMS), ACTIVATION)
        z = _weighted(_weights(weights[1], outputs, inside, units, HIDDEN[0]), h, z, PRECISION)
    return z
