"""Integer sums of products on floating-point BLAS, where they are provably exact."""

from __future__ import annotations

import numpy as np

_SUB_BYTE = {"int4": 8, "uint4": 15, "int2": 2, "uint2": 3}


def _largest(dtype: np.dtype) -> int:
    """The largest magnitude of an integer dtype."""
    if dtype.name in _SUB_BYTE:
        return _SUB_BYTE[dtype.name]
    info = np.iinfo(dtype)
    return max(int(info.max), -int(info.min))


def _magnitude(x: np.ndarray) -> int:
    return max(int(x.max()), -int(x.min())) if x.size else 0


def blas_dtype(a: np.ndarray, b: np.ndarray, terms: int) -> np.dtype:
    """The dtype in which sums of `terms` products of a's and b's elements are exact.

    float32 holds integers up to 2^24, float64 up to 2^53. Where the operands' dtypes don't prove
    it, their largest elements may. Else int64 (without BLAS, and it wraps).
    """
    bound = _largest(a.dtype) * _largest(b.dtype) * terms
    if bound > 1 << 53:
        bound = _magnitude(a) * _magnitude(b) * terms
    if bound <= 1 << 24:
        return np.dtype(np.float32)
    return np.dtype(np.float64 if bound <= 1 << 53 else np.int64)
