"""Kernels that rearrange elements. All but `concat` and `pad` give views where they can."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aicc.ir.graph.resampling import padded_places


def reshape(x: np.ndarray, *, shape: Sequence[int]) -> np.ndarray:
    """x's elements in row-major order as `shape`, where one size may be −1. ONNX Reshape."""
    return x.reshape(shape)


def expand(x: np.ndarray, *, shape: Sequence[int]) -> np.ndarray:
    """x and `shape` broadcast against each other, a view. ONNX Expand, aten.expand."""
    shape = tuple(shape)
    if len(shape) < x.ndim or 1 in shape:
        shape = np.broadcast_shapes(x.shape, shape)
    return np.broadcast_to(x, shape)


def transpose(x: np.ndarray, *, permutation: Sequence[int]) -> np.ndarray:
    """Result dim i is x's dim `permutation[i]`, a view. ONNX Transpose, aten.permute."""
    return x.transpose(permutation)


def concat(*xs: np.ndarray, axis: int) -> np.ndarray:
    """xs joined along `axis`. ONNX Concat, aten.cat."""
    return np.concatenate(xs, axis)


def slice_(
    x: np.ndarray,
    *,
    axes: Sequence[int],
    starts: Sequence[int],
    limits: Sequence[int],
    steps: Sequence[int],
) -> np.ndarray:
    """A view ``x[start:limit:step]`` along each axis. ONNX Slice, aten.slice.

    A limit far below 0 with a negative step means through index 0.
    """
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
    """x with `low[i]` and `high[i]` elements added at the ends of dim i, or cropped where negative.

    Modes: "constant" (`value`), "edge", "reflect" (without the edge), "wrap": what they add comes
    from the whole of x, cropped parts included. ONNX Pad, aten.constant_pad_nd.
    """
    if not any(low) and not any(high):
        return x
    if mode == "constant":
        ends = list(zip(x.shape, low, high, strict=True))
        out = np.full([d + a + b for d, a, b in ends], value, x.dtype)
        part = x[tuple(slice(max(-a, 0), max(d + min(b, 0), 0)) for d, a, b in ends)]
        starts = [max(a, 0) for a in low]
        out[tuple(slice(a, a + d) for a, d in zip(starts, part.shape, strict=True))] = part
        return out
    for axis, (a, b) in enumerate(zip(low, high, strict=True)):
        if a or b:
            if x.shape[axis] == 0:
                raise ValueError(f"an empty dim can't be padded with mode '{mode}'")
            x = x.take(padded_places(x.shape[axis], a, b, mode), axis)
    return x


def iota(*, shape: Sequence[int], axis: int = 0, dtype: np.dtype) -> np.ndarray:
    """Each element's index along `axis`. ONNX Range and aten.arange are built from it."""
    line = np.arange(shape[axis], dtype=np.int64).astype(dtype)
    if len(shape) == 1:
        return line
    spread = line.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.broadcast_to(spread, tuple(shape))
