"""Reductions and scans. 16-bit and narrower floats accumulate in float32 and are rounded once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from aicc.backends.numpy.kernels.elementwise import (
    div,
    is_low_float,
    is_narrow,
    is_sub_byte_int,
    wrap_narrow,
)

CHUNK = 512
"""Rows added one after the other before partial sums are added, where NumPy doesn't do so."""


def _widened(x: np.ndarray) -> np.ndarray:
    """Dtypes of ml_dtypes and f16 as one that NumPy reduces well."""
    if is_low_float(x.dtype):
        return x.astype(np.float32)
    return x.astype(np.int64) if is_sub_byte_int(x.dtype) else x


def _narrowed(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if x.dtype == dtype:
        return x
    return wrap_narrow(x, dtype) if is_sub_byte_int(dtype) else x.astype(dtype)


def _sum(x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """np.add.reduce in x's dtype. Along an outer axis it adds row after row, whose rounding errors
    grow with their number; so long ones are added in chunks first.
    """
    if x.dtype.kind in "iu":
        return np.add.reduce(x, axis=axes, keepdims=keepdims, dtype=x.dtype)
    if len(axes) == 1 and axes[0] < x.ndim - 1 and x.shape[axes[0]] >= 4 * CHUNK:
        axis, n = axes[0], x.shape[axes[0]]
        starts = np.arange(0, n, CHUNK)
        x = np.add.reduceat(x, starts, axis=axis)
    return np.add.reduce(x, axis=axes, keepdims=keepdims)


def reduce_sum(x: np.ndarray, *, axes: Sequence[int], keepdims: bool = False) -> np.ndarray:
    """The sum over `axes`, in x's dtype (integers wrap). ONNX ReduceSum, aten.sum."""
    if not axes:
        return x
    return _narrowed(_sum(_widened(x), tuple(axes), keepdims), x.dtype)


def reduce_prod(x: np.ndarray, *, axes: Sequence[int], keepdims: bool = False) -> np.ndarray:
    """The product over `axes`, in x's dtype (integers wrap). ONNX ReduceProd, aten.prod."""
    if not axes:
        return x
    wide = _widened(x)
    out = np.multiply.reduce(wide, axis=tuple(axes), keepdims=keepdims, dtype=wide.dtype)
    return _narrowed(out, x.dtype)


def reduce_mean(x: np.ndarray, *, axes: Sequence[int], keepdims: bool = False) -> np.ndarray:
    """The mean over `axes`; of integers, rounded toward zero. ONNX ReduceMean, aten.mean."""
    if not axes:
        return x
    count = math.prod([x.shape[a] for a in axes])
    wide = _widened(x)
    if wide.dtype.kind in "iu":
        wide = wide.astype(np.uint64 if wide.dtype.kind == "u" else np.int64)
        total = _sum(wide, tuple(axes), keepdims)
        return _narrowed(div(total, total.dtype.type(count)), x.dtype)
    total = _sum(wide, tuple(axes), keepdims)
    return _narrowed(total / total.dtype.type(count), x.dtype)


def _extreme(fn: np.ufunc, is_max: bool) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, *, axes: Sequence[int], keepdims: bool = False) -> np.ndarray:
        if not axes:
            return x
        axes = tuple(axes)
        wide = _widened(x)
        if wide.dtype != np.bool_ and math.prod([x.shape[a] for a in axes]) == 0:
            initial = _identity(is_max, wide.dtype)
            out = fn.reduce(wide, axis=axes, keepdims=keepdims, initial=initial)
        elif wide.dtype == np.bool_:
            logical = np.logical_or if is_max else np.logical_and
            out = logical.reduce(wide, axis=axes, keepdims=keepdims)
        else:
            out = fn.reduce(wide, axis=axes, keepdims=keepdims)
        return _narrowed(out, x.dtype)

    run.__name__ = run.__qualname__ = "reduce_max" if is_max else "reduce_min"
    run.__doc__ = f"""The {"maximum" if is_max else "minimum"} over `axes`; NaN wins; of booleans,
    logical {"or" if is_max else "and"}. Over no elements the identity ({"−" if is_max else ""}∞ for
    floats). ONNX Reduce{"Max" if is_max else "Min"}, aten.{"amax" if is_max else "amin"}."""
    return run


def _identity(is_max: bool, dtype: np.dtype):
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return info.min if is_max else info.max
    return dtype.type(-np.inf if is_max else np.inf)


reduce_max = _extreme(np.maximum, True)
reduce_min = _extreme(np.minimum, False)


def _arg(fn: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def run(
        x: np.ndarray, *, axis: int, keepdims: bool = False, select_last_index: bool = False
    ) -> np.ndarray:
        if is_narrow(x.dtype):
            x = _widened(x)
        if select_last_index:
            out = x.shape[axis] - 1 - fn(np.flip(x, axis), axis=axis, keepdims=keepdims)
        else:
            out = fn(x, axis=axis, keepdims=keepdims)
        return np.asarray(out, np.int64)

    name = fn.__name__
    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"""The index (int64) of the first, or last, {name[3:]}imum along `axis`.

    NaN wins. ONNX ArgM{name[4:]}, aten.{name}."""
    return run


argmax = _arg(np.argmax)
argmin = _arg(np.argmin)


def _at(axis: int, part: slice) -> tuple[slice, ...]:
    return (*[slice(None)] * axis, part)


def _scan(fn: np.ufunc, start: int) -> Callable[..., np.ndarray]:
    def run(
        x: np.ndarray, *, axis: int, exclusive: bool = False, reverse: bool = False
    ) -> np.ndarray:
        wide = _widened(x)
        step = -1 if reverse else 1
        wide = wide[_at(axis, slice(None, None, step))]
        out = np.empty(x.shape, wide.dtype)
        target = out[_at(axis, slice(None, None, step))]
        if exclusive and x.shape[axis]:
            target[_at(axis, slice(0, 1))] = start
            wide, target = wide[_at(axis, slice(0, -1))], target[_at(axis, slice(1, None))]
        fn.accumulate(wide, axis=axis, dtype=wide.dtype, out=target)
        return _narrowed(out, x.dtype)

    name = "sum" if start == 0 else "prod"
    run.__name__ = run.__qualname__ = "cum" + name
    run.__doc__ = f"""The running {name} along `axis` of what comes up to each element, or with
    `exclusive` before it; `reverse` runs from the end. ONNX Cum{name.title()}, aten.cum{name}."""
    return run


cumsum = _scan(np.add, 0)
cumprod = _scan(np.multiply, 1)


def _arg_scan(fn: np.ufunc) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    def run(x: np.ndarray, *, axis: int) -> tuple[np.ndarray, np.ndarray]:
        wide = _widened(x)
        running = fn.accumulate(wide, axis=axis)
        here = np.arange(x.shape[axis]).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
        holds = wide == running
        if wide.dtype.kind == "f":
            holds |= np.isnan(wide)
        indices = np.maximum.accumulate(np.where(holds, here, 0), axis=axis)
        return _narrowed(running, x.dtype), indices.astype(np.int64, copy=False)

    name = "max" if fn is np.maximum else "min"
    run.__name__ = run.__qualname__ = "cum" + name
    run.__doc__ = f"""The running {name}imum along `axis`, and the index of its latest place.

    NaN wins. aten.cum{name}."""
    return run


cummax = _arg_scan(np.maximum)
cummin = _arg_scan(np.minimum)
