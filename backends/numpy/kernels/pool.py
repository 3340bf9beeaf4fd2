"""Pooling over x[N, C, *S] and its gradients, vectorised over pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from aicc.backends.numpy.kernels.contract import windows
from aicc.backends.numpy.kernels.elementwise import is_low_float


def _counts(
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    ceil_mode: bool,
) -> list[int]:
    """Window positions along each dim; with ceil_mode none starts in the high padding."""
    n = len(kernel)
    out = []
    for i in range(n):
        span = size[i] + pads[i] + pads[n + i] - (kernel[i] - 1) * dilations[i] - 1
        count = (-(-span // strides[i]) if ceil_mode else span // strides[i]) + 1
        if ceil_mode and (count - 1) * strides[i] >= size[i] + pads[i]:
            count -= 1
        out.append(count)
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
    """x with low padding, and high padding as far as the windows reach."""
    n = len(kernel)
    need = [(counts[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 for i in range(n)]
    full = [max(need[i], x.shape[2 + i] + pads[i]) for i in range(n)]
    if all(p == 0 for p in pads[:n]) and full == list(x.shape[2:]):
        return x
    out = np.full((*x.shape[:2], *full), value, x.dtype)
    inner = [slice(pads[i], pads[i] + x.shape[2 + i]) for i in range(n)]
    out[(slice(None), slice(None), *inner)] = x
    return out


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
):
    """Maxima, and their flat indices in the plane of x (None unless `with_indices`)."""
    n = len(kernel_shape)
    counts = _counts(x.shape[2:], kernel_shape, strides, pads, dilations, ceil_mode)
    padded = _padded(x, _lowest(x.dtype), kernel_shape, strides, pads, dilations, counts)
    view = windows(padded, kernel_shape, strides, dilations)
    view = view[(slice(None), slice(None), *(slice(0, c) for c in counts))]
    if not with_indices:
        taps = list(np.ndindex(*kernel_shape))
        best = view[(..., *taps[0])].copy()
        for tap in taps[1:]:
            np.maximum(best, view[(..., *tap)], out=best)
        return best, None
    best = None
    at = np.zeros(0)
    for tap in np.ndindex(*kernel_shape):
        value = view[(..., *tap)]
        flat = _flat_positions(tap, counts, strides, pads, dilations, x.shape[2:])
        if best is None:
            best, at = value.copy(), np.broadcast_to(flat, value.shape).copy()
            outside = _outside(tap, counts, strides, pads, dilations, x.shape[2:])
            at[..., outside] = -1
            continue
        better = (value > best) | ((value != value) & (best == best))
        better |= (at < 0) & ~_outside(tap, counts, strides, pads, dilations, x.shape[2:])
        best[better] = value[better]
        at[better] = np.broadcast_to(flat, value.shape)[better]
    assert best is not None and n
    return best, at.astype(np.int64, copy=False)


def _positions(tap, counts, strides, pads, dilations) -> list[np.ndarray]:
    return [
        np.arange(c) * s + t * d - p
        for t, c, s, d, p in zip(tap, counts, strides, dilations, pads, strict=False)
    ]


def _flat_positions(tap, counts, strides, pads, dilations, size) -> np.ndarray:
    flat = np.zeros((), np.int64)
    for p, s in zip(_positions(tap, counts, strides, pads, dilations), size, strict=True):
        flat = flat[..., None] * s + p
    return flat


def _outside(tap, counts, strides, pads, dilations, size) -> np.ndarray:
    out = np.zeros((), bool)
    for p, s in zip(_positions(tap, counts, strides, pads, dilations), size, strict=True):
        out = out[..., None] | (p < 0) | (p >= s)
    return out


def _window_counts(
    size: Sequence[int], kernel, strides, pads, dilations, counts, count_include_pad: bool
) -> np.ndarray:
    """How many elements each window's mean is over; ceil_mode's excess never counts."""
    n = len(kernel)
    total = np.ones((), np.int64)
    for i in range(n):
        start = np.arange(counts[i]) * strides[i] - pads[i]
        taps = start[:, None] + np.arange(kernel[i]) * dilations[i]
        high = size[i] + (pads[n + i] if count_include_pad else 0)
        low = -pads[i] if count_include_pad else 0
        inside = ((taps >= low) & (taps < high)).sum(1)
        total = total[..., None] * inside
    return total


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
    dtype = x.dtype
    if is_low_float(dtype):
        x = x.astype(np.float32)
    size = x.shape[2:]
    counts = _counts(size, kernel_shape, strides, pads, dilations, ceil_mode)
    padded = _padded(x, 0, kernel_shape, strides, pads, dilations, counts)
    view = windows(padded, kernel_shape, strides, dilations)
    view = view[(slice(None), slice(None), *(slice(0, c) for c in counts))]
    total = np.zeros(view.shape[: 2 + len(kernel_shape)], x.dtype)
    for tap in np.ndindex(*kernel_shape):
        total += view[(..., *tap)]
    n = _window_counts(size, kernel_shape, strides, pads, dilations, counts, count_include_pad)
    return (total / n.astype(x.dtype)).astype(dtype, copy=False)


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
    dtype = dy.dtype
    counts = dy.shape[2:]
    n = len(kernel_shape)
    share = dy / _window_counts(
        input_spatial, kernel_shape, strides, pads, dilations, counts, count_include_pad
    ).astype(np.float32 if is_low_float(dtype) else dtype)
    full = [
        max(
            (counts[i] - 1) * strides[i] + (kernel_shape[i] - 1) * dilations[i] + 1,
            input_spatial[i] + pads[i],
        )
        for i in range(n)
    ]
    out = np.zeros((*dy.shape[:2], *full), share.dtype)
    for tap in np.ndindex(*kernel_shape):
        index = [
            slice(t * d, t * d + (c - 1) * s + 1, s)
            for t, d, c, s in zip(tap, dilations, counts, strides, strict=True)
        ]
        out[(slice(None), slice(None), *index)] += share
    inner = [slice(p, p + s) for p, s in zip(pads, input_spatial, strict=False)]
    return out[(slice(None), slice(None), *inner)].astype(dtype, copy=False)


def max_pool_grad(
    dy: np.ndarray, indices: np.ndarray, *, input_spatial: Sequence[int]
) -> np.ndarray:
    plane = math.prod(input_spatial)
    planes = dy.shape[0] * dy.shape[1]
    base = (np.arange(planes) * plane).reshape(planes, 1)
    flat = (indices.reshape(planes, -1) + base).reshape(-1)
    total = np.bincount(flat, dy.reshape(-1).astype(np.float64), minlength=planes * plane)
    return total.astype(dy.dtype).reshape(*dy.shape[:2], *input_spatial)
