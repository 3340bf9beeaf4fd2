"""Reductions, scans, sorting and counting operators."""

from __future__ import annotations

from xdsl.ir import SSAValue

from aicc.frontends.onnx.context import NodeContext
from aicc.frontends.onnx.table import onnx_op
from aicc.ir import graph
from aicc.ir.dtypes import f32, i64
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type, shape_of


def _axes(c: NodeContext) -> list[int] | None:
    """The axes to reduce; None for no reduction at all (noop_with_empty_axes)."""
    axes = c.axes_from("axes", 1)
    if axes:
        return axes
    return None if c.attr("noop_with_empty_axes", 0) else list(range(c.rank()))


def _reduce(c: NodeContext, cls: type[GraphOp], x: SSAValue, axes: list[int]) -> SSAValue:
    return c.emit(cls, x, axes=tuple(sorted(axes)), keepdims=bool(c.attr("keepdims", 1)))


def _enter(name: str, cls: type[GraphOp]) -> None:
    @onnx_op(name)
    def reduction(c: NodeContext):
        axes = _axes(c)
        return c[0] if axes is None else _reduce(c, cls, c[0], axes)


for _name, _cls in {
    "ReduceSum": graph.ReduceSum,
    "ReduceProd": graph.ReduceProd,
    "ReduceMax": graph.ReduceMax,
    "ReduceMin": graph.ReduceMin,
    "ReduceMean": graph.ReduceMean,
}.items():
    _enter(_name, _cls)


def _sum_of(c: NodeContext, x: SSAValue) -> SSAValue:
    axes = _axes(c)
    return x if axes is None else _reduce(c, graph.ReduceSum, x, axes)


@onnx_op("ReduceL1")
def reduce_l1(c: NodeContext):
    return _sum_of(c, c.emit(graph.Abs, c[0]))


@onnx_op("ReduceSumSquare")
def reduce_sum_square(c: NodeContext):
    return _sum_of(c, c.emit(graph.Mul, c[0], c[0]))


@onnx_op("ReduceL2")
def reduce_l2(c: NodeContext):
    total = _sum_of(c, c.emit(graph.Mul, c[0], c[0]))
    if c.dtype().is_float:
        return c.emit(graph.Sqrt, total)
    return c.b.cast(c.emit(graph.Sqrt, c.b.cast(total, "f64")), c.dtype())


@onnx_op("ReduceLogSum")
def reduce_log_sum(c: NodeContext):
    return c.emit(graph.Log, _sum_of(c, c[0]))


@onnx_op("ReduceLogSumExp")
def reduce_log_sum_exp(c: NodeContext):
    axes = _axes(c)
    if axes is None:
        return c[0]
    x = c[0] if c.dtype().is_float else c.b.cast(c[0], "f64")
    axes = sorted(axes)
    top = c.emit(graph.ReduceMax, x, axes=axes, keepdims=True)
    finite = c.emit(graph.Select, c.emit(graph.IsInf, top), c.scalar(0, x), top)
    total = c.emit(
        graph.ReduceSum,
        c.emit(graph.Exp, c.emit(graph.Sub, x, finite)),
        axes=axes,
        keepdims=True,
    )
    out = c.emit(graph.Add, c.emit(graph.Log, total), finite)
    if not c.attr("keepdims", 1):
        out = c.b.squeeze(out, axes)
    return c.b.cast(out, c.dtype())


def _arg(cls: type[GraphOp]):
    def importer(c: NodeContext):
        return c.emit(
            cls,
            c[0],
            axis=c.axis(0),
            keepdims=bool(c.attr("keepdims", 1)),
            select_last_index=bool(c.attr("select_last_index", 0)),
        )

    return importer


onnx_op("ArgMax")(_arg(graph.ArgMax))
onnx_op("ArgMin")(_arg(graph.ArgMin))


def _scan(cls: type[GraphOp]):
    def importer(c: NodeContext):
        return c.emit(
            cls,
            c[0],
            axis=c.normalize(c.ints(1, "axis")[0], c.rank()),
            exclusive=bool(c.attr("exclusive", 0)),
            reverse=bool(c.attr("reverse", 0)),
        )

    return importer


onnx_op("CumSum")(_scan(graph.CumSum))
onnx_op("CumProd")(_scan(graph.CumProd))


@onnx_op("TopK")
def top_k(c: NodeContext):
    k = [c.attr("k")] if c.version < 10 else c.b.structural(c.b.reshape(c[1], [1]))
    return c.b.build(
        graph.TopK,
        c[0],
        axis=c.axis(-1),
        k=k,
        largest=bool(c.attr("largest", 1)),
        sorted=bool(c.attr("sorted", 1)),
    ).results


@onnx_op("NonZero")
def non_zero(c: NodeContext):
    return c.emit(graph.NonZero, c[0])


@onnx_op("Unique")
def unique(c: NodeContext):
    axis = c.axis() if c.has_attr("axis") else None
    return c.b.build(graph.Unique, c[0], axis=axis, sorted=bool(c.attr("sorted", 1))).results


@onnx_op("Hardmax", until=13)
def hardmax_1(c: NodeContext):
    from aicc.frontends.onnx.ops_nn import flattened

    return flattened(c, c.axis(1), lambda x: _hardmax(c, x, 1))


@onnx_op("Hardmax", since=13)
def hardmax(c: NodeContext):
    return _hardmax(c, c[0], c.axis(-1))


def _hardmax(c: NodeContext, x: SSAValue, axis: int) -> SSAValue:
    best = c.emit(graph.ArgMax, x, axis=axis, keepdims=True)
    index = c.emit(
        graph.Iota, shape=c.b.structural(c.b.reshape(_axis_size(c, x, axis), [1])), dtype=i64
    )
    index = c.b.unsqueeze(index, list(range(1, len(shape_of(x)) - axis)))
    return c.b.cast(c.emit(graph.Eq, index, best), element_type(x))


def _axis_size(c: NodeContext, x: SSAValue, axis: int) -> SSAValue:
    return c.b.size(x, axis)


@onnx_op("LpNormalization")
def lp_normalization(c: NodeContext):
    x, axis = c[0], c.axis(-1)
    if c.attr("p", 2) == 1:
        norm = c.emit(graph.ReduceSum, c.emit(graph.Abs, x), axes=[axis], keepdims=True)
    else:
        square = c.emit(graph.Mul, x, x)
        norm = c.emit(graph.Sqrt, c.emit(graph.ReduceSum, square, axes=[axis], keepdims=True))
    zero = c.emit(graph.Eq, norm, c.scalar(0))
    safe = c.emit(graph.Select, zero, c.scalar(1), norm)
    return c.emit(graph.Select, zero, c.scalar(0), c.emit(graph.Div, x, safe))


@onnx_op("MeanVarianceNormalization")
def mean_variance_normalization(c: NodeContext):
    axes = sorted(c.normalize(a, c.rank()) for a in c.attr("axes", [0, 2, 3]))
    mean = c.emit(graph.ReduceMean, c[0], axes=axes, keepdims=True)
    centered = c.emit(graph.Sub, c[0], mean)
    variance = c.emit(
        graph.ReduceMean, c.emit(graph.Mul, centered, centered), axes=axes, keepdims=True
    )
    deviation = c.emit(graph.Add, c.emit(graph.Sqrt, variance), c.scalar(1e-9))
    return c.emit(graph.Div, centered, deviation)


__all__ = ["f32"]
