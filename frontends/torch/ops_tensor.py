"""Operators that make, view, move and index tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from xdsl.ir import SSAValue

from aicc.frontends.torch.context import CallContext, torch_dtype
from aicc.frontends.torch.table import aten
from aicc.ir import graph
from aicc.ir.dtypes import i1, i64
from aicc.ir.symbols import Dim, SymExpr
from aicc.ir.types import element_type, rank_of, shape_of

# ---------------------------------------------------------------------- views


@aten(
    "view", "_unsafe_view", "reshape", "squeeze", "squeeze.dim", "squeeze.dims", "unsqueeze"
)  # fmt: skip
def view(c: CallContext, x: SSAValue, *_: Any):
    return c.b.reshape(x, c.dims())


@aten("view.dtype")
def view_dtype(c: CallContext, x: SSAValue, dtype: torch.dtype):
    to = torch_dtype(dtype)
    return c.emit(graph.Bitcast, x, to=to) if to.bits == element_type(x).bits else NotImplemented


@aten("permute")
def permute(c: CallContext, x: SSAValue, dims: Sequence[int]):
    return c.b.transpose(x, [d % rank_of(x) for d in dims])


@aten("t")
def t(c: CallContext, x: SSAValue):
    return c.b.transpose(x, [1, 0]) if rank_of(x) == 2 else x


@aten("transpose.int")
def transpose(c: CallContext, x: SSAValue, a: int, b: int):
    order = list(range(rank_of(x)))
    if order:
        order[a], order[b] = order[b], order[a]
    return c.b.transpose(x, order)


@aten("expand")
def expand(c: CallContext, x: SSAValue, size: Any, implicit: bool = False):
    return c.b.expand(x, c.dims())


@aten("slice.Tensor")
def slice_(
    c: CallContext, x: SSAValue, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
):
    axis = dim % rank_of(x)
    start = 0 if start is None else start
    end = 2**63 - 1 if end is None else end
    if start == 0 and end == 2**63 - 1 and step == 1:
        return x
    return c.emit(
        graph.Slice,
        x,
        axes=[axis],
        starts=c.b.structural([start]),
        limits=c.b.structural([end]),
        steps=[step],
    )


@aten("select.int")
def select(c: CallContext, x: SSAValue, dim: int, index: Any):
    axis = dim % rank_of(x)
    if isinstance(index, SSAValue):
        return c.emit(graph.Gather, x, c.b.reshape(index, []), axis=axis)
    if isinstance(index, SymExpr):
        return c.emit(graph.Gather, x, c.b.dim(index), axis=axis)
    return c.emit(graph.Gather, x, c.b.constant(index, i64), axis=axis)


@aten("split_with_sizes")
def split_with_sizes(c: CallContext, x: SSAValue, sizes: Sequence[Any], dim: int = 0):
    axis, start, out = dim % rank_of(x), 0, []
    for size in sizes:
        out.append(c.b.slice(x, axis, start, start + size))
        start = start + size
    return out


@aten("diagonal")
def diagonal(c: CallContext, x: SSAValue, offset: int = 0, dim1: int = 0, dim2: int = 1):
    rank = rank_of(x)
    a, b = dim1 % rank, dim2 % rank
    rest = [i for i in range(rank) if i not in (a, b)]
    moved = c.b.transpose(x, [a, b, *rest])
    count = c.dims()[-1]
    if not isinstance(count, int):
        return NotImplemented
    steps = np.arange(count)
    index = np.stack([steps + max(-offset, 0), steps + max(offset, 0)], 1).astype(np.int64)
    picked = c.emit(graph.GatherND, moved, c.b.constant(index))
    return c.b.transpose(picked, [*range(1, rank_of(picked)), 0])


@aten("diagonal_scatter")
def diagonal_scatter(
    c: CallContext, x: SSAValue, src: SSAValue, offset: int = 0, dim1: int = 0, dim2: int = 1
):
    rank = rank_of(x)
    a, b = dim1 % rank, dim2 % rank
    order = [a, b, *(i for i in range(rank) if i not in (a, b))]
    count = shape_of(src)[-1]
    if not isinstance(count, int):
        return NotImplemented
    steps = np.arange(count)
    index = np.stack([steps + max(-offset, 0), steps + max(offset, 0)], 1).astype(np.int64)
    n = rank_of(src)
    updates = c.b.transpose(c.b.cast(src, element_type(x)), [n - 1, *range(n - 1)])
    out = c.emit(graph.ScatterND, c.b.transpose(x, order), c.b.constant(index), updates)
    return c.b.transpose(out, [order.index(i) for i in range(rank)])


@aten("unfold")
def unfold(c: CallContext, x: SSAValue, dim: int, size: int, step: int):
    if rank_of(x) == 0:
        return NotImplemented
    axis = dim % rank_of(x)
    length = shape_of(x)[axis]
    if not isinstance(length, int):
        return NotImplemented
    starts = np.arange((length - size) // step + 1) * step
    index = (starts[:, None] + np.arange(size)).astype(np.int64)
    out = c.emit(graph.Gather, x, c.b.constant(index), axis=axis)
    order = [i for i in range(rank_of(out)) if i != axis + 1]
    return c.b.transpose(out, [*order, axis + 1])


@aten("as_strided")
def as_strided(c: CallContext, x: SSAValue, size: Any, stride: Any, offset: Any = None):
    """Only of a contiguous tensor with known sizes: its elements by flat index."""
    fake = c.arg_fake(0)
    sizes = c.dims()
    known = all(isinstance(d, int) for d in [*sizes, *stride, offset or 0])
    if not known or not fake.is_contiguous() or (fake.storage_offset() and offset is None):
        return NotImplemented
    base = (offset or 0) - int(fake.storage_offset())
    index = np.full((), base, np.int64)
    for n, s in zip(sizes, stride, strict=True):
        assert isinstance(n, int)
        index = index[..., None] + np.arange(n) * s
    return c.emit(graph.Gather, c.b.reshape(x, [-1]), c.b.constant(index.astype(np.int64)))


@aten("flip")
def flip(c: CallContext, x: SSAValue, dims: Sequence[int]):
    axes = [d % rank_of(x) for d in dims]
    n = len(axes)
    if not n:
        return x
    return c.emit(
        graph.Slice, x, axes=axes, starts=[-1] * n, limits=[-(2**63) + 1] * n, steps=[-1] * n
    )


@aten("cat")
def cat(c: CallContext, tensors: Sequence[SSAValue], dim: int = 0):
    dtype = c.dtype()
    parts = [x for x in tensors if not (rank_of(x) == 1 and shape_of(x) == (0,))]
    rank = len(c.dims())
    if not parts:
        return c.tensor(tensors[0], dtype)
    return c.emit(graph.Concat, [c.tensor(x, dtype) for x in parts], axis=dim % rank)


@aten("repeat")
def repeat(c: CallContext, x: SSAValue, repeats: Sequence[Any]):
    own: list[Dim] = [1] * (len(repeats) - rank_of(x))
    own += [d for d in shape_of(x) if d is not None]
    spread = [v for d in own for v in (1, d)]
    wide = [v for r, d in zip(repeats, own, strict=True) for v in (r, d)]
    return c.b.reshape(c.b.expand(c.b.reshape(x, spread), wide), c.dims())


@aten("constant_pad_nd")
def constant_pad_nd(c: CallContext, x: SSAValue, pad: Sequence[Any], value: Any = 0):
    low, high = _pads(rank_of(x), pad)
    return c.emit(
        graph.Pad,
        x,
        c.tensor(value, element_type(x)),
        low=c.b.structural(low),
        high=c.b.structural(high),
    )


def _pads(rank: int, pad: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """torch lists pads from the last dim on, low and high in turn."""
    low, high = [0] * rank, [0] * rank
    for i in range(len(pad) // 2):
        low[rank - 1 - i], high[rank - 1 - i] = pad[2 * i], pad[2 * i + 1]
    return low, high


def _mode_pad(mode: str):
    def importer(c: CallContext, x: SSAValue, pad: Sequence[Any]):
        low, high = _pads(rank_of(x), pad)
        return c.emit(
            graph.Pad,
            x,
            c.scalar(0, x),
            mode=mode,
            low=c.b.structural(low),
            high=c.b.structural(high),
        )

    return importer


aten("reflection_pad1d", "reflection_pad2d", "reflection_pad3d")(_mode_pad("reflect"))
aten("replication_pad1d", "replication_pad2d", "replication_pad3d")(_mode_pad("edge"))


# ---------------------------------------------------------------------- creation


@aten("full", "empty.memory_format", "zeros", "ones", "empty_strided", "new_empty_strided")
def full(c: CallContext, *args: Any, **_: Any):
    name = str(c.node.target)
    value: Any = 1 if ".ones" in name else 0
    if "aten.full" in name:
        value = args[1]
    return c.b.expand(c.tensor(value, c.dtype()), c.dims())


@aten("full_like", "zeros_like", "ones_like", "empty_like", "fill.Scalar")
def full_like(c: CallContext, x: SSAValue, *args: Any, **_: Any):
    name = str(c.node.target)
    value: Any = 1 if "ones" in name else 0
    if "full" in name or "fill" in name:
        value = args[0]
    return c.b.expand(c.tensor(value, c.dtype()), c.dims())


@aten("fill.Tensor")
def fill_tensor(c: CallContext, x: SSAValue, value: SSAValue):
    return c.b.expand(c.tensor(value, c.dtype()), c.dims())


@aten("scalar_tensor")
def scalar_tensor(c: CallContext, value: Any, **_: Any):
    return c.tensor(value, c.dtype())


@aten("arange.start_step")
def arange(c: CallContext, start: Any, end: Any, step: Any = 1, **_: Any):
    dtype = c.dtype()
    work = dtype if not dtype.is_low_precision_float else element_type(c.b.constant(0.0, "f32"))
    line = c.emit(graph.Iota, shape=c.b.structural(c.dims()), dtype=work)
    if step != 1:
        line = c.emit(graph.Mul, line, c.tensor(step, work))
    if start != 0:
        line = c.emit(graph.Add, line, c.tensor(start, work))
    return c.b.cast(line, dtype)


@aten("iota")
def iota(c: CallContext, length: Any, **_: Any):
    return NotImplemented


# ---------------------------------------------------------------------- indexing


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
    if rank_of(x) == 0 or rank_of(index) == 0:
        return NotImplemented
    return c.emit(graph.GatherElements, x, index, axis=dim % rank_of(x))


def _scatter(
    c: CallContext, x: SSAValue, dim: int, index: SSAValue, updates: SSAValue, reduction: str
):
    if rank_of(x) == 0 or rank_of(index) == 0:
        return NotImplemented
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
    return c.emit(
        graph.ScatterElements, x, index, updates, axis=dim % rank_of(x), reduction=reduction
    )


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
    kinds = {"sum": "add", "prod": "mul", "amax": "max", "amin": "min"}
    if reduce not in kinds or not include_self:
        return NotImplemented
    return _scatter(c, x, dim, index, src, kinds[reduce])


def _stacked(c: CallContext, indices: Sequence[SSAValue]) -> tuple[SSAValue, list[Dim]]:
    """Index tensors broadcast together, as tuples in a last dim; and their common shape."""
    from aicc.ir.types import broadcast_shapes

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


@aten("index.Tensor", "_unsafe_index.Tensor")
def index(c: CallContext, x: SSAValue, indices: Sequence[SSAValue | None]):
    split = _split_indices(c, x, indices)
    if split is None:
        return x
    found, axes = split
    if len(found) == 1:
        return c.emit(graph.Gather, x, found[0], axis=axes[0])
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
    return _put_rows(c, x, src, axis, c.b.constant(at))


@aten("select_scatter")
def select_scatter(c: CallContext, x: SSAValue, src: SSAValue, dim: int, index: Any):
    axis = dim % rank_of(x)
    at = c.b.reshape(c.tensor(index, i64), [1])
    return _put_rows(c, x, c.b.unsqueeze(src, [axis]), axis, at)


@aten("index_copy")
def index_copy(c: CallContext, x: SSAValue, dim: int, index: SSAValue, src: SSAValue):
    if rank_of(x) == 0:
        return NotImplemented
    return _put_rows(c, x, src, dim % rank_of(x), c.b.reshape(index, [-1]))


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
