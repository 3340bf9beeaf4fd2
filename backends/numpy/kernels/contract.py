"""Matrix products and convolutions on BLAS, without Python loops over pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from aicc.backends.numpy.kernels.elementwise import is_low_float, is_narrow

MAX_COLUMNS_BYTES = 1 << 28
"""The most memory that one im2col buffer may take; larger ones are blocked over the batch."""


def matmul(a: np.ndarray, b: np.ndarray, *, out_dtype: np.dtype | None = None) -> np.ndarray:
    """``a @ b`` with float32 accumulation for narrow floats and exact integers."""
    if a.dtype.kind == "f" and a.dtype.itemsize >= 4:
        return np.matmul(a, b)
    if is_low_float(a.dtype):
        out = np.matmul(a.astype(np.float32), b.astype(np.float32))
        return out.astype(out_dtype or a.dtype)
    return integer_matmul(a, b).astype(out_dtype or a.dtype)


def integer_matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """An exact product of integers: on BLAS in float64 where every sum stays below 2^53."""
    bits = 8 * (a.dtype.itemsize + b.dtype.itemsize)
    if bits + math.log2(max(a.shape[-1], 1)) < 53 or is_narrow(a.dtype):
        return np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int64)
    return np.matmul(a.astype(np.int64), b.astype(np.int64))


def _pad_spatial(x: np.ndarray, pads: Sequence[int], value: float = 0) -> np.ndarray:
    n = len(pads) // 2
    if not any(pads):
        return x
    if min(pads) < 0:
        crop = [slice(max(-pads[i], 0), x.shape[2 + i] - max(-pads[n + i], 0)) for i in range(n)]
        x = x[(slice(None), slice(None), *crop)]
        pads = [max(p, 0) for p in pads]
    shape = list(x.shape)
    for i in range(n):
        shape[2 + i] += pads[i] + pads[n + i]
    out = np.full(shape, value, x.dtype) if value else np.zeros(shape, x.dtype)
    inner = [slice(pads[i], pads[i] + x.shape[2 + i]) for i in range(n)]
    out[(slice(None), slice(None), *inner)] = x
    return out


def windows(
    x: np.ndarray, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> np.ndarray:
    """A view [N, C, *O, *K] of all windows of x[N, C, *S]."""
    n = len(kernel)
    out = []
    for i in range(n):
        span = x.shape[2 + i] - (kernel[i] - 1) * dilations[i] - 1
        out.append(max(span // strides[i] + 1, 0))
    step = x.strides[2:]
    return np.lib.stride_tricks.as_strided(
        x,
        (*x.shape[:2], *out, *kernel),
        (
            *x.strides[:2],
            *(s * t for s, t in zip(step, strides, strict=True)),
            *(s * d for s, d in zip(step, dilations, strict=True)),
        ),
        writeable=False,
    )


def conv(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    groups: int = 1,
    out_dtype: np.dtype | None = None,
) -> np.ndarray:
    """Convolution of x[N, C, *S] with w[M, C/groups, *K]."""
    dtype = out_dtype or x.dtype
    if x.dtype.kind in "iu":
        x, w = x.astype(np.float64), w.astype(np.float64)
    elif is_low_float(x.dtype):
        x, w = x.astype(np.float32), w.astype(np.float32)
    m, per_group, *kernel = w.shape
    n = len(kernel)
    x = _pad_spatial(x, pads)
    pointwise = all(k == 1 for k in kernel)
    if pointwise and any(s != 1 for s in strides):
        x = x[(slice(None), slice(None), *(slice(None, None, s) for s in strides))]
        strides = [1] * n
    if pointwise and groups == 1:
        out = np.matmul(w.reshape(m, per_group), x.reshape(*x.shape[:2], -1))
        out = out.reshape(x.shape[0], m, *x.shape[2:])
    elif per_group == 1 and m == groups:
        out = _depthwise(x, w, strides, dilations)
    else:
        out = _im2col_conv(x, w, strides, dilations, groups)
    if bias is not None:
        out += bias.astype(out.dtype).reshape(-1, *[1] * n)
    return out if out.dtype == dtype else out.astype(dtype)


def _depthwise(
    x: np.ndarray, w: np.ndarray, strides: Sequence[int], dilations: Sequence[int]
) -> np.ndarray:
    """One tap at a time: few passes over the input, nothing materialised."""
    kernel = w.shape[2:]
    view = windows(x, kernel, strides, dilations)
    n = len(kernel)
    out = np.zeros(view.shape[: 2 + n], x.dtype)
    taps = w.reshape(w.shape[0], -1)
    scratch = np.empty_like(out)
    for i, tap in enumerate(np.ndindex(*kernel)):
        np.multiply(view[(..., *tap)], taps[:, i].reshape(-1, *[1] * n), out=scratch)
        out += scratch
    return out


def _im2col_conv(
    x: np.ndarray, w: np.ndarray, strides: Sequence[int], dilations: Sequence[int], groups: int
) -> np.ndarray:
    m, per_group, *kernel = w.shape
    n = len(kernel)
    view = windows(x, kernel, strides, dilations)
    batch, out_shape = x.shape[0], view.shape[2 : 2 + n]
    pixels, depth = math.prod(out_shape), per_group * math.prod(kernel)
    # [N, C, *O, *K] → [N, C, *K, *O]: rows of the GEMM's right side are whole output planes.
    view = view.transpose(0, 1, *range(2 + n, 2 + 2 * n), *range(2, 2 + n))
    weight = w.reshape(groups, m // groups, depth)
    out = np.empty((batch, groups, m // groups, pixels), np.result_type(x, w))
    bytes_each = max(groups * depth * pixels * x.dtype.itemsize, 1)
    block = max(1, min(batch, MAX_COLUMNS_BYTES // bytes_each))
    for start in range(0, batch, block):
        part = view[start : start + block]
        columns = part.reshape(part.shape[0], groups, depth, pixels)
        np.matmul(weight, columns, out=out[start : start + block])
    return out.reshape(batch, m, *out_shape)


def conv_transpose(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    groups: int = 1,
    output_padding: Sequence[int],
) -> np.ndarray:
    """Transposed convolution of x[N, C, *S] with w[C, M/groups, *K]: one GEMM, then scatter."""
    dtype = x.dtype
    if is_low_float(dtype):
        x, w = x.astype(np.float32), w.astype(np.float32)
    batch, channels, *size = x.shape
    _, per_group, *kernel = w.shape
    n = len(kernel)
    weight = w.reshape(groups, channels // groups, -1).transpose(0, 2, 1)
    columns = np.matmul(weight, x.reshape(batch, groups, channels // groups, -1))
    columns = columns.reshape(batch, groups * per_group, *kernel, *size)
    full = [
        max(
            (size[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1,
            pads[i] + 1,
        )
        for i in range(n)
    ]
    out_size = [
        (size[i] - 1) * strides[i]
        + (kernel[i] - 1) * dilations[i]
        + 1
        + output_padding[i]
        - pads[i]
        - pads[n + i]
        for i in range(n)
    ]
    full = [max(f, p + o) for f, p, o in zip(full, pads[:n], out_size, strict=True)]
    out = np.zeros((batch, groups * per_group, *full), x.dtype)
    for tap in np.ndindex(*kernel):
        index = [
            slice(t * d, t * d + (s - 1) * st + 1, st)
            for t, d, s, st in zip(tap, dilations, size, strides, strict=True)
        ]
        out[(slice(None), slice(None), *index)] += columns[(slice(None), slice(None), *tap)]
    low = [max(p, 0) for p in pads[:n]]
    out = out[
        (slice(None), slice(None), *(slice(a, a + s) for a, s in zip(low, out_size, strict=True)))
    ]
    if any(p < 0 for p in pads[:n]):
        out = _pad_spatial(out, [*(max(-p, 0) for p in pads[:n]), *[0] * n])
        out = out[(slice(None), slice(None), *(slice(0, s) for s in out_size))]
    if bias is not None:
        out = out + bias.astype(out.dtype).reshape(-1, *[1] * n)
    return out.astype(dtype, copy=False)


def conv_weight_grad(
    x: np.ndarray,
    dy: np.ndarray,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    groups: int = 1,
) -> np.ndarray:
    """The gradient of `conv` by its weight: for each tap a product over batch and pixels."""
    dtype = x.dtype
    if is_low_float(dtype):
        x, dy = x.astype(np.float32), dy.astype(np.float32)
    x = _pad_spatial(x, pads)
    batch, m, *out_size = dy.shape
    per_group = x.shape[1] // groups
    view = windows(x, kernel_shape, strides, dilations)
    view = view[(slice(None), slice(None), *(slice(0, s) for s in out_size))]
    out = np.zeros((groups, m // groups, per_group, *kernel_shape), x.dtype)
    grad = dy.reshape(batch, groups, m // groups, -1)
    for tap in np.ndindex(*kernel_shape):
        part = view[(..., *tap)].reshape(batch, groups, per_group, -1)
        out[(..., *tap)] = np.matmul(grad, part.swapaxes(-1, -2)).sum(0)
    return out.reshape(m, per_group, *kernel_shape).astype(dtype, copy=False)


def det(x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float32) if is_low_float(x.dtype) else x
    return np.asarray(np.linalg.det(wide), x.dtype)
