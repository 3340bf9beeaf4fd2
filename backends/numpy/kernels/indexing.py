"""Gather and scatter. Negative indices count from the end; out of range is an IndexError."""

from __future__ import annotations

import math

import numpy as np

from aicc.backends.numpy.kernels.elementwise import is_low_float, is_sub_byte_int, wrap_narrow
from aicc.backends.numpy.kernels.order import sort, top_k, unique

_UFUNC = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def gather(x: np.ndarray, indices: np.ndarray, *, axis: int = 0) -> np.ndarray:
    """x's slices along `axis` at `indices`: [*before, *indices.shape, *after]. ONNX Gather,
    aten.index_select.
    """
    return x.take(indices, axis)


def gather_elements(x: np.ndarray, indices: np.ndarray, *, axis: int = 0) -> np.ndarray:
    """out[i, j, …] = x[indices[i, j, …], j, …] for axis 0. ONNX GatherElements, aten.gather.

    `indices` has x's rank and may be smaller along the other axes.
    """
    if not indices.size:
        return np.empty(indices.shape, x.dtype)
    return x[_grid(indices, axis)]


def _grid(indices: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """Index arrays that vary along each dim, with `indices` itself for `axis`."""
    rank = indices.ndim
    out = []
    for i, n in enumerate(indices.shape):
        line = np.arange(n).reshape((1,) * i + (n,) + (1,) * (rank - 1 - i))
        out.append(indices if i == axis else line)
    return tuple(out)


def gather_nd(x: np.ndarray, indices: np.ndarray, *, batch_dims: int = 0) -> np.ndarray:
    """x's slices at the tuples in the last dim of `indices`. ONNX GatherND, aten.index.

    The first `batch_dims` dims of both are one and the same.
    """
    depth = indices.shape[-1]
    if batch_dims == 0:
        if depth == 1:
            return x.take(indices[..., 0], 0)
        if depth == 0:
            return np.broadcast_to(x, indices.shape[:-1] + x.shape).copy()
        return x[tuple(indices[..., i] for i in range(depth))]
    extra = indices.ndim - 1 - batch_dims
    grids = np.ogrid[tuple(slice(n) for n in indices.shape[:batch_dims])]
    at_batch = [g.reshape(g.shape + (1,) * extra) for g in grids]
    return x[(*at_batch, *(indices[..., i] for i in range(depth)))]


def scatter_elements(
    x: np.ndarray,
    indices: np.ndarray,
    updates: np.ndarray,
    *,
    axis: int = 0,
    reduction: str = "none",
) -> np.ndarray:
    """x with x[indices[i, j, …], j, …] set to (or joined with) updates[i, j, …], for axis 0.

    ONNX ScatterElements, aten.scatter and scatter_reduce. Of equal indices the last one counts.
    `updates` may be larger than `indices`.
    """
    if updates.shape != indices.shape:
        updates = updates[tuple(slice(n) for n in indices.shape)]
    if not indices.size:
        return x.copy()
    return _update(x, _grid(indices, axis), updates, reduction)


def scatter_nd(
    x: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, reduction: str = "none"
) -> np.ndarray:
    """x with its slices at the tuples in the last dim of `indices` set to (or joined with) updates.

    ONNX ScatterND, aten.index_put. Of equal tuples the last one counts.
    """
    depth = indices.shape[-1]
    if not updates.size:
        return x.copy()
    if not depth:
        indices, x_in = np.zeros((*indices.shape[:-1], 1), np.int64), x[None]
        return scatter_nd(x_in, indices, updates, reduction=reduction)[0]
    return _update(x, tuple(indices[..., i] for i in range(depth)), updates, reduction)


def _update(
    x: np.ndarray, index: tuple[np.ndarray, ...], updates: np.ndarray, reduction: str
) -> np.ndarray:
    if reduction == "none":
        out = x.copy()
        out[index] = updates
        return out
    dtype = x.dtype
    if is_low_float(dtype):
        x, updates = x.astype(np.float32), updates.astype(np.float32)
    elif is_sub_byte_int(dtype):
        x, updates = x.astype(np.int64), updates.astype(np.int64)
    out = np.array(x, order="C")
    # ufunc.at is fast for one flat index array only.
    at = _flat_index(x.shape, index)
    flat = np.broadcast_to(at, updates.shape).reshape(-1)
    _UFUNC[reduction].at(out.reshape(-1), flat, updates.reshape(-1))
    if out.dtype == dtype:
        return out
    return wrap_narrow(out, dtype) if is_sub_byte_int(dtype) else out.astype(dtype)


def _flat_index(shape: tuple[int, ...], index: tuple[np.ndarray, ...]) -> np.ndarray:
    """Row-major positions of the elements of x at x[index]."""
    flat = np.zeros((), np.int64)
    for n, i in zip(shape, index, strict=False):
        if i.size and (i.max() >= n or i.min() < -n):
            raise IndexError(f"an index is out of range for a dim of size {n}")
        flat = flat * n + np.where(i < 0, i + n, i)
    rest = shape[len(index) :]
    size = math.prod(rest)
    return flat[(..., *[None] * len(rest))] * size + np.arange(size).reshape(rest)


def non_zero(x: np.ndarray) -> np.ndarray:
    """The indices [rank, count] of the elements other than 0, row-major. ONNX NonZero."""
    if x.ndim == 0:
        return np.zeros((0, int(bool(x))), np.int64)
    return np.stack(np.nonzero(x)).astype(np.int64, copy=False)


__all__ = [
    "gather",
    "gather_elements",
    "gather_nd",
    "non_zero",
    "scatter_elements",
    "scatter_nd",
    "sort",
    "top_k",
    "unique",
]
