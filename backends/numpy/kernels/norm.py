"""Softmax, normalisations and attention. 16-bit floats are computed in float32."""

from __future__ import annotations

import numpy as np

from aicc.backends.numpy.kernels.elementwise import is_low_float

MAX_SCORES = 1 << 25
"""The most attention scores held at once; longer queries are taken in blocks."""


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) if is_low_float(x.dtype) else x


def softmax(x: np.ndarray, *, axis: int) -> np.ndarray:
    wide = _wide(x)
    out = np.exp(wide - np.max(wide, axis=axis, keepdims=True, initial=-np.inf))
    out /= np.add.reduce(out, axis=axis, keepdims=True)
    return out.astype(x.dtype, copy=False)


def log_softmax(x: np.ndarray, *, axis: int) -> np.ndarray:
    wide = _wide(x)
    out = wide - np.max(wide, axis=axis, keepdims=True, initial=-np.inf)
    out = out - np.log(np.add.reduce(np.exp(out), axis=axis, keepdims=True))
    return out.astype(x.dtype, copy=False)


def layer_norm(x, scale=None, bias=None, *, axis: int, epsilon: float = 1e-5):
    wide = _wide(x)
    axes = tuple(range(axis, x.ndim))
    mean = np.mean(wide, axis=axes, keepdims=True)
    out = wide - mean
    variance = np.mean(np.square(out), axis=axes, keepdims=True)
    rstd = 1 / np.sqrt(variance + wide.dtype.type(epsilon))
    out = out * rstd
    if scale is not None:
        out = out * _wide(scale)
    if bias is not None:
        out = out + _wide(bias)
    return out.astype(x.dtype, copy=False), mean, rstd


def rms_norm(x, scale=None, *, axis: int, epsilon: float = 1e-5) -> np.ndarray:
    wide = _wide(x)
    axes = tuple(range(axis, x.ndim))
    square = np.mean(np.square(wide), axis=axes, keepdims=True)
    out = wide / np.sqrt(square + wide.dtype.type(epsilon))
    if scale is not None:
        out = out * _wide(scale)
    return out.astype(x.dtype, copy=False)


def batch_norm(x, scale, bias, mean, variance, *, epsilon: float = 1e-5) -> np.ndarray:
    wide = _wide(x)
    t = wide.dtype
    factor = _wide(scale).astype(t) / np.sqrt(_wide(variance).astype(t) + t.type(epsilon))
    offset = _wide(bias).astype(t) - _wide(mean).astype(t) * factor
    shape = (-1, *[1] * (x.ndim - 2))
    out = wide * factor.reshape(shape)
    out += offset.reshape(shape)
    return out.astype(x.dtype, copy=False)


def group_norm(x, scale=None, bias=None, *, groups: int, epsilon: float = 1e-5):
    wide = _wide(x)
    n, c = x.shape[:2]
    flat = wide.reshape(n, groups, -1)
    mean = np.mean(flat, axis=2, keepdims=True)
    out = flat - mean
    variance = np.mean(np.square(out), axis=2, keepdims=True)
    rstd = 1 / np.sqrt(variance + wide.dtype.type(epsilon))
    out = (out * rstd).reshape(x.shape)
    shape = (c, *[1] * (x.ndim - 2))
    if scale is not None:
        out = out * _wide(scale).reshape(shape)
    if bias is not None:
        out = out + _wide(bias).reshape(shape)
    return out.astype(x.dtype, copy=False), mean.reshape(n, groups), rstd.reshape(n, groups)


def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    scale: float,
    causal: str = "none",
    softcap: float = 0.0,
) -> np.ndarray:
    """softmax(q kᵀ · scale + mask) v, blocked over queries; see ``graph.attention``."""
    dtype = q.dtype
    q, k, v = _wide(q), _wide(k), _wide(v)
    batch, heads, length, depth = q.shape
    groups, total = k.shape[1], k.shape[2]
    share = heads // groups
    t = q.dtype.type
    grouped = (q * t(scale)).reshape(batch, groups, share, length, depth)
    keys = k.swapaxes(-1, -2)[:, :, None]
    values = v[:, :, None]
    if mask is not None:
        mask = mask if mask.dtype == np.bool_ else _wide(mask)
        mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
        if mask.shape[1] == 1:
            mask = mask[:, :, None]
        else:
            mask = mask.reshape(mask.shape[0], groups, share, *mask.shape[2:])
    out = np.empty((batch, groups, share, length, v.shape[3]), q.dtype)
    block = max(1, min(length, MAX_SCORES // max(batch * heads * total, 1)))
    for start in range(0, length, block):
        stop = min(start + block, length)
        scores = np.matmul(grouped[..., start:stop, :], keys)
        if softcap:
            scores = np.tanh(scores / t(softcap)) * t(softcap)
        hidden = None
        if mask is not None:
            part = mask if mask.shape[-2] == 1 else mask[..., start:stop, :]
            if part.dtype == np.bool_:
                hidden = ~part
            else:
                scores = scores + part
        if causal != "none":
            offset = total - length if causal == "lower_right" else 0
            rows = np.arange(start, stop)[:, None] + offset
            future = np.arange(total) > rows
            hidden = future if hidden is None else hidden | future
        if hidden is not None:
            scores = np.where(hidden, t(-np.inf), scores)
        top = np.max(scores, axis=-1, keepdims=True, initial=-np.inf)
        scores = np.exp(scores - np.where(np.isneginf(top), t(0), top))
        norm = np.add.reduce(scores, axis=-1, keepdims=True)
        scores /= np.where(norm == 0, t(1), norm)
        np.matmul(scores, values, out=out[..., start:stop, :])
    return out.reshape(batch, heads, length, v.shape[3]).astype(dtype, copy=False)
