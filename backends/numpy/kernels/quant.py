"""Quantize and dequantize (ONNX QuantizeLinear and DequantizeLinear)."""

from __future__ import annotations

import numpy as np

from aicc.backends.numpy.kernels.blocks import BLOCK
from aicc.backends.numpy.kernels.cast import cast
from aicc.backends.numpy.kernels.elementwise import is_sub_byte_int

_RANGES = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3)}


def integer_range(dtype: np.dtype) -> tuple[int, int]:
    """The least and largest value of an integer dtype."""
    if dtype.name in _RANGES:
        return _RANGES[dtype.name]
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _is_int(dtype: np.dtype) -> bool:
    return dtype.kind in "iu" or is_sub_byte_int(dtype)


def _spread(p: np.ndarray, x: np.ndarray, axis: int, block_size: int) -> np.ndarray:
    """A scale or zero point, shaped to broadcast against x."""
    if p.ndim == 0 or p.size == 1:
        return p.reshape(())
    if block_size:
        whole = np.repeat(p, block_size, axis)
        return whole[(*[slice(None)] * axis, slice(x.shape[axis]))]
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
    """saturate(round(x / scale) + zero_point) as `dtype`, halves to even. ONNX QuantizeLinear.

    `scale` (and zero_point, in `dtype`) is a scalar, one per index along `axis`, or one per block
    of `block_size` along it. To 8- and 4-bit floats, x / scale is cast with `saturate`. Computed in
    float32 (float64 for float64).
    """
    wide = np.dtype(np.float64 if x.dtype == np.float64 else np.float32)
    factor = _spread(scale, x, axis, block_size).astype(wide)
    zero = None
    if zero_point is not None:
        zero = _spread(zero_point, x, axis, block_size).astype(wide)
    if not _is_int(dtype):
        ratio = x.astype(wide) / factor
        return cast(ratio if zero is None else ratio + zero, to=dtype, saturate=saturate)
    low, high = integer_range(dtype)

    def run(x: np.ndarray) -> np.ndarray:
        q = np.asarray(x / factor, wide)
        np.rint(q, out=q)
        if zero is not None:
            q += zero
        np.maximum(q, low, out=q)
        np.minimum(q, high, out=q)
        return q.astype(np.int8).astype(dtype) if is_sub_byte_int(dtype) else q.astype(dtype)

    if x.size <= 2 * BLOCK or factor.ndim or not x.flags.c_contiguous:
        return run(x)
    flat = x.reshape(-1)
    out = np.empty(flat.size, dtype)
    for i in range(0, flat.size, BLOCK):
        out[i : i + BLOCK] = run(flat[i : i + BLOCK])
    return out.reshape(x.shape)


def dequantize(
    x: np.ndarray,
    scale: np.ndarray,
    zero_point: np.ndarray | None = None,
    *,
    dtype: np.dtype,
    axis: int = 0,
    block_size: int = 0,
) -> np.ndarray:
    """(x − zero_point) · scale as `dtype`. ONNX DequantizeLinear.

    Scale and zero point as for `quantize`. Computed in float32 (float64 for a float64 `dtype`).
    """
    wide = np.dtype(np.float64 if dtype == np.float64 else np.float32)
    zero = None if zero_point is None else _spread(zero_point, x, axis, block_size)
    if zero is not None and _is_int(x.dtype):
        # 8 and 16 bits are exact in float32; wider ones are subtracted as integers.
        if x.dtype.kind in "iu" and x.dtype.itemsize > 2:
            out = (x.astype(np.int64) - zero.astype(np.int64)).astype(wide)
        else:
            out = x.astype(wide)
            out -= zero.astype(wide)
    else:
        out = x.astype(wide)
    out *= _spread(scale, x, axis, block_size).astype(wide)
    return out.astype(dtype, copy=False)
