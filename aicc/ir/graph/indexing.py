"""Gather, scatter, and ops whose result depends on the order or value of elements.

Indices are integers; negative ones count from the end, those out of range are an error.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.ir import SSAValue
from xdsl.irdl import opt_operand_def

from aicc.ir.dtypes import i64
from aicc.ir.graph.common import (
    PURE,
    TENSOR,
    GraphOp,
    is_integer,
    operand_def,
    require,
    require_axis,
    require_dtype,
    require_same_dtype,
    result_def,
    structural,
)
from aicc.ir.op import graph_op
from aicc.ir.params import DIMS, param
from aicc.ir.types import compatible_dim, element_type, rank_of, shape_of, tensor
from aicc.ir.values import Elements, SymbolicValues

REDUCTIONS = ("none", "add", "mul", "max", "min")


def _index(op: GraphOp, value: SSAValue) -> None:
    require_dtype(op, value, is_integer, "the indices")


@graph_op
class Gather(GraphOp):
    """Slices of the operand along `axis`, one for each index. ONNX Gather, aten.index_select.

    Result shape: ``input[:axis] + indices + input[axis+1:]``.
    """

    name = "graph.gather"
    traits = PURE
    input = operand_def(TENSOR)
    indices = operand_def(TENSOR)
    result = result_def(TENSOR)
    axis: int = param(int, default=0)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        shape = shape_of(self.input)
        _index(self, self.indices)
        require_axis(self, self.axis, len(shape))
        out = shape[: self.axis] + shape_of(self.indices) + shape[self.axis + 1 :]
        return [tensor(out, element_type(self.input))]

    def symbolic_results(self, values: SymbolicValues) -> Sequence[Elements | None]:
        known, picks = values.get(self.input), values.get(self.indices)
        if known is None or picks is None or rank_of(self.input) != 1:
            return [None]
        n = len(known)
        return [tuple(known[i] if isinstance(i, int) and -n <= i < n else None for i in picks)]


@graph_op
class GatherElements(GraphOp):
    """``out[i][j] = x[index[i][j]][j]`` for axis 0. ONNX GatherElements, aten.gather."""

    name = "graph.gather_elements"
    traits = PURE
    input = operand_def(TENSOR)
    indices = operand_def(TENSOR)
    result = result_def(TENSOR)
    axis: int = param(int, default=0)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        _index(self, self.indices)
        rank = rank_of(self.input)
        require(self, rank_of(self.indices) == rank, "indices and operand differ in rank")
        require_axis(self, self.axis, rank)
        return [tensor(shape_of(self.indices), element_type(self.input))]


@graph_op
class GatherND(GraphOp):
    """Slices picked by index tuples, the last dim of `indices`. ONNX GatherND, aten.index."""

    name = "graph.gather_nd"
    traits = PURE
    input = operand_def(TENSOR)
    indices = operand_def(TENSOR)
    result = result_def(TENSOR)
    batch_dims: int = param(int, default=0)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        _index(self, self.indices)
        x, ix, b = shape_of(self.input), shape_of(self.indices), self.batch_dims
        require(self, len(ix) >= 1 and isinstance(ix[-1], int), "needs a static index depth")
        depth = list(ix)[-1]
        assert isinstance(depth, int)
        require(self, 0 <= b < len(ix) and b + depth <= len(x), f"depth {depth} is too large")
        return [tensor(ix[:-1] + x[b + depth :], element_type(self.input))]


class _Scatter(GraphOp):
    traits = PURE
    input = operand_def(TENSOR)
    indices = operand_def(TENSOR)
    updates = operand_def(TENSOR)
    result = result_def(TENSOR)
    reduction: str = param(str, default="none", choices=REDUCTIONS)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        _index(self, self.indices)
        require_same_dtype(self, self.input, self.updates)
        self.check_shapes()
        return [self.input.type]  # type: ignore[list-item]

    def check_shapes(self) -> None:
        raise TypeError


@graph_op
class ScatterElements(_Scatter):
    """The operand with ``out[index[i][j]][j] ∘= updates[i][j]`` for axis 0.

    ONNX ScatterElements, aten.scatter, aten.scatter_reduce.
    """

    name = "graph.scatter_elements"
    axis: int = param(int, default=0)

    def check_shapes(self) -> None:
        rank = rank_of(self.input)
        require_axis(self, self.axis, rank)
        a, b = shape_of(self.indices), shape_of(self.updates)
        require(self, len(a) == rank == len(b), "operands differ in rank")
        fits = all(compatible_dim(x, y) for x, y in zip(a, b, strict=True))
        require(self, fits, "indices and updates differ in shape")


@graph_op
class ScatterND(_Scatter):
    """The operand with slices at index tuples combined with `updates`.

    ONNX ScatterND, aten.index_put.
    """

    name = "graph.scatter_nd"

    def check_shapes(self) -> None:
        x, ix, up = shape_of(self.input), shape_of(self.indices), shape_of(self.updates)
        require(self, len(ix) >= 1 and isinstance(ix[-1], int), "needs a static index depth")
        depth = list(ix)[-1]
        assert isinstance(depth, int)
        require(self, depth <= len(x), f"index depth {depth} is above rank {len(x)}")
        want = ix[:-1] + x[depth:]
        fits = len(want) == len(up) and all(
            compatible_dim(a, b) for a, b in zip(want, up, strict=True)
        )
        require(self, fits, "the updates' shape doesn't fit operand and indices")


@graph_op
class NonZero(GraphOp):
    """Index tuples of non-zero elements, in row-major order: rank × count, i64. ONNX NonZero."""

    name = "graph.non_zero"
    traits = PURE
    input = operand_def(TENSOR)
    result = result_def(TENSOR)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        return [tensor((rank_of(self.input), None), i64)]


@graph_op
class Unique(GraphOp):
    """Distinct elements, or slices along `axis` (of the flattened operand if absent). ONNX Unique.

    Results: values; index of first occurrence; for each input its index in values; counts (i64).
    """

    name = "graph.unique"
    traits = PURE
    input = operand_def(TENSOR)
    unique_values = result_def(TENSOR)
    indices = result_def(TENSOR)
    inverse = result_def(TENSOR)
    counts = result_def(TENSOR)
    axis: int | None = param(int, default=None)
    sorted: bool = param(bool, default=True)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        shape = list(shape_of(self.input))
        dtype = element_type(self.input)
        vector = tensor((None,), i64)
        if self.axis is None:
            return [tensor((None,), dtype), vector, vector, vector]
        require_axis(self, self.axis, len(shape))
        inverse = tensor((shape[self.axis],), i64)
        shape[self.axis] = None
        return [tensor(shape, dtype), vector, inverse, vector]


@graph_op
class TopK(GraphOp):
    """The k largest (or smallest) elements along `axis` and their indices (i64).

    Ties go to the lower index. ONNX TopK, aten.topk.
    """

    name = "graph.top_k"
    traits = PURE
    input = operand_def(TENSOR)
    dyn_k = opt_operand_def(TENSOR)
    top_values = result_def(TENSOR)
    indices = result_def(TENSOR)
    axis: int = param(int)
    k: tuple = param(DIMS, default=None)
    largest: bool = param(bool, default=True)
    sorted: bool = param(bool, default=True)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        shape = list(shape_of(self.input))
        require_axis(self, self.axis, len(shape))
        k = (structural(self, "k", values, 1) or (None,))[0]
        size = shape[self.axis]
        if isinstance(k, int) and isinstance(size, int):
            require(self, 0 <= k <= size, f"k = {k} is above the size {size} of axis {self.axis}")
        shape[self.axis] = k
        return [tensor(shape, element_type(self.input)), tensor(shape, i64)]


@graph_op
class Sort(GraphOp):
    """Stable sort along `axis`, with indices (i64); NaN counts as the largest. aten.sort."""

    name = "graph.sort"
    traits = PURE
    input = operand_def(TENSOR)
    sorted_values = result_def(TENSOR)
    indices = result_def(TENSOR)
    axis: int = param(int)
    descending: bool = param(bool, default=False)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        shape = shape_of(self.input)
        require_axis(self, self.axis, len(shape))
        return [tensor(shape, element_type(self.input)), tensor(shape, i64)]
