"""The calibrator `f(v)` as device functions, shared by the forward and the backward kernels.

Tiles are (positions, units), float32 throughout. Widths are padded to powers of two of at least 16 (`tl.dot` needs
that); padded units have zero weights and biases, and every activation keeps zero.

Products whose inner size exceeds DEPTH run in steps of DEPTH: an FMA product keeps a whole row of its operands in
registers, and would spill them at widths of 64.
"""

import triton
import triton.language as tl


@triton.jit
def boundary_distances(
    p,
    height,
    width,
    origin_d,
    origin_h,
    origin_w,
    extent_d,
    extent_h,
    extent_w,
    SPATIAL_DIMS: tl.constexpr,
    SCALE: tl.constexpr,
):
    """Scaled distances of the flat positions p to the top, right, bottom, left, front and back of the image.

    SCALE None divides by max(size - 1, 1) of the axis, a number multiplies. In 2-D front and back are not read.
    """
    row = p // width
    column = p % width + origin_w
    depth = row // height + origin_d
    if SPATIAL_DIMS == 3:
        row = row % height
    row += origin_h
    return (
        _scaled(row, extent_h, SCALE),
        _scaled(extent_w - 1 - column, extent_w, SCALE),
        _scaled(extent_h - 1 - row, extent_h, SCALE),
        _scaled(column, extent_w, SCALE),
        _scaled(depth, extent_d, SCALE),
        _scaled(extent_d - 1 - depth, extent_d, SCALE),
    )


@triton.jit
def _scaled(distance, size, SCALE: tl.constexpr):
    if SCALE is None:
        return tl.div_rn(distance.to(tl.float32), tl.maximum(size - 1, 1).to(tl.float32))
    else:
        return distance.to(tl.float32) * SCALE


@triton.jit
def product(a, b, accumulator, PRECISION: tl.constexpr):
    """accumulator + a b, of a (M, K) and b (K, N); accumulator (M, N) or None.

    Tensor cores drop the low 13 bits of a float32 operand in tf32, an error of one sign: operands are rounded before.
    """
    if PRECISION == "tf32":
        a = _rounded_to_tf32(a)
        b = _rounded_to_tf32(b)
    return tl.dot(a, b, accumulator, input_precision=PRECISION)


@triton.jit
def _rounded_to_tf32(x):
    """x with 10 bits of mantissa, ties away from zero; NaN, whose bits would overflow to zero, as it is."""
    bits = (x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000
    return tl.where(x == x, bits.to(tl.float32, bitcast=True), x)


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
def layer(h, outputs, inside, weight, bias, IN: tl.constexpr, DEPTH: tl.constexpr, PRECISION: tl.constexpr):
    """Pre-activations (positions, outputs) of the given outputs of a later layer from h (positions, padded IN).

    weight (.., IN)
    """
    z = tl.load(bias + outputs, mask=inside, other=0.0).to(tl.float32)[None, :]
    z = tl.broadcast_to(z, [h.shape[0], outputs.shape[0]])
    if h.shape[1] <= DEPTH:
        return product(h, _columns_transposed(weight, outputs, inside, 0, IN, h.shape[1]), z, PRECISION)
    else:
        for step in range(0, h.shape[1] // DEPTH):
            w = _columns_transposed(weight, outputs, inside, step * DEPTH, IN, DEPTH)
            z = product(columns(h, step, DEPTH), w, z, PRECISION)
        return z


@triton.jit
def _columns_transposed(weight, outputs, inside, start, IN: tl.constexpr, COUNT: tl.constexpr):
    units = start + tl.arange(0, COUNT)
    pointers = weight + outputs[None, :] * IN + units[:, None]
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
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Pre-activations of every hidden layer, first to last: a tuple of (positions, PADDED[i])."""
    zs = (first_layer(v, tl.arange(0, PADDED[0]), weights[0], biases[0], HIDDEN[0], SPATIAL_DIMS),)
    if len(HIDDEN) > 1:
        zs += (
            _second_layer(v, weights, biases, HIDDEN, PADDED[0], PADDED[1], SPATIAL_DIMS, ACTIVATION, DEPTH, PRECISION),
        )
    for i in tl.static_range(2, len(HIDDEN)):
        h = activate(zs[i - 1], ACTIVATION)
        units = tl.arange(0, PADDED[i])
        zs += (layer(h, units, units < HIDDEN[i], weights[i], biases[i], HIDDEN[i - 1], DEPTH, PRECISION),)
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
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Pre-activations (positions, OUT) of the second layer. The first is cheap: its units are made as consumed."""
    outputs = tl.arange(0, OUT)
    inside = outputs < HIDDEN[1]
    z = tl.load(biases[1] + outputs, mask=inside, other=0.0).to(tl.float32)[None, :]
    z = tl.broadcast_to(z, [v[0].shape[0], OUT])
    for start in range(0, IN, DEPTH):
        h = first_layer(v, start + tl.arange(0, DEPTH), weights[0], biases[0], HIDDEN[0], SPATIAL_DIMS)
        w = _columns_transposed(weights[1], outputs, inside, start, HIDDEN[0], DEPTH)
        z = product(activate(h, ACTIVATION), w, z, PRECISION)
    return z


@triton.jit
def activate(z, ACTIVATION: tl.constexpr):
    """The activation of z. NaN stays NaN: a comparison with NaN is false and `tl.maximum` would drop it."""
    if ACTIVATION == "relu":
        return tl.where(z <= 0, 0.0, z)
    elif ACTIVATION == "leaky_relu":
        return tl.where(z > 0, z, z * 0.01)
    elif ACTIVATION == "silu":
        return z * tl.sigmoid(z)
    else:
        tl.static_assert(ACTIVATION == "tanh")
        return tanh(z)


@triton.jit
def activation_backward(grad, z, ACTIVATION: tl.constexpr):
    """The gradient with respect to z of an activation whose output has the gradient `grad`."""
    if ACTIVATION == "relu":
        return tl.where(z <= 0, 0.0, grad)
    elif ACTIVATION == "leaky_relu":
        return tl.where(z > 0, grad, grad * 0.01)
    elif ACTIVATION == "silu":
        s = tl.sigmoid(z)
        return grad * (s * (1.0 + z * (1.0 - s)))
    else:
        tl.static_assert(ACTIVATION == "tanh")
        h = tanh(z)
        return grad * (1.0 - h * h)


@triton.jit
def tanh(z):
    """tanh to float32 accuracy: an odd polynomial near zero, where 1 - exp(-2z) would cancel."""
    magnitude = tl.abs(z)
    decay = tl.exp(-2.0 * magnitude)
    far = tl.div_rn(1.0 - decay, 1.0 + decay)
    far = tl.where(z < 0, -far, far)
    square = z * z
    terms = ((-0.006946999 * square + 0.02147272) * square - 0.05393379) * square + 0.13333227
    near = z + z * square * (terms * square - 0.33333331)
    return tl.where(magnitude < 0.5, near, far)
