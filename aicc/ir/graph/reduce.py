"""Reductions, arg-reductions and scans along axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects.builtin import TensorType

from aicc.ir.dtypes import i64
from aicc.ir.graph.common import (
    PURE,
    TENSOR,
    GraphOp,
    is_any,
    is_float,
    is_numeric,
    operand_def,
    require,
    require_axis,
    require_dtype,
    result_def,
    unknown,
)
from aicc.ir.op import graph_op
from aicc.ir.params import INTS, param
from aicc.ir.symbols import Dim, maximum, minimum
from aicc.ir.types import Shape, element_type, numel, rank_of, shape_of, tensor
from aicc.ir.values import Elements, SymbolicValues


def reduced_shape(shape: Shape, axes: Sequence[int], keepdims: bool) -> Shape:
    """`shape` with `axes` dropped, or set to 1."""
    if keepdims:
        return tuple(1 if i in axes else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in axes)


class ReduceOp(GraphOp):
    """A reduction over `axes` (none listed: no reduction); the dtype stays.

    f16 and bf16 accumulate in f32 and are rounded once.
    """

    traits = PURE
    input = operand_def(TENSOR)
    result = result_def(TENSOR)
    axes: tuple[int, ...] = param(INTS)
    keepdims: bool = param(bool, default=False)
    rule = staticmethod(is_numeric)
    symbolic = staticmethod(unknown)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.input, type(self).rule)
        shape = shape_of(self.input)
        require(self, len(set(self.axes)) == len(self.axes), f"axes {list(self.axes)} repeat")
        for a in self.axes:
            require_axis(self, a, len(shape))
        return [tensor(reduced_shape(shape, self.axes, self.keepdims), dtype)]

    def symbolic_results(self, values: SymbolicValues) -> Sequence[Elements | None]:
        f = type(self).symbolic
        known = values.get(self.input)
        if f is unknown or known is None or None in known:
            return [None]
        if rank_of(self.input) == 0 or not self.axes:
            return [known]
        found = f(known)
        return [None if found is None else (found,)]

    def flops(self) -> Dim:
        return numel(shape_of(self.input)) or 0


def _product(elements: Elements) -> Dim | None:
    return numel(elements)


def _sum(elements: Elements) -> Dim | None:
    total: Dim = 0
    for e in elements:
        assert e is not None
        total = total + e
    return total


def _extreme(f: Callable[[Dim, Dim], Dim]) -> Callable[[Elements], Dim | None]:
    def apply(elements: Elements) -> Dim | None:
        best = None
        for e in elements:
            assert e is not None
            best = e if best is None else f(best, e)
        return best

    return apply


@graph_op
class ReduceSum(ReduceOp):
    """The sum over axes; 0 over none. ONNX ReduceSum, aten.sum."""

    name = "graph.reduce_sum"
    symbolic = staticmethod(_sum)


@graph_op
class ReduceProd(ReduceOp):
    """The product over axes; 1 over none. ONNX ReduceProd, aten.prod."""

    name = "graph.reduce_prod"
    symbolic = staticmethod(_product)


@graph_op
class ReduceMax(ReduceOp):
    """The maximum over axes, NaN wins; logical or of booleans. ONNX ReduceMax, aten.amax."""

    name = "graph.reduce_max"
    rule = staticmethod(is_any)
    symbolic = staticmethod(_extreme(maximum))


@graph_op
class ReduceMin(ReduceOp):
    """The minimum over axes, NaN wins; logical and of booleans. ONNX ReduceMin, aten.amin."""

    name = "graph.reduce_min"
    rule = staticmethod(is_any)
    symbolic = staticmethod(_extreme(minimum))


@graph_op
class ReduceMean(ReduceOp):
    """The mean over axes. ONNX ReduceMean, aten.mean.

    Integers are summed in 64 bits, and the mean rounds toward zero.
    """

    name = "graph.reduce_mean"


class _ArgReduce(GraphOp):
    traits = PURE
    input = operand_def(TENSOR)
    result = result_def(TENSOR)
    axis: int = param(int)
    keepdims: bool = param(bool, default=False)
    select_last_index: bool = param(bool, default=False)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        require_dtype(self, self.input, is_any)
        shape = shape_of(self.input)
        require_axis(self, self.axis, len(shape))
        return [tensor(reduced_shape(shape, (self.axis,), self.keepdims), i64)]

    def flops(self) -> Dim:
        return numel(shape_of(self.input)) or 0


@graph_op
class ArgMax(_ArgReduce):
    """The index of the first (or last) maximum along an axis; NaN wins. ONNX ArgMax."""

    name = "graph.argmax"


@graph_op
class ArgMin(_ArgReduce):
    """The index of the first (or last) minimum along an axis; NaN wins. ONNX ArgMin."""

    name = "graph.argmin"


class _Scan(GraphOp):
    traits = PURE
    input = operand_def(TENSOR)
    result = result_def(TENSOR)
    axis: int = param(int)
    exclusive: bool = param(bool, default=False)
    reverse: bool = param(bool, default=False)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        require_dtype(self, self.input, is_numeric)
        require_axis(self, self.axis, rank_of(self.input))
        return [self.input.type]  # type: ignore[list-item]

    def flops(self) -> Dim:
        return numel(shape_of(self.input)) or 0


@graph_op
class CumSum(_Scan):
    """Running sum along an axis. ONNX CumSum, aten.cumsum."""

    name = "graph.cumsum"


@graph_op
class CumProd(_Scan):
    """Running product along an axis. ONNX CumProd, aten.cumprod."""

    name = "graph.cumprod"


class _ArgScan(GraphOp):
    traits = PURE
    input = operand_def(TENSOR)
    running = result_def(TENSOR)
    indices = result_def(TENSOR)
    axis: int = param(int)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        shape = shape_of(self.input)
        require_axis(self, self.axis, len(shape))
        return [tensor(shape, element_type(self.input)), tensor(shape, i64)]


@graph_op
class CumMax(_ArgScan):
    """Running maximum along an axis and its (latest) index. aten.cummax."""

    name = "graph.cummax"


@graph_op
class CumMin(_ArgScan):
    """Running minimum along an axis and its (latest) index. aten.cummin."""

    name = "graph.cummin"


__all__ = ["is_float", "reduced_shape"]
