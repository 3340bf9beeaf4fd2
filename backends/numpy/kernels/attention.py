"""Scaled dot-product attention, blocked so that the scores stay small."""

from __future__ import annotations

from typing import Any

import numpy as np

from aicc.backends.numpy.kernels.elementwise import is_low_float

BLOCK = 1 << 20
"""The most attention scores held at once."""

CAUSAL_ROWS = 128
"""The most queries of a block with a causal mask, as it computes no keys after its last query."""


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) if is_low_float(x.dtype) else x


def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    scale: float,
    causal: str = "none",
    window: int = 0,
    softcap: float = 0.0,
) -> np.ndarray:
    """softmax(softcap(q kᵀ · scale) + mask) v for q[B, H, S, D], k[B, G, T, D], v[B, G, T, E].

    H is a multiple of G: H/G query heads share a key head, whose keys are not repeated. `mask`
    broadcasts to [B, H, S, T]: a boolean one keeps where true, another is added. `causal` hides
    keys after the query, counted from the first ("upper_left") or last ("lower_right") position,
    and a `window` w > 0 those that are w or more before it.
    Rows with every key hidden, and rows without keys, give 0 (as aten.scaled_dot_product_attention
    does). 16-bit floats are computed in float32. ONNX Attention.
    """
    return _attention(q, k, v, mask, scale, causal, window, softcap, None)


def attention_with_lse(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    scale: float,
    causal: str = "none",
    window: int = 0,
    softcap: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """As `attention`, and the log-sum-exp of each row's scores: [B, H, S], −∞ if all are hidden."""
    dtype = np.float32 if is_low_float(q.dtype) else q.dtype
    lse = np.full(q.shape[:3], -np.inf, dtype)
    return _attention(q, k, v, mask, scale, causal, window, softcap, lse), lse


def attention_backward_query(*operands: np.ndarray, **params: Any) -> np.ndarray:
    """The gradient by q: `operands` are q, k, v, grad, lse, delta and a mask, if there is one.

    `params` are attention's scale, causal and window.
    """
    q, k = operands[:2]
    _, by_scores = _gradients(*operands, **params)
    return np.matmul(by_scores, _wide(k)).astype(q.dtype, copy=False)


def attention_backward_key_value(
    *operands: np.ndarray, **params: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The gradients by k and v; operands and params as for `attention_backward_query`."""
    q, grad = operands[0], operands[3]
    weights, by_scores = _gradients(*operands, **params)
    by_key = np.matmul(by_scores.swapaxes(2, 3), _wide(q))
    by_value = np.matmul(weights.swapaxes(2, 3), _wide(grad))
    return by_key.astype(q.dtype, copy=False), by_value.astype(q.dtype, copy=False)


def _gradients(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    grad: np.ndarray,
    lse: np.ndarray,
    delta: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    scale: float,
    causal: str,
    window: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Attention's weights, and the gradient by its scores."""
    scores = np.matmul(_wide(q), _wide(k).swapaxes(2, 3)) * lse.dtype.type(scale)
    length, total = scores.shape[2:]
    keep = np.ones((length, total), bool)
    if causal != "none":
        ahead = total - length if causal == "lower_right" else 0
        keep = np.tri(length, total, ahead, dtype=bool)
        if window:
            keep &= ~np.tri(length, total, ahead - window, dtype=bool)
    if mask is not None and mask.dtype == np.bool_:
        keep = keep & mask
    elif mask is not None:
        scores = scores + _wide(mask)
    scores = np.where(keep, scores, -np.inf)
    weights = np.exp(scores - np.where(np.isneginf(lse), 0, lse)[..., None])
    by_weights = np.matmul(_wide(grad), _wide(v).swapaxes(2, 3))
    by_scores = weights * (by_weights - delta[..., None]) * lse.dtype.type(scale)
    return weights.astype(lse.dtype, copy=False), by_scores.astype(lse.dtype, copy=False)


def _attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None,
    scale: float,
    causal: str,
    window: int,
    softcap: float,
    lse: np.ndarray | None,
) -> np.ndarray:
    """Attention in blocks; `lse` is written, where it is given."""
    batch, heads, length, depth = q.shape
    groups, total = k.shape[1], k.shape[2]
    share = heads // groups
    dtype = np.dtype(np.float32) if is_low_float(q.dtype) else q.dtype
    out = np.zeros((batch, groups, share, length, v.shape[3]), dtype)
    offset = total - length if causal == "lower_right" else 0
    masks = None
    if mask is not None:
        mask = np.broadcast_to(mask, (batch, heads, length, total))
        masks = mask.reshape(batch, groups, share, length, total)
    rows = max(1, min(length, BLOCK // max(share * total, 1)))
    if causal != "none":
        rows = min(rows, CAUSAL_ROWS)
    at_once = max(1, BLOCK // max(share * rows * total, 1))
    for b in range(batch):
        for g in range(0, groups, at_once):
            heads_of = slice(g, g + at_once)
            keys, values = _wide(k[b, heads_of]).swapaxes(1, 2), _wide(v[b, heads_of])
            queries = q[b].reshape(groups, share, length, depth)[heads_of]
            queries = _wide(queries) * dtype.type(scale)
            for start in range(0, length, rows):
                stop = min(start + rows, length)
                seen = total if causal == "none" else min(total, stop + offset)
                if seen <= 0:
                    continue
                part = None if masks is None else masks[b, heads_of, :, start:stop, :seen]
                future = None
                if causal != "none" and (window or seen > start + offset + 1):
                    last = np.arange(start, stop)[:, None] + offset
                    future = np.arange(seen) > last
                    if window:
                        future |= np.arange(seen) <= last - window
                rows_of = None
                if lse is not None:
                    grouped = lse[b].reshape(groups, share, length)
                    rows_of = grouped[heads_of, :, start:stop]
                out[b, heads_of, :, start:stop] = _attend(
                    queries[:, :, start:stop],
                    keys[..., :seen],
                    values[:, :seen],
                    part,
                    future,
                    softcap,
                    rows_of,
                )
    return out.reshape(batch, heads, length, v.shape[3]).astype(q.dtype, copy=False)


def _attend(
    q: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    mask: np.ndarray | None,
    future: np.ndarray | None,
    softcap: float,
    lse: np.ndarray | None,
) -> np.ndarray:
    """One block: q[G, share, S, D] (scaled), keys[G, D, T], values[G, T, E], mask[G, share, S, T],
    future[S, T]; lse[G, share, S] is written.
    """
    groups, share, length, depth = q.shape
    # The heads that share keys are rows of one product.
    scores = np.matmul(q.reshape(groups, share * length, depth), keys)
    scores = scores.reshape(groups, share, length, keys.shape[-1])
    t = scores.dtype.type
    if softcap:
        scores /= t(softcap)
        np.tanh(scores, out=scores)
        scores *= t(softcap)
    if mask is not None:
        if mask.dtype == np.bool_:
            np.copyto(scores, t(-np.inf), where=~mask)
        else:
            scores += _wide(mask)
    if future is not None:
        np.copyto(scores, t(-np.inf), where=future)
    top = np.maximum.reduce(scores, axis=-1, keepdims=True, initial=-np.inf)
    if mask is not None or future is not None:
        top[np.isneginf(top)] = 0
    scores -= top
    np.exp(scores, out=scores)
    norm = np.add.reduce(scores, axis=-1, keepdims=True)
    if lse is not None:
        with np.errstate(divide="ignore"):
            lse[...] = (np.log(norm) + top)[..., 0]
    norm[norm == 0] = 1
    out = np.matmul(scores.reshape(groups, share * length, -1), values)
    out = out.reshape(groups, share, length, values.shape[-1])
    out /= norm
    return out
