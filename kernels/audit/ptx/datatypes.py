"""The types of PTX as numpy has them. A register holds raw bits; an instruction says as what it reads them."""

import numpy as np

WARP = 32  # threads

KINDS = {
    "pred": np.bool_,
    "b8": np.uint8,
    "u8": np.uint8,
    "s8": np.int8,
    "b16": np.uint16,
    "u16": np.uint16,
    "s16": np.int16,
    "f16": np.float16,
    "bf16": np.uint16,  # its bits: numpy has no bfloat16
    "b32": np.uint32,
    "u32": np.uint32,
    "s32": np.int32,
    "f32": np.float32,
    "tf32": np.uint32,
    "f16x2": np.uint32,
    "bf16x2": np.uint32,
    "b64": np.uint64,
    "u64": np.uint64,
    "s64": np.int64,
    "f64": np.float64,
    "f32x2": np.uint64,
}
SIZES = {name: 0 if name == "pred" else np.dtype(kind).itemsize for name, kind in KINDS.items()}  # bytes
RAW = {0: np.bool_, 1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}  # bytes of a register: its bits


class PtxError(Exception):
    """Something that a GPU would not execute, or not with a defined result; or an instruction that is not known."""
