"""What instructions compute, on numpy vectors of the threads' values.

float32 is IEEE; fma goes through float64, which rounds twice (2^-29 of the results may differ by a unit in the last
place). tf32 and bfloat16 are bits: tf32 in 32, of which a product reads the upper 19; bfloat16 the upper half of
float32.
"""

import numpy as np

from nerd_fast.kernels.audit.ptx.datatypes import PtxError

U16, U32, U64 = np.uint16, np.uint32, np.uint64


def fma(a, b, c):
    return (np.asarray(a).astype(np.float64) * b + c).astype(np.float32)


def shift_left(a, by):
    bits = 8 * a.dtype.itemsize
    shifted = np.left_shift(a, np.minimum(by, bits - 1).astype(a.dtype))
    return np.where(by >= bits, a.dtype.type(0), shifted)


def shift_right(a, by):
    """By the width or more gives zero, or the sign."""
    bits = 8 * a.dtype.itemsize
    shifted = np.right_shift(a, np.minimum(by, bits - 1).astype(a.dtype))
    return shifted if a.dtype.kind == "i" else np.where(by >= bits, a.dtype.type(0), shifted)


def funnel_left(low, high, by):
    """shf.l.wrap: the upper 32 bits of (high, low) << by."""
    both = low.astype(U64) | (high.astype(U64) << U64(32))
    return ((both << (by & U32(31)).astype(U64)) >> U64(32)).astype(U32)


def funnel_right(low, high, by):
    both = low.astype(U64) | (high.astype(U64) << U64(32))
    return (both >> (by & U32(31)).astype(U64)).astype(U32)


def divide(a, b):
    """Integer division towards zero; the caller has made sure that b is not zero where it counts."""
    divisor = np.where(b == 0, b.dtype.type(1), b)
    if a.dtype.kind == "u":
        return a // divisor
    wide, divisor = a.astype(np.int64), divisor.astype(np.int64)
    quotient = np.abs(wide) // np.abs(divisor)
    return np.where((wide < 0) != (divisor < 0), -quotient, quotient).astype(a.dtype)


def remainder(a, b):
    return (a - divide(a, b) * b).astype(a.dtype)


def high_half(a, b):
    """The upper 32 of the 64 bits of a product."""
    wide = np.int64 if a.dtype.kind == "i" else np.uint64
    return ((a.astype(wide) * b.astype(wide)) >> wide(32)).astype(a.dtype)


def permute(a, b, selector):
    """prmt: each byte of the result is one of the eight of (b, a), or its sign."""
    both = a.astype(U64) | (b.astype(U64) << U64(32))
    result = np.zeros(np.broadcast(a, b, selector).shape, U32)
    for i in range(4):
        choice = (selector >> U32(4 * i)) & U32(0xF)
        byte = ((both >> ((choice & U32(7)).astype(U64) * U64(8))) & U64(0xFF)).astype(U32)
        sign = np.where(byte & U32(0x80), U32(0xFF), U32(0))
        result |= np.where(choice & U32(8), sign, byte) << U32(8 * i)
    return result


def logic3(a, b, c, table):
    """lop3: bit by bit, entry 4 a + 2 b + c of the table."""
    result = np.zeros(np.broadcast(a, b, c).shape, U32)
    for entry in range(8):
        if int(table) >> entry & 1:
            ones = [x if entry >> place & 1 else ~x for x, place in ((a, 2), (b, 1), (c, 0))]
            result |= ones[0] & ones[1] & ones[2]
    return result


def extract(a, position, length):
    """bfe of a field inside of the register; sign-extended for signed types."""
    position, length, bits = int(position), int(length), 8 * a.dtype.itemsize
    if not (length > 0 and position + length <= bits):
        raise PtxError(f"bfe of {length} bits from bit {position}")
    kind = a.dtype.type
    return (a << kind(bits - position - length)) >> kind(bits - length)


def insert(a, b, position, length):
    """bfi: the lowest bits of a in place of a field of b."""
    position, length = int(position), int(length)
    if not (length > 0 and position + length <= 32):
        raise PtxError(f"bfi of {length} bits at bit {position}")
    mask = U32((((1 << length) - 1) << position) & 0xFFFFFFFF)
    return (b & ~mask) | ((a << U32(position)) & mask)


def minimum(a, b):
    """Of floats the one that is a number."""
    return np.fmin(a, b) if a.dtype.kind == "f" else np.minimum(a, b)


def maximum(a, b):
    return np.fmax(a, b) if a.dtype.kind == "f" else np.maximum(a, b)


def to_integer(kind, rounding):
    """A function from floats to an integer type, with saturation; NaN gives 0."""
    low, high = np.iinfo(kind).min, np.iinfo(kind).max

    def convert(a):
        value = np.nan_to_num(rounding(a.astype(np.float64)), nan=0.0)
        return np.clip(value, low, high).astype(kind)

    return convert


def to_bf16(a):
    """The bits of float32 rounded to bfloat16, to the nearest, ties to even."""
    bits = np.ascontiguousarray(a, np.float32).view(U32)
    rounded = ((bits + U32(0x7FFF) + ((bits >> U32(16)) & U32(1))) >> U32(16)).astype(U16)
    return np.where(np.isnan(a), U16(0x7FFF), rounded).reshape(np.shape(a))


def to_f16(a):
    return np.where(np.isnan(a), U16(0x7FFF), np.asarray(a).astype(np.float16).view(U16))


def from_bf16(bits):
    return (np.asarray(bits).astype(U32) << U32(16)).view(np.float32)


def from_f16(bits):
    return np.asarray(bits, U16).view(np.float16).astype(np.float32)


def to_tf32(a):
    """cvt.rna: to the nearest, ties away from zero."""
    bits = np.ascontiguousarray(a, np.float32).view(U32)
    return np.where(np.isfinite(a), (bits + U32(0x1000)) & U32(0xFFFFE000), bits).reshape(np.shape(a))


def truncate_tf32(bits):
    """What a product reads of 32 bits: tensor cores drop the lower 13, as the format says."""
    return (np.ascontiguousarray(bits) & U32(0xFFFFE000)).view(np.float32)


def pair(low, high):
    """Two halves of 16 bits in 32."""
    return low.astype(U32) | (high.astype(U32) << U32(16))


def of_two_floats(function):
    """An operation on two float32 packed in 64 bits."""

    def packed(*operands):
        pairs = [np.ascontiguousarray(o).view(np.float32) for o in np.broadcast_arrays(*operands)]
        return np.ascontiguousarray(function(*pairs), np.float32).view(U64)

    return packed


def of_halves(function, widen, narrow):
    """An operation on 16-bit floats by way of float32, rounded once."""
    return lambda *operands: narrow(np.asarray(function(*map(widen, operands)), np.float32))


def of_two_halves(function, widen, narrow):
    """The same on two of them packed in 32 bits."""
    single = of_halves(function, widen, narrow)

    def packed(*operands):
        low = single(*((o & U32(0xFFFF)).astype(U16) for o in operands))
        high = single(*((o >> U32(16)).astype(U16) for o in operands))
        return pair(low, high)

    return packed
