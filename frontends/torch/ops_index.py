"""Operators that gather and scatter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from aicc.frontends.torch.context import CallContext
from aicc.frontends.torch.table import aten
from aicc.ir import graph
from aicc.ir.dtypes import DType, i1, i64
from aicc.ir.symbols import Dim
from aicc.ir.types import broadcast_shapes, element_type, numel, rank_of, shape_of


@aten("embedding")
def embedding(c: CallContext, weight: SSAValue, indices: SSAValue, *_: Any, **__: Any):
    return c.emit(graph.Gather, weight, indices, axis=0)


@aten("embedding_dense_backward")
def embedding_dense_backward(
    c: CallContext, grad: SSAValue, indices: SSAValue, rows: Any, padding: int, by_freq: bool
):
    if by_freq:
        return NotImplemented
    width = shape_of(grad)[-1]
    flat = c.b.cast(c.b.reshape(indices, [-1]), i64)
    updates = c.b.reshape(grad, [-1, width])  # type: ignore[list-item]
    if padding >= 0:
        keep = c.emit(graph.Ne, flat, c.b.constant(padding, i64))
        updates = c.emit(graph.Select, c.b.unsqueeze(keep, [1]), updates, c.scalar(0, grad))
    zeros = c.b.full(c.dims(), 0, element_type(grad))
    return c.emit(graph.ScatterND, zeros, c.b.unsqueeze(flat, [1]), updates, reduction="add")


@aten("index_select")
def index_select(c: CallContext, x: SSAValue, dim: int, index: SSAValue):
    if rank_of(x) == 0:
        return x
    return c.emit(graph.Gather, x, c.b.reshape(index, [-1]), axis=dim % rank_of(x))


@aten("gather")
def gather(c: CallContext, x: SSAValue, dim: int, index: SSAValue, sparse_grad: bool = False):
    if 0 in shape_of(index):
        return c.b.full(c.dims(), 0, element_type(x))
    rows = c.emit(graph.GatherElements, _ranked(c, x), _ranked(c, index), axis=_axis(dim, x))
    return c.b.reshape(rows, c.dims())


def _ranked(c: CallContext, x: SSAValue) -> SSAValue:
    """torch takes scalars for vectors of one element here."""
    return c.b.reshape(x, [1]) if rank_of(x) == 0 else x


def _axis(dim: int, x: SSAValue) -> int:
    return dim % max(rank_of(x), 1)


def _scatter(
    c: CallContext, x: SSAValue, dim: int, index: SSAValue, updates: SSAValue, reduction: str
):
    if 0 in shape_of(index):
        return x
    shape = [d for d in shape_of(x) if d is not None]
    axis, x = _axis(dim, x), _ranked(c, x)
    index, updates = _ranked(c, index), _ranked(c, updates)
    if shape_of(updates) != shape_of(index):
        if not all(isinstance(d, int) for d in shape_of(index)):
            return NotImplemented
        n = rank_of(index)
        updates = c.emit(
            graph.Slice,
            updates,
            axes=list(range(n)),
            starts=[0] * n,
            limits=shape_of(index),
            steps=[1] * n,
        )
    out = c.emit(graph.ScatterElements, x, index, updates, axis=axis, reduction=reduction)
    return c.b.reshape(out, shape) if not shape else out


@aten("scatter.src")
def scatter(c: CallContext, x: SSAValue, dim: int, index: SSAValue, src: SSAValue):
    return _scatter(c, x, dim, index, src, "none")


@aten("scatter.value")
def scatter_value(c: CallContext, x: SSAValue, dim: int, index: SSAValue, value: Any):
    dims = [d for d in shape_of(index) if d is not None]
    updates = c.b.expand(c.tensor(value, element_type(x)), dims)
    return _scatter(c, x, dim, index, updates, "none")


@aten("scatter_add")
def scatter_add(c: CallContext, x: SSAValue, dim: int, index: SSAValue, src: SSAValue):
    return _scatter(c, x, dim, index, src, "add")


@aten("scatter.reduce")
def scatter_into(
    c: CallContext, x: SSAValue, dim: int, index: SSAValue, src: SSAValue, reduce: str
):
    return _scatter(c, x, dim, index, src, {"add": "add", "multiply": "mul"}[reduce])


@aten("scatter_reduce.two")
def scatter_reduce(
    c: CallContext,
    x: SSAValue,
    dim: int,
    index: SSAValue,
    src: SSAValue,
    reduce: str,
    include_self: bool = True,
):
    """Reduce src into x. A mean is a sum divided by how many elements went into it."""
    dtype = element_type(x)
    dims = [d for d in shape_of(index) if d is not None]
    kinds = {"sum": "add", "prod": "mul", "amax": "max", "amin": "min", "mean": "add"}
    start = x
    if not include_self:
        first = {"prod": 1, "amax": _lowest(dtype), "amin": _highest(dtype)}.get(reduce, 0)
        start = _scatter(c, x, dim, index, c.b.full(dims, first, dtype), "none")
    out = _scatter(c, start, dim, index, src, kinds[reduce])
    if reduce != "mean":
        return out
    ones = c.b.full(dims, 1, dtype)
    own = c.b.full(c.dims(), int(include_self), dtype)
    count = _scatter(c, own, dim, index, ones, "add")
    count = c.emit(graph.Max, count, c.scalar(1, count))
    if dtype.is_float:
        return c.emit(graph.Div, out, count)
    return c.emit(graph.Div, c.emit(graph.Sub, out, c.emit(graph.Mod, out, count)), count)


def _lowest(dtype: DType) -> float | int:
    return -math.inf if dtype.is_float else int(np.iinfo(dtype.np).min)


def _highest(dtype: DType) -> float | int:
    return math.inf if dtype.is_float else int(np.iinfo(dtype.np).max)


def _stacked(c: CallContext, indices: Sequence[SSAValue]) -> tuple[SSAValue, list[Dim]]:
    """Index tensors broadcast together, as tuples in a last dim; and their common shape."""
    shape = broadcast_shapes(*(shape_of(i) for i in indices))
    if None in shape:
        raise ValueError("the shapes of the index tensors can't be related")
    dims = [d for d in shape if d is not None]
    parts = [c.b.unsqueeze(c.b.expand(c.b.cast(i, i64), dims), [len(dims)]) for i in indices]
    return (c.emit(graph.Concat, parts, axis=len(dims)) if len(parts) > 1 else parts[0]), dims


def _split_indices(
    c: CallContext, x: SSAValue, indices: Sequence[SSAValue | None]
) -> tuple[list[SSAValue], list[int]] | None:
    """Index tensors and the dims that they index; boolean masks become index tensors."""
    found: list[SSAValue] = []
    axes: list[int] = []
    axis = 0
    for i in indices:
        if i is None:
            axis += 1
            continue
        if element_type(i) == i1 or element_type(i).name == "ui8":
            n = rank_of(i)
            at = c.emit(graph.NonZero, i)
            for k in range(n):
                found.append(c.b.squeeze(c.b.slice(at, 0, k, k + 1), [0]))
                axes.append(axis + k)
            axis += n
            continue
        found.append(i)
        axes.append(axis)
        axis += 1
    return (found, axes) if found else None


def _apart(c: CallContext, found: Sequence[SSAValue]) -> list[SSAValue] | None:
    """The indices without their dims of size 1, if each varies along dims of its own, in order."""
    rank = max(map(rank_of, found))
    apart, last = [], -1
    for i in found:
        shape = shape_of(i)
        own = [d for d, size in enumerate(shape, rank - len(shape)) if size != 1]
        if None in shape or (own and own[0] <= last):
            return None
        last = own[-1] if own else last
        apart.append(c.b.reshape(i, [d for d in shape if d is not None and d != 1]))
    return apart


@aten("index.Tensor", "_unsafe_index.Tensor")
def index(c: CallContext, x: SSAValue, indices: Sequence[SSAValue | None]):
    split = _split_indices(c, x, indices)
    if split is None:
        return x
    found, axes = split
    if len(found) == 1:
        return c.emit(graph.Gather, x, found[0], axis=axes[0])
    apart = _apart(c, found) if axes == list(range(axes[0], axes[-1] + 1)) else None
    if apart is not None:
        for axis, one in reversed(list(zip(axes, apart, strict=True))):
            x = c.emit(graph.Gather, x, one, axis=axis)
        return c.b.reshape(x, c.dims())
    rest = [i for i in range(rank_of(x)) if i not in axes]
    tuples, dims = _stacked(c, found)
    picked = c.emit(graph.GatherND, c.b.transpose(x, [*axes, *rest]), tuples)
    if axes != list(range(axes[0], axes[0] + len(axes))):
        return picked
    n = len(dims)
    before = [n + k for k in range(axes[0])]
    after = [n + k for k in range(axes[0], len(rest))]
    return c.b.transpose(picked, [*before, *range(n), *after])


@aten("index_put", "_unsafe_index_put")
def index_put(
    c: CallContext,
    x: SSAValue,
    indices: Sequence[SSAValue | None],
    values: SSAValue,
    accumulate: bool = False,
):
    if len(indices) == 1 and indices[0] is not None and element_type(indices[0]) == i1:
        mask = indices[0]
        if rank_of(values) == 0 and not accumulate:
            mask = c.b.unsqueeze(mask, list(range(rank_of(mask), rank_of(x))))
            return c.emit(graph.Select, mask, values, x)
    split = _split_indices(c, x, indices)
    if split is None:
        return NotImplemented
    found, axes = split
    rest = [i for i in range(rank_of(x)) if i not in axes]
    order = [*axes, *rest]
    tuples, dims = _stacked(c, found)
    n = len(dims)
    others = [d for i, d in enumerate(shape_of(x)) if i in rest and d is not None]
    adjacent = axes == list(range(axes[0], axes[0] + len(axes)))
    if adjacent and axes[0] > 0:
        shape = [*others[: axes[0]], *dims, *others[axes[0] :]]
        values = c.b.expand(values, shape)
        lead = axes[0]
        moved = [*range(lead, lead + n), *range(lead), *range(lead + n, len(shape))]
        values = c.b.transpose(values, moved)
    else:
        values = c.b.expand(values, [*dims, *others])
    out = c.emit(
        graph.ScatterND,
        c.b.transpose(x, order),
        tuples,
        c.b.cast(values, element_type(x)),
        reduction="add" if accumulate else "none",
    )
    back = [order.index(i) for i in range(len(order))]
    return c.b.transpose(out, back)


@aten("slice_scatter")
def slice_scatter(
    c: CallContext,
    x: SSAValue,
    src: SSAValue,
    dim: int = 0,
    start: Any = None,
    end: Any = None,
    step: int = 1,
):
    axis = dim % rank_of(x)
    size = shape_of(x)[axis]
    start, end = (0 if start is None else start), (size if end is None else end)
    if not all(isinstance(v, int) for v in (start, end, size)):
        return NotImplemented
    at = np.arange(size)[slice(start, end, step)].astype(np.int64)  # type: ignore[arg-type]
    if step == 1:
        first = int(at[0]) if at.size else 0
        return _spliced(c, x, src, axis, first, first + at.size)
    return _put_rows(c, x, src, axis, c.b.constant(at))


@aten("select_scatter")
def select_scatter(c: CallContext, x: SSAValue, src: SSAValue, dim: int, index: Any):
    axis = dim % rank_of(x)
    size = shape_of(x)[axis]
    if isinstance(index, int) and isinstance(size, int):
        first = index % size
        return _spliced(c, x, c.b.unsqueeze(src, [axis]), axis, first, first + 1)
    at = c.b.reshape(c.tensor(index, i64), [1])
    return _put_rows(c, x, c.b.unsqueeze(src, [axis]), axis, at)


@aten("index_copy")
def index_copy(c: CallContext, x: SSAValue, dim: int, index: SSAValue, src: SSAValue):
    out = _put_rows(c, _ranked(c, x), _ranked(c, src), _axis(dim, x), c.b.reshape(index, [-1]))
    return c.b.reshape(out, c.dims())


def _spliced(
    c: CallContext, x: SSAValue, src: SSAValue, axis: int, first: int, last: int
) -> SSAValue:
    """x with src in place of the elements from `first` to `last`: joined, or src padded."""
    size, src = shape_of(x)[axis], c.b.cast(src, element_type(x))
    assert isinstance(size, int)
    source = x.owner
    if isinstance(source, graph.Expand) and rank_of(source.input) == 0:
        ends = [[0] * rank_of(x), [0] * rank_of(x)]
        ends[0][axis], ends[1][axis] = first, size - last
        return c.emit(graph.Pad, src, source.input, low=ends[0], high=ends[1])
    parts = [src]
    if first > 0:
        parts.insert(0, c.b.slice(x, axis, 0, first))
    if last < size:
        parts.append(c.b.slice(x, axis, last, size))
    return c.emit(graph.Concat, parts, axis=axis) if len(parts) > 1 else src


def _put_rows(c: CallContext, x: SSAValue, src: SSAValue, axis: int, at: SSAValue) -> SSAValue:
    """x with slices along `axis` at the given indices replaced by those of src."""
    order = [axis, *(i for i in range(rank_of(x)) if i != axis)]
    out = c.emit(
        graph.ScatterND,
        c.b.transpose(x, order),
        c.b.unsqueeze(c.b.cast(at, i64), [1]),
        c.b.transpose(c.b.cast(src, element_type(x)), order),
    )
    return c.b.transpose(out, [order.index(i) for i in range(len(order))])


@aten("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(c: CallContext, x: SSAValue, mask: SSAValue, value: Any):
    dtype = c.dtype()
    return c.emit(graph.Select, mask, c.tensor(value, dtype), c.tensor(x, dtype))


def _places(c: CallContext, mask: SSAValue) -> SSAValue:
    """For each element of a flat mask how many true ones lie before it."""
    return c.emit(graph.CumSum, c.b.cast(mask, i64), axis=0, exclusive=True)


@aten("masked_scatter")
def masked_scatter(c: CallContext, x: SSAValue, mask: SSAValue, source: SSAValue):
    """The true places of the mask take the elements of source one after another."""
    dims = c.dims()
    if 0 in shape_of(source):
        return x
    mask = c.b.reshape(c.b.expand(mask, dims), [-1])
    flat = c.b.reshape(source, [-1])
    last = c.emit(graph.Sub, c.b.size(flat, 0), c.b.constant(1, i64))
    taken = c.emit(graph.Gather, flat, c.emit(graph.Min, _places(c, mask), last), axis=0)
    own = c.b.reshape(c.b.expand(x, dims), [-1])
    return c.b.reshape(c.emit(graph.Select, mask, taken, own), dims)


@aten("masked_scatter_backward")
def masked_scatter_backward(c: CallContext, grad: SSAValue, mask: SSAValue, sizes: Any):
    """The gradients at the mask's true places, one after another, and zeros behind them."""
    dims = c.dims()
    count = numel(dims)
    if count is None:
        return NotImplemented
    mask = c.b.reshape(c.b.expand(mask, [d for d in shape_of(grad) if d is not None]), [-1])
    spare = c.b.full([count + 1], 0, element_type(grad))  # its last place takes what is masked out
    at = c.emit(graph.Select, mask, _places(c, mask), c.tensor(count, i64))
    out = c.emit(graph.ScatterND, spare, c.b.unsqueeze(at, [1]), c.b.reshape(grad, [-1]))
    return c.b.reshape(c.b.slice(out, 0, 0, count), dims)
