"""Conversions between element types (ONNX Cast semantics), and reinterpretation of bits."""

from __future__ import annotations

import math

import numpy as np
from ml_dtypes import finfo

from aicc.backends.numpy.kernels.elementwise import is_narrow, is_sub_byte_int, wrap_narrow


def cast(
    x: np.ndarray, *, to: np.dtype, saturate: bool = True, round_mode: str = "up"
) -> np.ndarray:
    """`x` as dtype `to`; `x` itself if it has it already. ONNX Cast, aten.to.

    Floats round to nearest even; `saturate` and `round_mode` concern 8-bit floats as in ONNX.
    Floats become integers by truncation, NaN and what is out of range as the CPU's conversion has
    it (on x86 the same as ONNX Runtime). Integers wrap. Anything but 0 is true.
    """
    source = x.dtype
    if source == to:
        return x
    if not is_narrow(source):
        if not is_narrow(to):
            return x.astype(to)
        if source == np.bool_:
            return x.astype(np.uint8).astype(to)
    elif is_sub_byte_int(source):
        x = x.astype(np.int8)
    elif to == np.bool_ or to.kind in "iu" or to == np.float16 or is_narrow(to):
        x = x.astype(np.float32)  # exact
    if not is_narrow(to):
        return x.astype(to)
    if is_sub_byte_int(to):
        if x.dtype.kind == "f":
            x = x.astype(np.int32)
        return wrap_narrow(x, to)
    name = to.name
    if name == "float8_e8m0fnu":
        return to_e8m0(x, to, round_mode)
    if name.startswith("float8"):
        return to_float8(x, to, saturate)
    return x.astype(to)


def to_float8(x: np.ndarray, to: np.dtype, saturate: bool) -> np.ndarray:
    """x as an 8-bit float, rounded to nearest even from its own precision.

    Beyond the largest finite value, infinity included, clamp with `saturate`; without, E5M2 gives
    ±Inf and the kinds that have no infinity give NaN (the tables of ONNX Cast).
    """
    if x.dtype not in (np.float32, np.float64):
        x = x.astype(np.float32)
    if saturate:
        limit = x.dtype.type(finfo(to).max)
        x = np.minimum(np.maximum(x, -limit), limit)  # NaN stays
    return np.asarray(x).astype(to)


def to_e8m0(x: np.ndarray, to: np.dtype, round_mode: str) -> np.ndarray:
    """|x| as a power of two: the exponent rounded up, down, or to the nearest (ONNX Cast)."""
    a = np.abs(x if x.dtype == np.float64 else x.astype(np.float32))
    mantissa, exponent = np.frexp(a)  # a = mantissa · 2^exponent, ½ ≤ mantissa < 1
    power = exponent - 1
    if round_mode == "nearest":
        power = power + (mantissa >= 0.75)
    elif round_mode == "up":
        power = power + (mantissa > 0.5)
    bits = np.clip(power + 127, 0, 254)
    bits = np.where(a == 0, 0, bits)
    bits = np.where(np.isinf(a), 254, bits)
    bits = np.where(np.isnan(a), 255, bits)
    return bits.astype(np.uint8).view(to)


def bitcast(x: np.ndarray, *, to: np.dtype) -> np.ndarray:
    """The same bits as another dtype of the same width. ONNX BitCast, aten.view.dtype.

    A complex dtype stands for two floats in a last dim (aten.view_as_real, view_as_complex).
    4- and 2-bit elements lie one in a byte, in its low bits; the high bits are cleared.
    """
    raw = np.ascontiguousarray(x)
    if x.dtype.kind == "c" and to.kind == "f":
        return raw.reshape(*x.shape, 1).view(to)
    if to.kind == "c" and x.dtype.kind == "f":
        return raw.view(to).reshape(x.shape[:-1])
    if is_sub_byte_int(to) or to.name == "float4_e2m1fn":
        raw = raw.view(np.uint8) & np.uint8(15 if "4" in to.name else 3)
    elif to == np.bool_:
        raw = raw.view(np.uint8) != 0
    return raw.view(to).reshape(x.shape)


def unit(dtype: np.dtype) -> float:
    """The distance from 1 to the next larger value of a float dtype."""
    return math.ldexp(1.0, -finfo(dtype).nmant)
