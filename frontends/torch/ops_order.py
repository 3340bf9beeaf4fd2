"""Elements by their rank in a line, and places in sorted lines."""

from __future__ import annotations

from typing import Any

from xdsl.ir import SSAValue

from aicc.frontends.torch.context import CallContext
from aicc.frontends.torch.table import aten
from aicc.ir import graph
from aicc.ir.dtypes import i32, i64
from aicc.ir.types import element_type, rank_of, shape_of


def _ranked(c: CallContext, x: SSAValue, axis: int, *ranks: int) -> list[list[SSAValue]]:
    """For ranks from 0 on the element in each line along an axis, and where it stands."""
    ordered = c.b.build(graph.Sort, x, axis=axis, descending=False).results
    return [[c.b.slice(v, axis, rank, rank + 1) for v in ordered] for rank in ranks]


def _shaped(c: CallContext, found: list[SSAValue], axis: int, keepdim: bool) -> list[SSAValue]:
    return found if keepdim else [c.b.squeeze(v, [axis]) for v in found]


@aten("kthvalue")
def kthvalue(c: CallContext, x: SSAValue, k: int, dim: int = -1, keepdim: bool = False):
    if rank_of(x) == 0:
        return [x, c.b.constant(0, i64)]
    axis = c.axis(dim, rank_of(x))
    return _shaped(c, _ranked(c, x, axis, k - 1)[0], axis, keepdim)


@aten("median.dim")
def median_dim(c: CallContext, x: SSAValue, dim: int = -1, keepdim: bool = False):
    """The lower of two in the middle; NaN, which stands last, where a line has one."""
    if rank_of(x) == 0:
        return [x, c.b.constant(0, i64)]
    axis = c.axis(dim, rank_of(x))
    size = shape_of(x)[axis]
    if not isinstance(size, int) or size == 0:
        return NotImplemented
    found, last = _ranked(c, x, axis, (size - 1) // 2, size - 1)
    if element_type(x).is_float:
        is_nan = c.emit(graph.IsNaN, last[0])
        found = [c.emit(graph.Select, is_nan, a, b) for a, b in zip(last, found, strict=True)]
    return _shaped(c, found, axis, keepdim)


@aten("median")
def median(c: CallContext, x: SSAValue):
    found = median_dim(c, c.b.reshape(x, [-1]), 0)
    return found if found is NotImplemented else found[0]


@aten("searchsorted.Tensor", "searchsorted.Scalar")
def searchsorted(
    c: CallContext,
    line: SSAValue,
    x: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: SSAValue | None = None,
):
    """How many elements of a sorted line are less than x, or with `right` at most x."""
    if sorter is not None:
        return NotImplemented
    dtype = c.promoted(line, x)
    value, line = c.tensor(x, dtype), c.b.cast(line, dtype)
    if isinstance(x, SSAValue):
        value = c.b.unsqueeze(value, [rank_of(value)])
        if rank_of(line) > 1:
            line = c.b.unsqueeze(line, [rank_of(line) - 1])
    cls = graph.Gt if right or side == "right" else graph.Ge  # NaN is the largest
    after = c.emit(cls, line, value)
    ones = c.b.cast(c.emit(graph.Not, after), i32 if out_int32 else i64)
    axis = rank_of(ones) - 1
    return c.emit(graph.ReduceSum, ones, axes=(axis,), keepdims=False)


@aten("bucketize.Tensor", "bucketize.Scalar")
def bucketize(
    c: CallContext, x: Any, line: SSAValue, *, out_int32: bool = False, right: bool = False
):
    return searchsorted(c, line, x, out_int32=out_int32, right=right)
