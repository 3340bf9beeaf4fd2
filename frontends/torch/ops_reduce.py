"""Reductions, scans and sorting."""

from __future__ import annotations

import math
from typing import Any

from xdsl.ir import SSAValue

from aicc.frontends.torch.context import CallContext
from aicc.frontends.torch.table import aten
from aicc.ir import graph
from aicc.ir.dtypes import i1, i64
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type, numel, rank_of, shape_of


def _reduce(c: CallContext, cls: type[GraphOp], x: SSAValue, dim: Any, keepdim: bool) -> SSAValue:
    return c.emit(cls, x, axes=c.axes(dim, rank_of(x)), keepdims=keepdim)


@aten("sum.dim_IntList", "sum")
def sum_(c: CallContext, x: SSAValue, dim: Any = None, keepdim: bool = False, dtype: Any = None):
    return _reduce(c, graph.ReduceSum, c.tensor(x, c.dtype()), dim, keepdim)


@aten("mean.dim", "mean")
def mean(c: CallContext, x: SSAValue, dim: Any = None, keepdim: bool = False, dtype: Any = None):
    return _reduce(c, graph.ReduceMean, c.tensor(x, c.dtype()), dim, keepdim)


@aten("prod.dim_int", "prod")
def prod(c: CallContext, x: SSAValue, dim: Any = None, keepdim: bool = False, dtype: Any = None):
    return _reduce(c, graph.ReduceProd, c.tensor(x, c.dtype()), dim, keepdim)


@aten("amax")
def amax(c: CallContext, x: SSAValue, dim: Any = (), keepdim: bool = False):
    return _reduce(c, graph.ReduceMax, x, dim, keepdim)


@aten("amin")
def amin(c: CallContext, x: SSAValue, dim: Any = (), keepdim: bool = False):
    return _reduce(c, graph.ReduceMin, x, dim, keepdim)


@aten("max", "min")
def extreme(c: CallContext, x: SSAValue):
    cls = graph.ReduceMax if "aten.max" in str(c.node.target) else graph.ReduceMin
    return _reduce(c, cls, x, None, False)


@aten("linalg_vector_norm")
def vector_norm(
    c: CallContext,
    x: SSAValue,
    order: float = 2,
    dim: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
):
    """(Σ |x|^p)^(1/p), its limits at ±∞, and the number of non-zeros for p = 0."""
    if element_type(x).kind == "complex":
        return NotImplemented
    x = c.tensor(x, c.dtype())
    size = c.emit(graph.Abs, x)
    if abs(order) == math.inf:
        return _reduce(c, graph.ReduceMax if order > 0 else graph.ReduceMin, size, dim, keepdim)
    if order == 0:
        counted = c.b.cast(c.emit(graph.Ne, x, c.scalar(0, x)), element_type(x))
        return _reduce(c, graph.ReduceSum, counted, dim, keepdim)
    if order == 1:
        return _reduce(c, graph.ReduceSum, size, dim, keepdim)
    if order == 2:
        square = c.emit(graph.Mul, x, x)
        return c.emit(graph.Sqrt, _reduce(c, graph.ReduceSum, square, dim, keepdim))
    power = c.emit(graph.Pow, size, c.scalar(order, x))
    total = _reduce(c, graph.ReduceSum, power, dim, keepdim)
    return c.emit(graph.Pow, total, c.scalar(1 / order, x))


def _arg_scan(cls: type[GraphOp]):
    def importer(c: CallContext, x: SSAValue, dim: int):
        if rank_of(x) == 0:
            return [x, c.b.constant(0, i64)]
        return c.b.build(cls, x, axis=c.axis(dim, rank_of(x))).results

    return importer


aten("cummax")(_arg_scan(graph.CumMax))
aten("cummin")(_arg_scan(graph.CumMin))


@aten("any", "any.dim", "any.dims")
def any_(c: CallContext, x: SSAValue, dim: Any = None, keepdim: bool = False):
    return _reduce(c, graph.ReduceMax, c.b.cast(x, i1), dim, keepdim)


@aten("all", "all.dim", "all.dims")
def all_(c: CallContext, x: SSAValue, dim: Any = None, keepdim: bool = False):
    return _reduce(c, graph.ReduceMin, c.b.cast(x, i1), dim, keepdim)


def _with_index(extreme: type[GraphOp], arg: type[GraphOp]):
    def importer(c: CallContext, x: SSAValue, dim: int, keepdim: bool = False):
        rank = rank_of(x)
        if rank == 0:
            return [x, c.b.constant(0, i64)]
        axis = c.axis(dim, rank)
        return [
            c.emit(extreme, x, axes=[axis], keepdims=keepdim),
            c.emit(arg, x, axis=axis, keepdims=keepdim),
        ]

    return importer


aten("max.dim")(_with_index(graph.ReduceMax, graph.ArgMax))
aten("min.dim")(_with_index(graph.ReduceMin, graph.ArgMin))


def _arg(cls: type[GraphOp]):
    def importer(c: CallContext, x: SSAValue, dim: int | None = None, keepdim: bool = False):
        rank = rank_of(x)
        if rank == 0:
            return c.b.constant(0, i64)
        if dim is None:
            flat = c.b.reshape(x, [-1])
            index = c.emit(cls, flat, axis=0)
            return c.b.reshape(index, [1] * rank) if keepdim else index
        return c.emit(cls, x, axis=c.axis(dim, rank), keepdims=keepdim)

    return importer


aten("argmax")(_arg(graph.ArgMax))
aten("argmin")(_arg(graph.ArgMin))


@aten("var.correction", "var.dim")
def var(
    c: CallContext,
    x: SSAValue,
    dim: Any = None,
    unbiased: Any = None,
    keepdim: bool = False,
    correction: Any = None,
):
    if isinstance(unbiased, bool):
        correction = int(unbiased)
    found = _variance(c, x, dim, 1 if correction is None else correction, keepdim)
    return NotImplemented if found is None else found[0]


@aten("var_mean.correction")
def var_mean(
    c: CallContext, x: SSAValue, dim: Any = None, correction: Any = None, keepdim: bool = False
):
    found = _variance(c, x, dim, 1 if correction is None else correction, keepdim)
    return NotImplemented if found is None else list(found)


def _variance(
    c: CallContext, x: SSAValue, dim: Any, correction: Any, keepdim: bool
) -> tuple[SSAValue, SSAValue] | None:
    """The variance with n − correction degrees of freedom, and the mean."""
    axes = c.axes(dim, rank_of(x))
    average = c.emit(graph.ReduceMean, x, axes=axes, keepdims=True)
    centered = c.emit(graph.Sub, x, average)
    square = c.emit(graph.Mul, centered, centered)
    total = c.emit(graph.ReduceSum, square, axes=axes, keepdims=keepdim)
    count = numel([shape_of(x)[a] for a in axes])
    if count is None:
        return None
    divisor = c.emit(
        graph.Max,
        c.emit(graph.Sub, c.tensor(count, element_type(x)), c.scalar(correction, x)),
        c.scalar(0, x),
    )
    return c.emit(graph.Div, total, divisor), average if keepdim else c.b.squeeze(average, axes)


@aten("cumsum")
def cumsum(c: CallContext, x: SSAValue, dim: int, dtype: Any = None):
    x = c.tensor(x, c.dtype())
    if rank_of(x) == 0:
        return x
    return c.emit(graph.CumSum, x, axis=c.axis(dim, rank_of(x)))


@aten("cumprod")
def cumprod(c: CallContext, x: SSAValue, dim: int, dtype: Any = None):
    x = c.tensor(x, c.dtype())
    return x if rank_of(x) == 0 else c.emit(graph.CumProd, x, axis=c.axis(dim, rank_of(x)))


def _order(x: SSAValue) -> bool:
    return element_type(x).kind != "complex"


@aten("sort", "sort.stable")
def sort(c: CallContext, x: SSAValue, *args: Any, **kwargs: Any):
    named = dict(zip(("stable", "dim", "descending"), args, strict=False)) if str(
        c.node.target
    ).endswith("stable") else dict(zip(("dim", "descending"), args, strict=False))  # fmt: skip
    named |= kwargs
    if rank_of(x) == 0:
        return [x, c.b.constant(0, i64)]
    axis = c.axis(named.get("dim", -1), rank_of(x))
    return c.b.build(
        graph.Sort, x, axis=axis, descending=bool(named.get("descending", False))
    ).results


@aten("topk")
def topk(
    c: CallContext, x: SSAValue, k: Any, dim: int = -1, largest: bool = True, sorted: bool = True
):
    if rank_of(x) == 0:
        return [x, c.b.constant(0, i64)]
    return c.b.build(
        graph.TopK,
        x,
        axis=c.axis(dim, rank_of(x)),
        k=c.b.structural([k]),
        largest=largest,
        sorted=sorted,
    ).results


@aten("nonzero")
def nonzero(c: CallContext, x: SSAValue):
    return c.b.transpose(c.emit(graph.NonZero, x), [1, 0])
