"""Pooling over x[N, C, *S] and its gradients, vectorised over pixels.

`pads` lists the low, then the high ends. With `ceil_mode` a last window may reach beyond the high
padding, but none starts there (ONNX MaxPool and AveragePool from opset 19 on, and aten).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from aicc.backends.numpy.kernels.elementwise import is_low_float
from aicc.backends.numpy.kernels.windows import ALL, tap_slices
from aicc.ir.graph.resampling import window_counts

PLANE_BYTES = 1 << 19
"""The planes pooled at once, so that what lies between two passes stays in the cache."""


def _counts(
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    ceil_mode: bool,
) -> list[int]:
    """The number of windows along each dim."""
    n = len(kernel)
    out = []
    for i in range(n):
        span = size[i] + pads[i] + pads[n + i] - (kernel[i] - 1) * dilations[i] - 1
        count = (-(-span // strides[i]) if ceil_mode else span // strides[i]) + 1
        if ceil_mode and (count - 1) * strides[i] >= size[i] + pads[i]:
            count -= 1
        out.append(max(count, 0))
    return out


def _padded(
    x: np.ndarray,
    value,
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    counts: Sequence[int],
) -> np.ndarray:
    """x with low padding, and high padding as far as the windows reach; x itself if none."""
    n = len(kernel)
    need = [(counts[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 for i in range(n)]
    full = [max(need[i], x.shape[2 + i] + pads[i]) for i in range(n)]
    if not any(pads[:n]) and full == list(x.shape[2:]):
        return x
    out = np.full((*x.shape[:2], *full), value, x.dtype)
    out[(ALL, ALL, *(slice(pads[i], pads[i] + x.shape[2 + i]) for i in range(n)))] = x
    return out


def _fold_windows(
    fn: np.ufunc,
    initial,
    x: np.ndarray,
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    counts: Sequence[int],
) -> np.ndarray:
    """Each window folded by `fn`, one dim after the other, some planes at a time."""
    batch, channels, *size = x.shape
    planes = x.reshape(1, batch * channels, *size)
    out = np.empty((1, batch * channels, *counts), x.dtype)
    at_once = max(1, PLANE_BYTES // max(math.prod(size) * x.itemsize, 1))
    for p in range(0, batch * channels, at_once):
        part = planes[:, p : p + at_once]
        part = _padded(part, initial, kernel, strides, pads, dilations, counts)
        for i, k in enumerate(kernel):
            step, dilation = strides[i], dilations[i]
            span = (counts[i] - 1) * step + 1
            before = (ALL,) * (2 + i)
            folded = part[(*before, slice(0, span, step))]
            for t in range(1, k):
                piece = part[(*before, slice(t * dilation, t * dilation + span, step))]
                folded = fn(folded, piece, out=None if t == 1 else folded)
            part = folded
        out[:, p : p + at_once] = part
    return out.reshape(batch, channels, *counts)


def _lowest(dtype: np.dtype):
    return np.iinfo(dtype).min if dtype.kind in "iu" else dtype.type(-np.inf)


def max_pool(
    x: np.ndarray,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    ceil_mode: bool = False,
    with_indices: bool = True,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The maximum of each window, and its flat index in the plane of x (None unless asked for).

    Padding never wins; of equal elements the first does; NaN does. ONNX MaxPool,
    aten.max_pool2d_with_indices.
    """
    if is_low_float(x.dtype):
        values, at = max_pool(
            x.astype(np.float32),
            kernel_shape=kernel_shape,
            strides=strides,
            pads=pads,
            dilations=dilations,
            ceil_mode=ceil_mode,
            with_indices=with_indices,
        )
        return values.astype(x.dtype), at
    size = x.shape[2:]
    counts = _counts(size, kernel_shape, strides, pads, dilations, ceil_mode)
    window = (kernel_shape, strides, pads, dilations, counts)
    lowest = _lowest(x.dtype)
    if not with_indices:
        return _fold_windows(np.maximum, lowest, x, *window), None
    best = _fold_windows(np.maximum, lowest, x, *window)
    return best, _winners(x, best, lowest, *window)


def _winners(
    x: np.ndarray,
    best: np.ndarray,
    lowest,
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    counts: Sequence[int],
) -> np.ndarray:
    """The flat index, in the plane of x, of the first tap of each window that holds the maximum."""
    size = x.shape[2:]
    padded = _padded(x, lowest, kernel, strides, pads, dilations, counts)
    taps = list(np.ndindex(*kernel))
    has_nan = x.dtype.kind == "f" and bool(np.isnan(best).any())
    may_tie_with_padding = padded is not x and bool((best == lowest).any())
    # The first tap gets the largest rank, and the maximum of ranks needs no branch.
    rank = np.zeros(best.shape, np.uint8 if len(taps) < 256 else np.int32)
    for i, tap in enumerate(taps):
        value = padded[tap_slices(tap, counts, strides, dilations)]
        found = value == best
        if has_nan:
            found |= np.isnan(value)
        if may_tie_with_padding:
            found &= _inside(tap, size, strides, pads, dilations, counts)
        np.maximum(rank, found.view(np.uint8) * rank.dtype.type(len(taps) - i), out=rank)
    starts = [np.arange(c) * s - p for c, s, p in zip(counts, strides, pads, strict=False)]
    shifts = [np.arange(k) * d for k, d in zip(kernel, dilations, strict=True)]
    np.maximum(rank, 1, out=rank)  # a window that meets nothing but padding
    offsets = _flat(shifts, size).reshape(-1)[::-1]
    at = offsets.take(rank - rank.dtype.type(1)) + _flat(starts, size)
    return np.clip(at, 0, math.prod(size) - 1) if may_tie_with_padding else at


def _inside(tap, size, strides, pads, dilations, counts) -> np.ndarray:
    """Which windows [*O] meet x itself, not its padding, at a tap."""
    inside = np.ones((), np.bool_)
    for t, n, s, p, d, c in zip(tap, size, strides, pads, dilations, counts, strict=False):
        at = np.arange(c) * s - p + t * d
        inside = inside[..., None] & (at >= 0) & (at < n)
    return inside


def _flat(positions: Sequence[np.ndarray], size: Sequence[int]) -> np.ndarray:
    """Row-major indices in a plane, from the positions along each dim."""
    flat = np.zeros((), np.int64)
    for p, s in zip(positions, size, strict=True):
        flat = flat[..., None] * s + p
    return flat


def avg_pool(
    x: np.ndarray,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> np.ndarray:
    """The mean of each window. ONNX AveragePool, aten.avg_pool2d. 16-bit floats sum in float32."""
    dtype = x.dtype
    if is_low_float(dtype):
        x = x.astype(np.float32)
    size = x.shape[2:]
    counts = _counts(size, kernel_shape, strides, pads, dilations, ceil_mode)
    window = (kernel_shape, strides, pads, dilations, counts)
    total = _fold_windows(np.add, 0, x, *window)
    total /= window_counts(size, *window, count_include_pad).astype(x.dtype)
    return total.astype(dtype, copy=False)


def avg_pool_grad(
    dy: np.ndarray,
    *,
    input_spatial: Sequence[int],
    kernel_shape: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> np.ndarray:
    """The gradient of `avg_pool` by its input of spatial sizes `input_spatial`.

    aten.avg_pool2d_backward. (`ceil_mode` shows in dy's shape.)
    """
    dtype = dy.dtype
    wide = dy.astype(np.float32) if is_low_float(dtype) else dy
    counts = dy.shape[2:]
    n = len(kernel_shape)
    share = wide / window_counts(
        input_spatial, kernel_shape, strides, pads, dilations, counts, count_include_pad
    ).astype(wide.dtype)
    full = [
        max(
            (counts[i] - 1) * strides[i] + (kernel_shape[i] - 1) * dilations[i] + 1,
            input_spatial[i] + pads[i],
        )
        for i in range(n)
    ]
    out = np.zeros((*dy.shape[:2], *full), wide.dtype)
    for tap in np.ndindex(*kernel_shape):
        out[tap_slices(tap, counts, strides, dilations)] += share
    inner = [slice(p, p + s) for p, s in zip(pads, input_spatial, strict=False)]
    return out[(ALL, ALL, *inner)].astype(dtype)


def max_pool_grad(
    dy: np.ndarray, indices: np.ndarray, *, input_spatial: Sequence[int], **windows: object
) -> np.ndarray:
    """Each gradient added at its index in the channel's plane of sizes `input_spatial`.

    The indices say enough: what the windows were doesn't matter.
    aten.max_pool2d_with_indices_backward; also ONNX MaxUnpool.
    """
    plane = math.prod(input_spatial)
    planes = dy.shape[0] * dy.shape[1]
    flat = indices.reshape(planes, -1) + (np.arange(planes) * plane).reshape(planes, 1)
    wide = dy.reshape(-1).astype(np.float64)
    total = np.bincount(flat.reshape(-1), wide, minlength=planes * plane)
    return total.astype(dy.dtype).reshape(*dy.shape[:2], *input_spatial)
