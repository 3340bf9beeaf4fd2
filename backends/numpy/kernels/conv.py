"""Convolutions on BLAS, without Python loops over the batch's pixels.

x[N, C, *S], w[M, C/groups, *K], any number of spatial dims; `pads` lists the low, then the high
ends. Each way to compute is chosen by shape: a plain product for 1×1 kernels, a sum over taps for
depthwise ones, else im2col in blocks of output rows and one product a block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from aicc.backends.numpy.kernels.elementwise import is_low_float
from aicc.backends.numpy.kernels.exact import blas_dtype
from aicc.backends.numpy.kernels.windows import ALL, along, pad_spatial, tap_slices, windows

COLUMNS_BYTES = 1 << 23
"""The im2col buffer: large enough that BLAS packs weights seldom, small enough for the cache."""

PLANE_BYTES = 1 << 18
"""The planes that a depthwise convolution takes at once, so that its sums stay in the cache."""


def _wide(x: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """16-bit and narrower floats as float32."""
    if not is_low_float(x.dtype):
        return (x, *others)
    return (x.astype(np.float32), *(o.astype(np.float32) for o in others))


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
    """Convolution of x[N, C, *S] with w[M, C/groups, *K], plus bias[M].

    ONNX Conv, aten.convolution. 16-bit floats accumulate in float32, integers exactly (then wrapped
    to `out_dtype`).
    """
    dtype = out_dtype or x.dtype
    if x.dtype.kind != "f" or x.dtype.itemsize < 4:
        if is_low_float(x.dtype):
            x, w = _wide(x, w)
        elif x.dtype.kind != "c":
            work = blas_dtype(x, w, math.prod(w.shape[1:]))
            x, w = x.astype(work), w.astype(work)
    m, per_group, *kernel = w.shape
    n = len(kernel)
    x = pad_spatial(x, pads)
    if math.prod(kernel) == 1:
        if max(strides) > 1:
            x = x[(ALL, ALL, *(slice(None, None, s) for s in strides))]
        out = _pointwise(x, w, groups)
    elif per_group == 1 and m == groups and x.shape[0]:
        out = _depthwise(x, w, strides, dilations)
    else:
        out = _im2col(x, w, strides, dilations, groups)
    if out.dtype.kind == "f" and dtype.kind in "iu":
        out = out.astype(np.int64)
    if bias is not None:
        out += along(bias, n).astype(out.dtype, copy=False)
    return out.astype(dtype, copy=False)


def _pointwise(x: np.ndarray, w: np.ndarray, groups: int) -> np.ndarray:
    batch, channels, *size = x.shape
    m = w.shape[0]
    if groups == 1:
        out = np.matmul(w.reshape(m, channels), x.reshape(batch, channels, math.prod(size)))
    else:
        planes = x.reshape(batch, groups, channels // groups, math.prod(size))
        out = np.matmul(w.reshape(groups, m // groups, -1), planes)
    return out.reshape(batch, m, *size)


def _depthwise(
    x: np.ndarray, w: np.ndarray, strides: Sequence[int], dilations: Sequence[int]
) -> np.ndarray:
    """Sum over taps, some channels at a time; no window is copied.

    With strides of 1 all windows' values at one tap are a run of the flat plane (with some values
    between the rows that are dropped in the end), which makes for long inner loops.
    """
    batch, channels, *size = x.shape
    kernel = w.shape[2:]
    n = len(kernel)
    view = windows(x, kernel, strides, dilations)
    counts = view.shape[2 + n :]
    out = np.empty((batch, channels, *counts), x.dtype)
    taps = list(np.ndindex(*kernel))
    weights = w.reshape(channels, len(taps))
    if max(strides) == 1 and out.size:
        steps = [math.prod(size[i + 1 :]) for i in range(n)]  # of the flat plane
        length = sum((c - 1) * s for c, s in zip(counts, steps, strict=True)) + 1
        starts = [sum(map(math.prod, zip(tap, dilations, steps, strict=True))) for tap in taps]
        flat = x.reshape(batch, channels, -1)
        pieces = [flat[:, :, start : start + length] for start in starts]
    else:
        pieces = [view[(ALL, ALL, *tap)] for tap in taps]
    at_once = max(1, PLANE_BYTES // max(math.prod(size) * x.itemsize, 1))
    for b in range(batch):
        for c in range(0, channels, at_once):
            block = slice(c, c + at_once)
            total = np.multiply(pieces[0][b, block], _per_channel(weights[block, 0], pieces[0]))
            scratch = np.empty_like(total)
            for i in range(1, len(taps)):
                factor = _per_channel(weights[block, i], pieces[i])
                np.multiply(pieces[i][b, block], factor, out=scratch)
                total += scratch
            if total.ndim < 1 + n:
                spread = (total.strides[0], *(s * x.itemsize for s in steps))
                shape = (total.shape[0], *counts)
                total = np.lib.stride_tricks.as_strided(total, shape, spread)
            out[b, block] = total
    return out


def _per_channel(values: np.ndarray, piece: np.ndarray) -> np.ndarray:
    return along(values, piece.ndim - 2)


def _im2col(
    x: np.ndarray, w: np.ndarray, strides: Sequence[int], dilations: Sequence[int], groups: int
) -> np.ndarray:
    """Copy the windows of some output rows to the columns of a matrix, multiply, repeat."""
    m, per_group, *kernel = w.shape
    n = len(kernel)
    view = windows(x, kernel, strides, dilations)
    batch, rows, *row_shape = x.shape[0], *view.shape[2 + n :]
    row, depth = math.prod(row_shape), per_group * math.prod(kernel)
    weight = w.reshape(groups, m // groups, depth)
    out = np.empty((batch, groups, m // groups, rows * row), x.dtype)
    bytes_per_row = max(groups * depth * row * x.itemsize, 1)
    at_once = max(1, min(rows, COLUMNS_BYTES // bytes_per_row))
    buffer = np.empty(groups * depth * at_once * row, x.dtype)
    for b in range(batch):
        for r in range(0, rows, at_once):
            part = view[(b, ALL, *[ALL] * n, slice(r, r + at_once))]
            pixels = part.shape[1 + n] * row
            columns = buffer[: groups * depth * pixels]
            np.copyto(columns.reshape(part.shape), part)
            columns = columns.reshape(groups, depth, pixels)
            np.matmul(weight, columns, out=out[b, :, :, r * row : r * row + pixels])
    return out.reshape(batch, m, rows, *row_shape)


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
    """Transposed convolution of x[N, C, *S] with w[C, M/groups, *K]: a product, then its sum.

    The gradient of `conv` by its input. ONNX ConvTranspose, aten.convolution(transposed=True).
    """
    dtype = x.dtype
    x, w = _wide(x, w)
    batch, channels, *size = x.shape
    per_group, *kernel = w.shape[1:]
    n, m = len(kernel), groups * per_group
    weight = w.reshape(groups, channels // groups, -1).swapaxes(1, 2)
    planes = x.reshape(batch, groups, channels // groups, math.prod(size))
    reach = [(s - 1) * t for s, t in zip(size, strides, strict=True)]
    out_size = [
        reach[i] + (kernel[i] - 1) * dilations[i] + 1 + output_padding[i] - pads[i] - pads[n + i]
        for i in range(n)
    ]
    # The sum before cropping, wide enough for every tap and for what negative pads ask for.
    low = [max(p, 0) for p in pads[:n]]
    extra = [max(-p, 0) for p in pads[:n]]
    full = [
        extra[i] + max(reach[i] + (kernel[i] - 1) * dilations[i] + 1, pads[i] + out_size[i])
        for i in range(n)
    ]
    out = np.zeros((batch, m, *full), x.dtype)
    inner = out[(ALL, ALL, *(slice(e, None) for e in extra))]
    for b in range(batch):
        columns = np.matmul(weight, planes[b]).reshape(1, m, *kernel, *size)
        target = inner[b : b + 1]
        for tap in np.ndindex(*kernel):
            target[tap_slices(tap, size, strides, dilations)] += columns[(ALL, ALL, *tap)]
    out = out[(ALL, ALL, *(slice(a, a + s) for a, s in zip(low, out_size, strict=True)))]
    if bias is not None:
        out = out + along(bias, n).astype(out.dtype, copy=False)
    return np.ascontiguousarray(out.astype(dtype, copy=False))


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
    """The gradient of `conv` by its weight, from x[N, C, *S] and dy[N, M, *O].

    For each tap a product over pixels, summed over the batch. aten.convolution_backward.
    """
    dtype = x.dtype
    x, dy = _wide(x, dy)
    x = pad_spatial(x, pads)
    batch, m, *out_size = dy.shape
    per_group = x.shape[1] // groups
    pixels = math.prod(out_size)
    out = np.zeros((groups, m // groups, per_group, *kernel_shape), x.dtype)
    grad = dy.reshape(batch, groups, m // groups, pixels)
    for tap in np.ndindex(*kernel_shape):
        part = x[tap_slices(tap, out_size, strides, dilations)]
        part = part.reshape(batch, groups, per_group, pixels).swapaxes(2, 3)
        out[(..., *tap)] = np.matmul(grad, part).sum(0)
    return out.reshape(m, per_group, *kernel_shape).astype(dtype, copy=False)
