"""The calibrator's device functions that have no orientation: distances, products, activations and their gradients.

The layers are in `calibrator_outputs` as the streaming kernels need them, units first; in `position_first` as the
calibrator's backward does where they are wide; and in `calibrator_backward_narrow` where they are narrow. Values are
float32, and so are products but for the precision that they are told.
"""

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)


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
    column = p - row * width + origin_w
    depth = row // height + origin_d
    if SPATIAL_DIMS == 3:
        row = row % height
    top, bottom = _distances(row + origin_h, extent_h, SCALE)
    left, right = _distances(column, extent_w, SCALE)
    front, back = _distances(depth, extent_d, SCALE)
    return top, right, bottom, left, front, back


@triton.jit
def _distances(place, size, SCALE: tl.constexpr):
    """Scaled distances to both ends of an axis, which add up to its whole length: a division takes ten instructions."""
    if SCALE is None:
        low = tl.div_rn(place.to(tl.float32), tl.maximum(size - 1, 1).to(tl.float32))
        return low, tl.minimum(size - 1, 1).to(tl.float32) - low
    else:
        return place.to(tl.float32) * SCALE, (size - 1 - place).to(tl.float32) * SCALE


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
def fenced_product(a, b, accumulator, PRECISION: tl.constexpr):
    """`product`, and where FMAs form it an instruction behind it that LLVM leaves alone.

    Else LLVM makes vectors of the last FMAs and of what becomes of the sum, groups what they load by tens, and leaves
    loads of 4 bytes where 16 lay side by side. Lanes that read 4 rows of a weight meet on one bank then: 1,376
    wavefronts a warp in the forward of a normalisation of 16 channels, hidden (64, 64), where 992 suffice. From sm_100
    on this gives up pairs of FMAs in one instruction, 136 clocks of a warp against 384. The interpreter has no such
    instruction.
    """
    z = product(a, b, accumulator, PRECISION)
    if PRECISION == "ieee":
        z = fenced(z)
    return z


@triton.jit
def fenced(z):
    """z (float32) behind a move that LLVM leaves alone, so that what made it is not fused with what is made of it."""
    return _moved(z, True)


@triton.jit
def again(h, REPEATED: tl.constexpr):
    """Units h (U, P), float32, as each of several products is to lay them out anew, where they are REPEATED.

    Else the compiler lays them out once and keeps what a thread reads of them from the first product to the last: more
    than 32 units of its positions are more than there are registers, up to 3.7 kB of stack with 17 classes of NeRDc.
    """
    if REPEATED and h.shape[0] > 32:
        h = _moved(h, False)
    return h


@triton.jit
def _moved(z, IS_PURE: tl.constexpr):
    """z (float32) by an instruction of its own, where it is not IS_PURE by one more at every call."""
    if not INTERPRETED:
        z = tl.inline_asm_elementwise("mov.b32 $0, $1;", "=r,r", [z], dtype=tl.float32, is_pure=IS_PURE, pack=1)
    return z


@triton.jit
def _rounded_to_tf32(x):
    """x with 10 bits of mantissa, ties away from zero; NaN, whose bits would overflow to zero, as it is."""
    bits = (x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000
    return tl.where(x == x, bits.to(tl.float32, bitcast=True), x)


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
