"""Quantize and dequantize (ONNX QuantizeLinear and DequantizeLinear)."""

from __future__ import annotations

import numpy as np

from aicc.backends.numpy.kernels.cast import cast
from aicc.backends.numpy.kernels.elementwise import is_narrow

_RANGES = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3)}


def integer_range(dtype: np.dtype) -> tuple[int, int]:
    if dtype.name in _RANGES:
        return _RANGES[dtype.name]
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _spread(p: np.ndarray, x: np.ndarray, axis: int, block_size: int) -> np.ndarray:
    """A scale or zero point, shaped to broadcast against x."""
    if p.ndim == 0 or p.size == 1:
        return p.reshape(())
    if block_size:
        return np.repeat(p, block_size, axis)[
            tuple(slice(n) if i == axis else slice(None) for i, n in enumerate(x.shape))
        ]
    return p.reshape([-1 if i == axis else 1 for i in range(x.ndim)])


def quantize(
    x: np.ndarray,
    scale: np.ndarray,
    zero_point: np.ndarray | None = None,
    *,
    dtype: np.dtype,
    axis: int = 0,
    block_size: int = 0,
    saturate: bool = True,
) -> np.ndarray:
    wide = x.dtype if x.dtype == np.float64 else np.dtype(np.float32)
    ratio = x.astype(wide) / _spread(scale, x, axis, block_size).astype(wide)
    zero = None if zero_point is None else _spread(zero_point, x, axis, block_size)
    if dtype.kind in "iu" or "int" in dtype.name:
        low, high = integer_range(dtype)
        rounded = np.rint(ratio)
        if zero is not None:
            rounded = rounded + zero.astype(wide)
        return np.clip(rounded, low, high).astype(np.int32).astype(dtype)
    if zero is not None:
        ratio = ratio + zero.astype(wide)
    return cast(ratio, to=dtype, saturate=saturate)


def dequantize(
    x: np.ndarray,
    scale: np.ndarray,
    zero_point: np.ndarray | None = None,
    *,
    dtype: np.dtype,
    axis: int = 0,
    block_size: int = 0,
) -> np.ndarray:
    zero = None if zero_point is None else _spread(zero_point, x, axis, block_size)
    if x.dtype.kind in "iu" or (is_narrow(x.dtype) and "int" in x.dtype.name):
        wide = x.astype(np.int32)
        if zero is not None:
            wide = wide - zero.astype(np.int32)
    else:
        wide = x.astype(np.float32)
    factor = _spread(scale, x, axis, block_size).astype(np.float32)
    return (wide.astype(np.float32) * factor).astype(dtype, copy=False)
