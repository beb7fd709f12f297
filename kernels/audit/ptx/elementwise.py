"""Instructions that each thread does by itself: op -> (type of the result, types of the operands, function)."""

import numpy as np

from nerd_fast.kernels.audit.ptx import arithmetic as do
from nerd_fast.kernels.audit.ptx.datatypes import KINDS

INTEGERS = ("s16", "u16", "s32", "u32", "s64", "u64")
BITS = {"b16": "16", "b32": "32", "b64": "64"}
COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}
ROUNDINGS = ("", ".rn")
HALVES = {"f16": (do.from_f16, do.to_f16), "bf16": (do.from_bf16, do.to_bf16)}
FLOATS = {"add": np.add, "sub": np.subtract, "mul": np.multiply}


def _table():
    ops = {}

    def define(op, types, function):
        """types: "result: operand operand ..."."""
        result, operands = types.split(":")
        ops[op] = result, tuple(operands.split()), function

    _integers(define)
    _bits(define)
    _comparisons(define)
    _single_precision(define)
    _halves(define)
    _conversions(define)
    return ops


def _integers(define):
    for t in INTEGERS:
        raw = "b" + t[1:]
        define(f"add.{t}", f"{raw}: {raw} {raw}", np.add)
        define(f"sub.{t}", f"{raw}: {raw} {raw}", np.subtract)
        define(f"mul.lo.{t}", f"{raw}: {raw} {raw}", np.multiply)
        define(f"mad.lo.{t}", f"{raw}: {raw} {raw} {raw}", lambda a, b, c: a * b + c)
        define(f"div.{t}", f"{t}: {t} {t}", do.divide)
        define(f"rem.{t}", f"{t}: {t} {t}", do.remainder)
        define(f"min.{t}", f"{t}: {t} {t}", np.minimum)
        define(f"max.{t}", f"{t}: {t} {t}", np.maximum)
        define(f"neg.{t}", f"{t}: {t}", np.negative)
        define(f"abs.{t}", f"{t}: {t}", np.abs)
        define(f"shr.{t}", f"{t}: {t} u32", do.shift_right)
    for t, wide in (("s16", "s32"), ("u16", "u32"), ("s32", "s64"), ("u32", "u64")):
        to = KINDS[wide]
        define(f"mul.wide.{t}", f"{wide}: {t} {t}", lambda a, b, to=to: a.astype(to) * b.astype(to))
        define(f"mad.wide.{t}", f"{wide}: {t} {t} {wide}", lambda a, b, c, to=to: a.astype(to) * b.astype(to) + c)
    for t in ("s32", "u32"):
        define(f"mul.hi.{t}", f"{t}: {t} {t}", do.high_half)
        define(f"bfe.{t}", f"{t}: {t} u32 u32", do.extract)


def _bits(define):
    for t in (*BITS, "pred"):
        define(f"and.{t}", f"{t}: {t} {t}", np.bitwise_and)
        define(f"or.{t}", f"{t}: {t} {t}", np.bitwise_or)
        define(f"xor.{t}", f"{t}: {t} {t}", np.bitwise_xor)
        define(f"not.{t}", f"{t}: {t}", np.invert)
    for t in BITS:
        define(f"shl.{t}", f"{t}: {t} u32", do.shift_left)
        define(f"shr.{t}", f"{t}: {t} u32", do.shift_right)
    define("bfi.b32", "b32: b32 b32 u32 u32", do.insert)
    define("prmt.b32", "b32: b32 b32 b32", do.permute)
    define("lop3.b32", "b32: b32 b32 b32 u32", do.logic3)
    define("shf.l.wrap.b32", "b32: b32 b32 u32", do.funnel_left)
    define("shf.r.wrap.b32", "b32: b32 b32 u32", do.funnel_right)
    for t in (*INTEGERS, *BITS, "f32", "f64", "pred"):
        define(f"mov.{t}", f"{t}: {t}", lambda a: a)
    for t in (*INTEGERS, *BITS, "f32", "f64"):
        define(f"selp.{t}", f"{t}: {t} {t} pred", lambda a, b, p: np.where(p, a, b))


def _comparisons(define):
    for name, function in COMPARE.items():
        for t in (*INTEGERS, "f32", "f64"):
            define(f"setp.{name}.{t}", f"pred: {t} {t}", function)
        define(f"setp.{name}u.f32", "pred: f32 f32", lambda a, b, f=function: f(a, b) | np.isnan(a) | np.isnan(b))
    for t in BITS:
        define(f"setp.eq.{t}", f"pred: {t} {t}", np.equal)
        define(f"setp.ne.{t}", f"pred: {t} {t}", np.not_equal)
    for t in ("u16", "u32", "u64"):
        for name, same in UNSIGNED.items():
            define(f"setp.{name}.{t}", f"pred: {t} {t}", COMPARE[same])
    for t in ("f32", "f64"):  # ordered: false where either is NaN, which numpy's != is not
        define(f"setp.ne.{t}", f"pred: {t} {t}", lambda a, b: (a < b) | (a > b))
    define("setp.nan.f32", "pred: f32 f32", lambda a, b: np.isnan(a) | np.isnan(b))
    define("setp.num.f32", "pred: f32 f32", lambda a, b: ~(np.isnan(a) | np.isnan(b)))


def _single_precision(define):
    for rounding in ROUNDINGS:
        for name, function in FLOATS.items():
            define(f"{name}{rounding}.f32", "f32: f32 f32", function)
            define(f"{name}{rounding}.f32x2", "f32x2: f32x2 f32x2", do.of_two_floats(function))
            if name != "mul":
                for half, (widen, _) in HALVES.items():
                    mixed = lambda a, b, f=function, widen=widen: f(widen(a), b)  # noqa: E731
                    define(f"{name}{rounding}.f32.{half}", f"f32: {_bits_of(half)} f32", mixed)
    define("fma.rn.f32", "f32: f32 f32 f32", do.fma)
    define("fma.rn.f32x2", "f32x2: f32x2 f32x2 f32x2", do.of_two_floats(do.fma))
    define("min.f32", "f32: f32 f32", np.fmin)
    define("max.f32", "f32: f32 f32", np.fmax)
    define("min.NaN.f32", "f32: f32 f32", np.minimum)
    define("max.NaN.f32", "f32: f32 f32", np.maximum)
    define("abs.f32", "f32: f32", np.abs)
    define("neg.f32", "f32: f32", np.negative)
    for name in ("div.rn.f32", "div.full.f32", "div.approx.f32"):
        define(name, "f32: f32 f32", np.divide)
    for name, function in (("ex2.approx.f32", np.exp2), ("lg2.approx.f32", np.log2), ("rsqrt.approx.f32", _rsqrt)):
        define(name, "f32: f32", function)
    for kind in ("rn", "approx"):
        define(f"rcp.{kind}.f32", "f32: f32", np.reciprocal)
        define(f"sqrt.{kind}.f32", "f32: f32", np.sqrt)


def _rsqrt(a):
    return np.float32(1) / np.sqrt(a)


def _bits_of(half):
    return "b16" if half == "f16" else half


def _halves(define):
    functions = {**FLOATS, "fma": do.fma, "min": np.fmin, "max": np.fmax, "neg": np.negative, "abs": np.abs}
    for half, (widen, narrow) in HALVES.items():
        for name, function in functions.items():
            count = {"fma": 3, "neg": 1, "abs": 1}.get(name, 2)
            for rounding in (".rn",) if name == "fma" else ROUNDINGS if name in FLOATS else ("",):
                one, two = do.of_halves(function, widen, narrow), do.of_two_halves(function, widen, narrow)
                define(f"{name}{rounding}.{half}", "b16:" + count * " b16", one)
                define(f"{name}{rounding}.{half}x2", "b32:" + count * " b32", two)
        mixed = lambda a, b, c, widen=widen: do.fma(widen(a), widen(b), c)  # noqa: E731
        define(f"fma.rn.f32.{half}", f"f32: {_bits_of(half)} {_bits_of(half)} f32", mixed)


def _conversions(define):
    for to in INTEGERS:
        for source in INTEGERS:
            define(f"cvt.{to}.{source}", f"{to}: {source}", lambda a, to=KINDS[to]: a.astype(to))
    for source in INTEGERS:
        define(f"cvt.rn.f32.{source}", f"f32: {source}", lambda a: a.astype(np.float32))
    for to in ("s32", "u32", "s64"):
        define(f"cvt.rzi.{to}.f32", f"{to}: f32", do.to_integer(KINDS[to], np.trunc))
        define(f"cvt.rni.{to}.f32", f"{to}: f32", do.to_integer(KINDS[to], np.rint))
    for half, (widen, narrow) in HALVES.items():
        define(f"cvt.f32.{half}", "f32: b16", widen)
        define(f"cvt.rn.{half}.f32", "b16: f32", narrow)
        define(f"cvt.rn.{half}x2.f32", "b32: f32 f32", lambda a, b, narrow=narrow: do.pair(narrow(b), narrow(a)))
    define("cvt.rna.tf32.f32", "b32: f32", do.to_tf32)


ELEMENTWISE = _table()
