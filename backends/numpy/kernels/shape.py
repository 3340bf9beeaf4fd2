"""Kernels that rearrange elements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def reshape(x: np.ndarray, *, shape: Sequence[int]) -> np.ndarray:
    return x.reshape(shape)


def expand(x: np.ndarray, *, shape: Sequence[int]) -> np.ndarray:
    """Two-way broadcast, a view (ONNX Expand)."""
    target = np.broadcast_shapes(x.shape, tuple(shape))
    return np.broadcast_to(x, target)


def transpose(x: np.ndarray, *, permutation: Sequence[int]) -> np.ndarray:
    return x.transpose(permutation)


def concat(*xs: np.ndarray, axis: int) -> np.ndarray:
    return np.concatenate(xs, axis)


def slice_(
    x: np.ndarray,
    *,
    axes: Sequence[int],
    starts: Sequence[int],
    limits: Sequence[int],
    steps: Sequence[int],
) -> np.ndarray:
    """A view ``x[start:limit:step]`` along each axis; a limit far below 0 means through index 0."""
    index: list[slice] = [slice(None)] * x.ndim
    for axis, start, limit, step in zip(axes, starts, limits, steps, strict=True):
        index[axis] = slice(start, limit, step)
    return x[tuple(index)]


def pad(
    x: np.ndarray,
    value: np.ndarray,
    *,
    low: Sequence[int],
    high: Sequence[int],
    mode: str = "constant",
) -> np.ndarray:
    """Pad or (negative) crop both ends of each dim."""
    if mode == "constant" and any(p < 0 for p in (*low, *high)):
        x = x[
            tuple(
                slice(max(-a, 0), d - max(-b, 0))
                for a, b, d in zip(low, high, x.shape, strict=True)
            )
        ]
        low, high = [max(p, 0) for p in low], [max(p, 0) for p in high]
    if not any(low) and not any(high):
        return x
    if mode == "constant":
        shape = tuple(d + a + b for d, a, b in zip(x.shape, low, high, strict=True))
        out = np.full(shape, value, x.dtype)
        out[tuple(slice(a, a + d) for a, d in zip(low, x.shape, strict=True))] = x
        return out
    for axis, (a, b) in enumerate(zip(low, high, strict=True)):
        if a or b:
            x = x.take(_source_indices(x.shape[axis], a, b, mode), axis)
    return x


def _source_indices(n: int, low: int, high: int, mode: str) -> np.ndarray:
    at = np.arange(-low, n + high)
    if n == 0:
        raise ValueError(f"an empty dim can't be padded with mode '{mode}'")
    if mode == "edge":
        return np.clip(at, 0, n - 1)
    if mode == "wrap" or n == 1:
        return at % n
    period = 2 * (n - 1)
    at = np.abs(at) % period
    return np.where(at >= n, period - at, at)


def iota(*, shape: Sequence[int], axis: int = 0, dtype: np.dtype) -> np.ndarray:
    line = np.arange(shape[axis], dtype=np.int64).astype(dtype)
    if len(shape) == 1:
        return line
    spread = line.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.broadcast_to(spread, tuple(shape))
