"""Operands of an instruction: functions that read them from the threads as a type, once checked against the types."""

import re

import numpy as np

from nerd_fast.kernels.audit.ptx.datatypes import KINDS, RAW, SIZES, PtxError
from nerd_fast.kernels.audit.ptx.parsing import number, split

SPECIAL = ("%tid.x", "%ctaid.x", "%ntid.x", "%nctaid.x", "%laneid")
ALWAYS_ZERO = ("%tid.y", "%tid.z", "%ctaid.y", "%ctaid.z", "global_smem")  # shared memory begins at its address 0
ADDRESS = re.compile(r"\[\s*(%\w+|global_smem)\s*(?:\+\s*(-?\d+))?\s*\]")


def source(kernel, ins, operand, type_):
    """A function of the threads: the values of an operand, a scalar for a constant."""
    kind, size = KINDS[type_], SIZES[type_]
    if operand in SPECIAL:
        return lambda threads: threads.special[operand].view(kind)
    if operand in ALWAYS_ZERO:
        return lambda threads: np.zeros(threads.size, kind)
    if operand.startswith("%"):
        if kernel.size_of(operand) != size:
            raise PtxError(f"{ins}: {operand} has {kernel.size_of(operand)} bytes, {size} expected for .{type_}")
        if type_ == "pred":
            return lambda threads: threads.read(operand)
        return lambda threads: threads.read(operand).view(kind)
    constant = _constant(ins, operand, type_, kind, size)
    return lambda threads: constant


def _constant(ins, operand, type_, kind, size):
    value = number(operand)
    if type_ == "pred":
        return np.bool_(value)
    if type_ in ("f32", "f64") and not re.match(r"0[fd]", operand):
        raise PtxError(f"{ins}: constant {operand} for .{type_}")
    return np.array(value & ((1 << 8 * size) - 1), RAW[size]).view(kind)[()]


def target(kernel, ins, register, size):
    """The name of a register that is written, whose size in bytes must be this."""
    if kernel.size_of(register) != size:
        raise PtxError(f"{ins}: {register} has {kernel.size_of(register)} bytes, {size} expected")
    return register


def address(kernel, ins, operand, type_):
    """A function of the threads: the addresses of an operand `[register + offset]`."""
    match = ADDRESS.fullmatch(operand)
    if match is None:
        raise PtxError(f"{ins}: address {operand}")
    read = source(kernel, ins, match[1], type_)
    offset = np.array(int(match[2] or 0), np.int64).astype(KINDS[type_])
    return (lambda threads: read(threads) + offset) if offset else read


def vector(operand):
    """The names in `{a, b, ...}`, or the one that stands without braces."""
    return split(operand.strip("{} ")) if operand.startswith("{") else [operand]
