"""Softmax and normalisations. 16-bit floats are computed in float32 and rounded once."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from aicc.backends.numpy.kernels.elementwise import is_low_float

BLOCK = 1 << 15
"""Elements normalised at once, so that the passes over them meet the cache."""


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) if is_low_float(x.dtype) else x


def _by_rows(fn: Callable[[np.ndarray], np.ndarray], x: np.ndarray, axis: int) -> np.ndarray:
    """`fn`, which works along the dims from `axis` on, on some rows of x at a time."""
    row = math.prod(x.shape[axis:])
    if x.size <= 2 * BLOCK or row > BLOCK or not x.flags.c_contiguous:
        return fn(_wide(x)).astype(x.dtype, copy=False)
    rows = x.reshape(-1, *x.shape[axis:])
    out = np.empty(rows.shape, x.dtype)
    at_once = BLOCK // row
    for i in range(0, rows.shape[0], at_once):
        out[i : i + at_once] = fn(_wide(rows[i : i + at_once]))
    return out.reshape(x.shape)


def softmax(x: np.ndarray, *, axis: int) -> np.ndarray:
    """e^(x − max) / Σ e^(x − max) along `axis`. ONNX Softmax, aten._softmax.

    Where all of a row is −∞ the result is NaN.
    """
    axis -= x.ndim

    def run(x: np.ndarray) -> np.ndarray:
        out = x - np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf)
        np.exp(out, out=out)
        out /= np.add.reduce(out, axis=axis, keepdims=True)
        return out

    return _by_rows(run, x, x.ndim + axis)


def log_softmax(x: np.ndarray, *, axis: int) -> np.ndarray:
    """x − max − log Σ e^(x − max) along `axis`. ONNX LogSoftmax, aten._log_softmax."""
    axis -= x.ndim

    def run(x: np.ndarray) -> np.ndarray:
        out = x - np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf)
        out -= np.log(np.add.reduce(np.exp(out), axis=axis, keepdims=True))
        return out

    return _by_rows(run, x, x.ndim + axis)


def layer_norm(
    x: np.ndarray,
    scale: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    *,
    axis: int,
    epsilon: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x − mean) · rstd · scale + bias over the dims from `axis` on, and mean and rstd.

    ONNX LayerNormalization, aten.native_layer_norm. rstd = 1/√(variance + epsilon); both keep the
    reduced dims as 1, in float32 for 16-bit floats. Scale and bias broadcast to x.
    """
    stats = np.dtype(np.float32) if is_low_float(x.dtype) else x.dtype
    row = math.prod(x.shape[axis:])
    rows = x.reshape(-1, row) if row else x.reshape(math.prod(x.shape[:axis]), 0)
    whole = _affine_is_whole(x, axis, scale, bias)
    a, b = (None, None) if whole else (_row_param(scale, x, axis), _row_param(bias, x, axis))
    out = np.empty(rows.shape, stats if whole else x.dtype)
    mean, rstd = np.empty((len(rows), 1), stats), np.empty((len(rows), 1), stats)
    at_once = max(1, BLOCK // max(row, 1))
    for i in range(0, len(rows), at_once):
        part = _wide(rows[i : i + at_once])
        m = np.add.reduce(part, axis=1, keepdims=True) / stats.type(row)
        centred = part - m
        square = np.vecdot(centred, centred)[:, None] / stats.type(row)
        r = 1 / np.sqrt(square + stats.type(epsilon))
        centred *= r
        if a is not None:
            centred *= a
        if b is not None:
            centred += b
        out[i : i + at_once] = centred
        mean[i : i + at_once] = m
        rstd[i : i + at_once] = r
    y = out.reshape(x.shape)
    if whole:
        y = _affine(y, scale, bias).astype(x.dtype, copy=False)
    kept = (*x.shape[:axis], *[1] * (x.ndim - axis))
    return y, mean.reshape(kept), rstd.reshape(kept)


def _affine_is_whole(
    x: np.ndarray, axis: int, scale: np.ndarray | None, bias: np.ndarray | None
) -> bool:
    """Whether scale or bias vary over dims before `axis`, too."""
    return any(
        p is not None and math.prod(p.shape[: max(p.ndim - (x.ndim - axis), 0)]) != 1
        for p in (scale, bias)
    )


def _row_param(p: np.ndarray | None, x: np.ndarray, axis: int) -> np.ndarray | None:
    """A scale or bias as it meets one row of x[rows, row]; None for none."""
    if p is None:
        return None
    p = _wide(p)
    if p.size == 1:
        return p.reshape(1)
    n = x.ndim - axis
    if p.ndim > n:
        p = p.reshape(p.shape[p.ndim - n :])
    return np.broadcast_to(p, x.shape[axis:]).reshape(-1)


def _affine(x: np.ndarray, scale: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
    if scale is not None:
        x = x * _wide(scale)
    return x if bias is None else x + _wide(bias)


def rms_norm(
    x: np.ndarray, scale: np.ndarray | None = None, *, axis: int, epsilon: float = 1e-5
) -> np.ndarray:
    """x / √(mean(x²) + epsilon) · scale over the dims from `axis` on.

    ONNX RMSNormalization, aten.rms_norm. The scale broadcasts to x.
    """
    row = math.prod(x.shape[axis:])
    whole = _affine_is_whole(x, axis, scale, None)
    a = None if whole else _row_param(scale, x, axis)

    def run(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(-1, row)
        t = flat.dtype.type
        out = flat * (1 / np.sqrt(np.vecdot(flat, flat) / t(row) + t(epsilon)))[:, None]
        if a is not None:
            out *= a
        return out.reshape(x.shape)

    if not x.size:
        return np.empty_like(x)
    if whole:
        return _affine(run(_wide(x)), scale, None).astype(x.dtype, copy=False)
    return _by_rows(run, x, axis)


def batch_norm(
    x: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    *,
    epsilon: float = 1e-5,
) -> np.ndarray:
    """(x − mean) / √(variance + epsilon) · scale + bias for each channel (dim 1 of x).

    ONNX BatchNormalization, aten.native_batch_norm without training. Computed as one factor and one
    offset a channel.
    """
    wide = _wide(x)
    t = wide.dtype
    factor = _wide(scale).astype(t) / np.sqrt(_wide(variance).astype(t) + t.type(epsilon))
    offset = _wide(bias).astype(t) - _wide(mean).astype(t) * factor
    shape = (-1, *[1] * (x.ndim - 2))
    out = wide * factor.reshape(shape)
    out += offset.reshape(shape)
    return out.astype(x.dtype, copy=False)


def group_norm(
    x: np.ndarray,
    scale: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    *,
    groups: int,
    epsilon: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x[N, C, *S] normalised over each group of channels, · scale[C] + bias[C]; mean, rstd[N, G].

    ONNX GroupNormalization and InstanceNormalization (groups = C), aten.native_group_norm. Mean and
    rstd are float32 for 16-bit floats.
    """
    n, c = x.shape[:2]
    size = math.prod(x.shape[2:])
    flat = _wide(x).reshape(n, groups, (c // groups) * size)
    t = flat.dtype.type
    mean = np.add.reduce(flat, axis=2, keepdims=True) / t(flat.shape[2])
    out = flat - mean
    square = np.vecdot(out, out)[..., None] / t(flat.shape[2])
    rstd = 1 / np.sqrt(square + t(epsilon))
    # Scale and rstd are one factor a channel: [N, C, 1].
    per_channel = out.reshape(n, c, size)
    factor = np.repeat(rstd.reshape(n, groups), c // groups, axis=1)
    if scale is not None:
        factor = factor * _wide(scale)
    per_channel *= factor[:, :, None]
    if bias is not None:
        per_channel += _wide(bias)[:, None]
    y = per_channel.reshape(x.shape).astype(x.dtype, copy=False)
    return y, mean.reshape(n, groups), rstd.reshape(n, groups)


__all__ = [
    "batch_norm",
    "group_norm",
    "layer_norm",
    "log_softmax",
    "rms_norm",
    "softmax",
]
