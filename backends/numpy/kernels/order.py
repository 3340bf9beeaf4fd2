"""Sort, top-k and unique. NaN counts as the largest; equal elements keep their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aicc.backends.numpy.kernels.elementwise import is_low_float, is_sub_byte_int

SELECT_FROM = 256
"""Rows at least this long, and 8 times as long as k, are partitioned instead of sorted."""


def _sortable(x: np.ndarray) -> np.ndarray:
    """The same order in a dtype that NumPy sorts."""
    if is_low_float(x.dtype):
        return x.astype(np.float32)
    return x.astype(np.int8) if is_sub_byte_int(x.dtype) else x


def _order(x: np.ndarray, axis: int, descending: bool) -> np.ndarray:
    """Indices that sort along `axis`, stable, NaN as the largest."""
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    backward = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(backward, axis)


def sort(x: np.ndarray, *, axis: int, descending: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """x sorted along `axis`, and the indices (int64) in that order; stable. aten.sort."""
    order = _order(_sortable(x), axis, descending)
    return np.take_along_axis(x, order, axis), order.astype(np.int64, copy=False)


def top_k(
    x: np.ndarray, *, axis: int, k: Sequence[int], largest: bool = True, sorted: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The k[0] largest or smallest elements along `axis`, and their indices (int64).

    Always sorted; of equal elements the lower indices come first. ONNX TopK, aten.topk.
    """
    count, n = k[0], x.shape[axis]
    if count > n:
        raise ValueError(f"k = {count} is above the size {n} of axis {axis}")
    keys = _sortable(x)
    if count and n >= SELECT_FROM and n >= 8 * count and keys.dtype.kind in "iuf":
        order = _select(np.moveaxis(keys, axis, -1), count, largest)
        order = np.moveaxis(order, -1, axis)
    else:
        order = _order(keys, axis, largest)
        order = order[(*[slice(None)] * axis, slice(count))]
    return np.take_along_axis(x, order, axis), order.astype(np.int64, copy=False)


def _select(x: np.ndarray, k: int, largest: bool) -> np.ndarray:
    """Indices of the k extreme elements of x[..., n], in order: those beyond the k-th one, and as
    many of those equal to it as are needed, from the first on.
    """
    n = x.shape[-1]
    kth = n - k if largest else k - 1
    bound = np.partition(x, kth, axis=-1)[..., kth : kth + 1]
    equal = x == bound
    beyond = x > bound if largest else x < bound
    if x.dtype.kind == "f":
        nan, nan_bound = np.isnan(x), np.isnan(bound)
        if nan_bound.any() or nan.any():
            equal |= nan & nan_bound
            beyond |= (nan & ~nan_bound) if largest else (~nan & nan_bound)
    missing = k - np.count_nonzero(beyond, axis=-1, keepdims=True)
    if (np.count_nonzero(equal, axis=-1, keepdims=True) > missing).any():
        equal &= np.cumsum(equal, axis=-1) <= missing
    chosen = np.nonzero(beyond | equal)[-1].reshape(*x.shape[:-1], k)
    order = _order(np.take_along_axis(x, chosen, -1), x.ndim - 1, largest)
    return np.take_along_axis(chosen, order, -1)


def unique(
    x: np.ndarray, *, axis: int | None = None, sorted: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distinct elements (or slices along `axis`), where each first occurs, which one each element
    is, and how often each occurs (the last three int64). ONNX Unique, aten.unique_dim.

    Without `sorted`, in the order of first occurrence. All NaNs are one.
    """
    _, first, inverse, counts = np.unique(
        _sortable(x), return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        first, counts, inverse = first[order], counts[order], rank[inverse]
    values = x.take(first, axis)
    return (
        values,
        first.astype(np.int64, copy=False),
        inverse.astype(np.int64, copy=False),
        counts.astype(np.int64, copy=False),
    )
