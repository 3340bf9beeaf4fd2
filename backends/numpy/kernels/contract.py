"""Matrix products on BLAS; convolutions are in `conv`."""

from __future__ import annotations

import numpy as np

from aicc.backends.numpy.kernels.conv import conv, conv_transpose, conv_weight_grad
from aicc.backends.numpy.kernels.elementwise import is_low_float
from aicc.backends.numpy.kernels.exact import blas_dtype


def matmul(a: np.ndarray, b: np.ndarray, *, out_dtype: np.dtype | None = None) -> np.ndarray:
    """``a @ b`` of a[..., M, K] and b[..., K, N], batch dims broadcast. ONNX MatMul, aten.bmm.

    f16, bf16 and 8-bit floats accumulate in float32. Integers give their exact sum, wrapped to
    `out_dtype` (default: a's dtype).
    """
    kind = a.dtype.kind
    if (kind == "f" and a.dtype.itemsize >= 4) or kind == "c":
        return np.matmul(a, b)
    if is_low_float(a.dtype):
        out = np.matmul(a.astype(np.float32), b.astype(np.float32))
    else:
        out = integer_matmul(a, b)
    return out.astype(out_dtype or a.dtype)


def integer_matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of integers, exact modulo 2^64: on BLAS where no partial sum can round."""
    dtype = blas_dtype(a, b, a.shape[-1])
    out = np.matmul(a.astype(dtype), b.astype(dtype))
    return out if dtype == np.int64 else out.astype(np.int64)


def det(x: np.ndarray) -> np.ndarray:
    """The determinants of x[..., N, N]. ONNX Det, aten.linalg_det."""
    wide = x.astype(np.float32) if is_low_float(x.dtype) else x
    return np.asarray(np.linalg.det(wide), x.dtype)


__all__ = ["conv", "conv_transpose", "conv_weight_grad", "det", "integer_matmul", "matmul"]
