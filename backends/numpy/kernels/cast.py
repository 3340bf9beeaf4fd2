"""Conversions between element types (ONNX Cast semantics), and reinterpretation of bits."""

from __future__ import annotations

import math

import numpy as np
from ml_dtypes import finfo

from aicc.backends.numpy.kernels.elementwise import is_narrow, wrap_narrow


def _is_float8(dtype: np.dtype) -> bool:
    return dtype.name.startswith("float8")


def _is_sub_byte_int(dtype: np.dtype) -> bool:
    return is_narrow(dtype) and "int" in dtype.name


def cast(x: np.ndarray, *, to: np.dtype, saturate: bool = True, round_mode: str = "up"):
    """`x` as dtype `to`; `x` itself if it has it already."""
    source = x.dtype
    if source == to:
        return x
    if source == np.bool_ and is_narrow(to):
        x = x.astype(np.int8)
        source = x.dtype
    if to == np.bool_:
        return x.astype(np.float32) != 0 if is_narrow(source) else x != 0
    if to.name == "float8_e8m0fnu":
        return to_e8m0(x.astype(np.float32), to, round_mode)
    if _is_float8(to):
        return to_float8(x, to, saturate)
    if _is_sub_byte_int(to):
        if _is_sub_byte_int(source):
            return wrap_narrow(x.astype(np.int16), to)
        if source.kind in "iu":
            return wrap_narrow(x, to)
        return wrap_narrow(np.trunc(x.astype(np.float32)).astype(np.int32), to)
    if is_narrow(source) and to != np.float32:
        if _is_sub_byte_int(source):
            return x.astype(np.int8).astype(to)
        x = x.astype(np.float32)
    if to.kind in "iu" and x.dtype.kind == "f":
        return _float_to_int(x, to)
    if to.name == "float4_e2m1fn" and x.dtype == np.float64:
        x = x.astype(np.float32)
    return x.astype(to)


def _float_to_int(x: np.ndarray, to: np.dtype) -> np.ndarray:
    """Truncate toward zero; out of range wraps through int64 as on x86."""
    if to.itemsize == 8:
        return x.astype(to)
    return x.astype(np.int64).astype(to)


def to_float8(x: np.ndarray, to: np.dtype, saturate: bool) -> np.ndarray:
    """Round to nearest even; beyond the largest finite value clamp, or give Inf or NaN.

    ONNX Cast's table: without saturation E4M3 kinds and the UZ kinds give NaN, E5M2 gives Inf.
    """
    wide = x.astype(np.float64 if x.dtype == np.float64 else np.float32)
    # ml_dtypes rounds through the source's own precision, so that no value rounds twice.
    out = wide.astype(to)
    if saturate:
        limit = float(finfo(to).max)
        back = out.astype(np.float32)
        over = (wide > limit) | (np.isnan(back) & (wide > 0)) | (np.isinf(back) & (wide > 0))
        under = (wide < -limit) | (np.isnan(back) & (wide < 0)) | (np.isinf(back) & (wide < 0))
        keep_nan = np.isnan(wide)
        out = np.where(over & ~keep_nan, np.array(limit, np.float32).astype(to), out)
        out = np.where(under & ~keep_nan, np.array(-limit, np.float32).astype(to), out)
    return out.astype(to)


def to_e8m0(x: np.ndarray, to: np.dtype, round_mode: str) -> np.ndarray:
    """|x| as a power of two: the exponent rounded up, down, or to the nearest (ONNX Cast)."""
    a = np.abs(x)
    mantissa, exponent = np.frexp(a)  # a = mantissa · 2^exponent, ½ ≤ mantissa < 1
    down = exponent - 1
    if round_mode == "down":
        power = down
    elif round_mode == "nearest":
        power = down + (mantissa >= 0.75)
    else:
        power = down + (mantissa > 0.5)
    bits = np.clip(power + 127, 0, 254).astype(np.uint8)
    bits = np.where(a == 0, np.uint8(0), bits)
    bits = np.where(np.isinf(a), np.uint8(254), bits)
    bits = np.where(np.isnan(a), np.uint8(255), bits)
    return bits.astype(np.uint8).view(to)


def bitcast(x: np.ndarray, *, to: np.dtype) -> np.ndarray:
    """The same bits as another dtype of the same width."""
    if x.dtype.itemsize == to.itemsize and not (_is_sub_byte_int(x.dtype) or _is_sub_byte_int(to)):
        return np.ascontiguousarray(x).view(to).reshape(x.shape)
    bits = 2 if "2" in to.name else 4
    raw = np.ascontiguousarray(x).view(np.uint8) & ((1 << bits) - 1)
    return wrap_narrow(raw.astype(np.int16), to).reshape(x.shape)


def unit(dtype: np.dtype) -> float:
    return math.ldexp(1.0, -finfo(dtype).nmant)
