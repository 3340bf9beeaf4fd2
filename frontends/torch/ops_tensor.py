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
from aicc.ir.dtypes import f64, i64
from aicc.ir.op import GraphOp
from aicc.ir.symbols import Dim, SymExpr
from aicc.ir.types import element_type, rank_of, shape_of

# ---------------------------------------------------------------------- views


@aten(
    *("view", "_unsafe_view", "reshape", "squeeze", "squeeze.dim", "squeeze.dims", "unsqueeze"),
    *("view_copy", "squeeze_copy", "squeeze_copy.dim", "squeeze_copy.dims", "unsqueeze_copy"),
)
def view(c: CallContext, x: SSAValue, *_: Any):
    return c.b.reshape(x, c.dims())


@aten("view.dtype")
def view_dtype(c: CallContext, x: SSAValue, dtype: torch.dtype):
    to = torch_dtype(dtype)
    return c.emit(graph.Bitcast, x, to=to) if to.bits == element_type(x).bits else NotImplemented


@aten("permute", "permute_copy")
def permute(c: CallContext, x: SSAValue, dims: Sequence[int]):
    return c.b.transpose(x, [d % rank_of(x) for d in dims])


@aten("t", "t_copy")
def t(c: CallContext, x: SSAValue):
    return c.b.transpose(x, [1, 0]) if rank_of(x) == 2 else x


@aten("transpose.int", "transpose_copy.int")
def transpose(c: CallContext, x: SSAValue, a: int, b: int):
    order = list(range(rank_of(x)))
    if order:
        order[a], order[b] = order[b], order[a]
    return c.b.transpose(x, order)


@aten("expand", "expand_copy")
def expand(c: CallContext, x: SSAValue, size: Any, implicit: bool = False):
    return c.b.expand(x, c.dims())


@aten("slice.Tensor", "slice_copy.Tensor")
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


@aten("select.int", "select_copy.int")
def select(c: CallContext, x: SSAValue, dim: int, index: Any):
    axis = dim % rank_of(x)
    if isinstance(index, SSAValue):
        return c.emit(graph.Gather, x, c.b.reshape(index, []), axis=axis)
    if isinstance(index, SymExpr):
        return c.emit(graph.Gather, x, c.b.dim(index), axis=axis)
    return c.emit(graph.Gather, x, c.b.constant(index, i64), axis=axis)


@aten("split_with_sizes", "split_with_sizes_copy")
def split_with_sizes(c: CallContext, x: SSAValue, sizes: Sequence[Any], dim: int = 0):
    axis, start, out = dim % rank_of(x), 0, []
    for size in sizes:
        out.append(c.b.slice(x, axis, start, start + size))
        start = start + size
    return out


@aten("diagonal", "diagonal_copy")
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


@aten("unfold", "unfold_copy")
def unfold(c: CallContext, x: SSAValue, dim: int, size: int, step: int):
    if rank_of(x) == 0:
        return c.b.reshape(x, [1]) if size == 1 else NotImplemented
    axis = dim % rank_of(x)
    length = shape_of(x)[axis]
    if not isinstance(length, int):
        return NotImplemented
    starts = np.arange((length - size) // step + 1) * step
    index = (starts[:, None] + np.arange(size)).astype(np.int64)
    out = c.emit(graph.Gather, x, c.b.constant(index), axis=axis)
    order = [i for i in range(rank_of(out)) if i != axis + 1]
    return c.b.transpose(out, [*order, axis + 1])


@aten("as_strided", "as_strided_copy")
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


@aten("narrow_copy")
def narrow_copy(c: CallContext, x: SSAValue, dim: int, start: Any, length: Any):
    return c.b.slice(x, dim % rank_of(x), start, start + length)


@aten("unbind_copy.int")
def unbind_copy(c: CallContext, x: SSAValue, dim: int = 0):
    return [select(c, x, dim, i) for i in range(len(c.val))]  # type: ignore[arg-type]


@aten(*(f"replication_pad{n}d_backward" for n in (1, 2, 3)))
def replication_pad_backward(c: CallContext, grad: SSAValue, x: SSAValue, pad: Sequence[Any]):
    """Each element's gradient goes to the element that it copied."""
    low, high = _pads(rank_of(x), pad)
    for axis, size in enumerate(shape_of(x)):
        if not low[axis] and not high[axis]:
            continue
        if not all(isinstance(v, int) for v in (size, low[axis], high[axis])):
            return NotImplemented
        assert isinstance(size, int)
        copied = np.clip(np.arange(size + low[axis] + high[axis]) - low[axis], 0, size - 1)
        order = [axis, *(i for i in range(rank_of(x)) if i != axis)]
        moved = c.b.transpose(grad, order)
        rest = [d for d in shape_of(moved)[1:] if d is not None]
        zeros = c.b.full([size, *rest], 0, element_type(grad))
        at = c.b.constant(copied[:, None].astype(np.int64))
        summed = c.emit(graph.ScatterND, zeros, at, moved, reduction="add")
        grad = c.b.transpose(summed, [order.index(i) for i in range(len(order))])
    return grad


@aten("roll")
def roll(c: CallContext, x: SSAValue, shifts: Any, dims: Any = ()):
    """The last elements of each line before the others."""
    moves = [shifts] if isinstance(shifts, int) else list(shifts)
    axes = [dims] if isinstance(dims, int) else list(dims)
    sizes = shape_of(x)
    if not axes:
        if len(moves) != 1 or not all(isinstance(d, int) for d in sizes):
            return NotImplemented
        return c.b.reshape(_rolled(c, c.b.reshape(x, [-1]), 0, moves[0]), list(sizes))
    for axis, move in zip(axes, moves, strict=True):
        if not isinstance(move, int) or not isinstance(sizes[axis % len(sizes)], int):
            return NotImplemented
        x = _rolled(c, x, axis % len(sizes), move)
    return x


def _rolled(c: CallContext, x: SSAValue, axis: int, move: int) -> SSAValue:
    size = shape_of(x)[axis]
    assert isinstance(size, int)
    cut = size - move % size if size else 0
    if cut == size:
        return x
    parts = [c.b.slice(x, axis, cut, size), c.b.slice(x, axis, 0, cut)]
    return c.emit(graph.Concat, parts, axis=axis)


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


@aten(
    "full",
    "_efficientzerotensor",
    "empty.memory_format",
    "zeros",
    "ones",
    "empty_strided",
    "empty_permuted",
)
def full(c: CallContext, *args: Any, **_: Any):
    name = str(c.node.target)
    value: Any = 1 if ".ones" in name else 0
    if "aten.full" in name:
        value = args[1]
    return c.b.expand(c.tensor(value, c.dtype()), c.dims())


@aten("full_like", "zeros_like", "new_empty_strided", "ones_like", "empty_like", "fill.Scalar")
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


@aten("tril_indices", "triu_indices")
def triangle(c: CallContext, rows: int, columns: int, offset: int = 0, **_: Any):
    """The places at and below (tril) or above (triu) a diagonal, as [2, n]."""
    of = np.tril_indices if "tril" in str(c.node.target) else np.triu_indices
    return c.b.constant(np.stack(of(rows, offset, columns)), c.dtype())


# ---------------------------------------------------------------------- random numbers


def _enter_random(name: str, cls: type[GraphOp]) -> None:
    @aten(name)
    def draw(c: CallContext, size: Any, **_: Any):
        """Other numbers at each run. Where torch can be called its own generator draws instead:
        a seed then means what it means in torch."""
        if c.fallback:
            return NotImplemented
        return c.emit(cls, shape=c.b.structural(c.dims()), dtype=c.dtype())


_enter_random("rand", graph.RngUniform)
_enter_random("randn", graph.RngNormal)


@aten("randperm")
def randperm(c: CallContext, n: Any, **_: Any):
    if c.fallback:
        return NotImplemented
    keys = c.emit(graph.RngUniform, shape=c.b.structural(c.dims()), dtype=f64)
    return c.b.cast(c.b.build(graph.Sort, keys, axis=0).results[1], c.dtype())
