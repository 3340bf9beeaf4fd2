"""Gather, scatter, sort and their like. Negative indices count from the end."""

from __future__ import annotations

import numpy as np

from aicc.backends.numpy.kernels.elementwise import is_narrow

_UFUNC = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def gather(x: np.ndarray, indices: np.ndarray, *, axis: int = 0) -> np.ndarray:
    return x.take(indices, axis)


def gather_elements(x: np.ndarray, indices: np.ndarray, *, axis: int = 0) -> np.ndarray:
    if not indices.size:
        return np.empty(indices.shape, x.dtype)
    crop = tuple(slice(None) if i == axis else slice(n) for i, n in enumerate(indices.shape))
    _check(indices, x.shape[axis])
    return np.take_along_axis(x[crop], _positive(indices, x.shape[axis]), axis)


def _positive(indices: np.ndarray, size: int) -> np.ndarray:
    indices = indices.astype(np.int64, copy=False)
    return np.where(indices < 0, indices + size, indices)


def _check(indices: np.ndarray, size: int) -> None:
    if indices.size and (indices.max() >= size or indices.min() < -size):
        raise IndexError(f"an index is out of range for a dim of size {size}")


def gather_nd(x: np.ndarray, indices: np.ndarray, *, batch_dims: int = 0) -> np.ndarray:
    depth = indices.shape[-1]
    if batch_dims == 0:
        return (
            x[tuple(np.moveaxis(indices, -1, 0))]
            if depth
            else np.broadcast_to(x, indices.shape[:-1] + x.shape)
        )
    grids = np.ogrid[tuple(slice(n) for n in indices.shape[:batch_dims])]
    extra = indices.ndim - 1 - batch_dims
    grids = [g.reshape(g.shape + (1,) * extra) for g in grids]
    return x[(*grids, *np.moveaxis(indices, -1, 0))]


def scatter_elements(
    x: np.ndarray,
    indices: np.ndarray,
    updates: np.ndarray,
    *,
    axis: int = 0,
    reduction: str = "none",
) -> np.ndarray:
    out = x.copy()
    if not indices.size:
        return out
    grids = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
    _check(indices, x.shape[axis])
    grids[axis] = _positive(indices, x.shape[axis])
    if updates.shape != indices.shape:
        updates = updates[tuple(slice(n) for n in indices.shape)]
    _update(out, tuple(grids), updates, reduction)
    return out


def scatter_nd(
    x: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, reduction: str = "none"
) -> np.ndarray:
    out = x.copy()
    if not indices.shape[-1]:
        return _scatter_whole(out, updates, reduction)
    _update(out, tuple(np.moveaxis(indices, -1, 0)), updates, reduction)
    return out


def _scatter_whole(out: np.ndarray, updates: np.ndarray, reduction: str) -> np.ndarray:
    parts = updates.reshape((-1, *out.shape))
    for part in parts:
        out = part.copy() if reduction == "none" else _UFUNC[reduction](out, part)
    return out


def _update(out: np.ndarray, index: tuple, updates: np.ndarray, reduction: str) -> None:
    if reduction == "none":
        out[index] = updates
        return
    if is_narrow(out.dtype) or out.dtype == np.float16:
        wide = out.astype(np.float32)
        _UFUNC[reduction].at(wide, index, updates.astype(np.float32))
        out[...] = wide.astype(out.dtype)
    else:
        _UFUNC[reduction].at(out, index, updates)


def non_zero(x: np.ndarray) -> np.ndarray:
    if x.ndim == 0:
        return np.zeros((0, int(bool(x))), np.int64)
    return np.stack(np.nonzero(x)).astype(np.int64, copy=False)


def unique(x: np.ndarray, *, axis: int | None = None, sorted: bool = True):
    values, first, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        values = values.take(order, 0 if axis is None else axis)
        first, counts, inverse = first[order], counts[order], rank[inverse]
    return (
        values,
        first.astype(np.int64),
        inverse.astype(np.int64),
        counts.astype(np.int64),
    )


def _order(x: np.ndarray, axis: int, descending: bool) -> np.ndarray:
    """Indices that sort along `axis`, stable, NaN as the largest."""
    if is_narrow(x.dtype):
        x = x.astype(np.float32)
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    n = x.shape[axis]
    backward = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return n - 1 - np.flip(backward, axis)


def sort(x: np.ndarray, *, axis: int, descending: bool = False):
    order = _order(x, axis, descending)
    return np.take_along_axis(x, order, axis), order.astype(np.int64, copy=False)


def top_k(
    x: np.ndarray, *, axis: int, k, largest: bool = True, sorted: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    if k[0] > x.shape[axis]:
        raise ValueError(f"k = {k[0]} is above the size {x.shape[axis]} of axis {axis}")
    order = _order(x, axis, largest)
    order = order[tuple(slice(k[0]) if i == axis else slice(None) for i in range(x.ndim))]
    return np.take_along_axis(x, order, axis), order.astype(np.int64, copy=False)
