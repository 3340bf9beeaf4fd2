"""Reductions and scans. 16-bit and narrower floats accumulate in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from aicc.backends.numpy.kernels.elementwise import is_low_float


def _reducer(fn: Callable[..., np.ndarray], ints: bool = True) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, *, axes: Sequence[int], keepdims: bool = False) -> np.ndarray:
        if not axes:
            return x
        axes = tuple(axes)
        if is_low_float(x.dtype):
            return fn(x.astype(np.float32), axis=axes, keepdims=keepdims).astype(x.dtype)
        if x.dtype.kind in "iu":
            return fn(x, axis=axes, keepdims=keepdims, dtype=x.dtype)
        return fn(x, axis=axes, keepdims=keepdims)

    return run


reduce_sum = _reducer(np.add.reduce)
reduce_prod = _reducer(np.multiply.reduce)


def _extreme(fn: np.ufunc, for_bool: np.ufunc) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, *, axes: Sequence[int], keepdims: bool = False) -> np.ndarray:
        if not axes:
            return x
        axes = tuple(axes)
        reduce = for_bool if x.dtype == np.bool_ else fn
        if any(x.shape[a] == 0 for a in axes):
            return reduce.reduce(
                x, axis=axes, keepdims=keepdims, initial=_identity(fn is np.maximum, x.dtype)
            )
        return reduce.reduce(x, axis=axes, keepdims=keepdims)

    return run


def _identity(is_max: bool, dtype: np.dtype):
    if dtype == np.bool_:
        return not is_max
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return info.min if is_max else info.max
    return dtype.type(-np.inf if is_max else np.inf)


reduce_max = _extreme(np.maximum, np.logical_or)
reduce_min = _extreme(np.minimum, np.logical_and)


def reduce_mean(x: np.ndarray, *, axes: Sequence[int], keepdims: bool = False) -> np.ndarray:
    if not axes:
        return x
    axes = tuple(axes)
    count = 1
    for a in axes:
        count *= x.shape[a]
    if x.dtype.kind in "iu":
        total = np.add.reduce(x, axis=axes, keepdims=keepdims, dtype=np.int64)
        return np.trunc(total / count).astype(x.dtype)
    wide = x.astype(np.float32) if is_low_float(x.dtype) else x
    total = np.add.reduce(wide, axis=axes, keepdims=keepdims)
    return (total / total.dtype.type(count)).astype(x.dtype)


def _arg(fn: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def run(
        x: np.ndarray, *, axis: int, keepdims: bool = False, select_last_index: bool = False
    ) -> np.ndarray:
        if is_low_float(x.dtype) or x.dtype.kind == "V" or x.dtype.num >= 256:
            x = x.astype(np.float32)
        if select_last_index:
            out = x.shape[axis] - 1 - fn(np.flip(x, axis), axis=axis, keepdims=keepdims)
        else:
            out = fn(x, axis=axis, keepdims=keepdims)
        return np.asarray(out, np.int64)

    return run


argmax = _arg(np.argmax)
argmin = _arg(np.argmin)


def _scan(fn: np.ufunc, start: int) -> Callable[..., np.ndarray]:
    def run(
        x: np.ndarray, *, axis: int, exclusive: bool = False, reverse: bool = False
    ) -> np.ndarray:
        wide = x.astype(np.float32) if is_low_float(x.dtype) else x
        if reverse:
            wide = np.flip(wide, axis)
        out = fn.accumulate(wide, axis=axis, dtype=wide.dtype)
        if exclusive:
            first = np.full_like(out.take([0], axis) if out.shape[axis] else out, start)
            body = out.take(np.arange(max(out.shape[axis] - 1, 0)), axis)
            out = np.concatenate([first, body], axis)
        if reverse:
            out = np.flip(out, axis)
        return out.astype(x.dtype)

    return run


cumsum = _scan(np.add, 0)
cumprod = _scan(np.multiply, 1)


def _arg_scan(fn: np.ufunc) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    def run(x: np.ndarray, *, axis: int) -> tuple[np.ndarray, np.ndarray]:
        running = fn.accumulate(x, axis=axis)
        here = np.arange(x.shape[axis]).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
        is_new = (x == running) | (np.isnan(x) if x.dtype.kind == "f" else False)
        indices = np.maximum.accumulate(np.where(is_new, here, 0), axis=axis)
        return running, indices.astype(np.int64)

    return run


cummax = _arg_scan(np.maximum)
cummin = _arg_scan(np.minimum)
