"""Ops that make tensors: constants, iota, and shapes as values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.irdl import opt_operand_def, traits_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import ConstantLike, Pure

from aicc.ir.constants import DenseAttr
from aicc.ir.dtypes import DType, i64
from aicc.ir.graph.common import (
    PURE,
    TENSOR,
    GraphOp,
    operand_def,
    require_axis,
    require_rank,
    result_def,
    structural,
)
from aicc.ir.op import graph_op
from aicc.ir.params import DIMS, param
from aicc.ir.types import DimsAttr, element_type, rank_of, shape_of, tensor
from aicc.ir.values import Elements, SymbolicValues


class _IsConstant(ConstantLike):
    @classmethod
    def get_constant_value(cls, op: GraphOp) -> DenseAttr:  # type: ignore[override]
        assert isinstance(op, Constant)
        return op.value


@graph_op
class Constant(GraphOp):
    """A tensor known at compile time, a weight too. ONNX Constant and initializers.

    Small ones print inline, large ones as a named resource (see `aicc.ir.constants`).
    """

    name = "graph.constant"
    traits = traits_def(Pure(), _IsConstant())
    result = result_def(TENSOR)
    value: DenseAttr = param(DenseAttr)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        return [self.value.type]

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        self.value.print_literal(printer)
        if self.attributes:
            printer.print_string(" attributes")
            printer.print_attr_dict(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.result.type)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        literal = DenseAttr.parse_literal(parser)
        attributes = {}
        if parser.parse_optional_keyword("attributes"):
            attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        type = parser.parse_type()
        value = DenseAttr.from_literal(parser, literal, type)
        return cls.create(result_types=[type], properties={"value": value}, attributes=attributes)

    def symbolic_results(self, values: SymbolicValues) -> Sequence[Elements | None]:
        dtype = element_type(self.result)
        if not (dtype.is_integer or dtype.kind == "bool"):
            return [None]
        return [tuple(int(x) for x in np.ravel(self.value.array).tolist())]


@graph_op
class Iota(GraphOp):
    """Each element is its index along `axis`. ONNX Range and aten.arange are built from it."""

    name = "graph.iota"
    traits = PURE
    dyn_shape = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    shape: tuple = param(DIMS, default=None)
    axis: int = param(int, default=0)
    dtype: DType = param(DType)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dims = structural(self, "shape", values)
        if dims is None:
            raise TypeError(f"{self.name}: the length of the shape must be static")
        require_axis(self, self.axis, len(dims))
        return [tensor(dims, self.dtype)]

    def symbolic_results(self, values: SymbolicValues) -> Sequence[Elements | None]:
        shape = shape_of(self.result)
        if len(shape) == 1 and isinstance(shape[0], int) and self.dtype.is_integer:
            return [tuple(range(shape[0]))]
        return [None]


@graph_op
class ShapeOf(GraphOp):
    """The sizes of a tensor as a 1-D i64 tensor. ONNX Shape, aten.sym_size."""

    name = "graph.shape_of"
    traits = PURE
    input = operand_def(TENSOR)
    result = result_def(TENSOR)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        return [tensor((rank_of(self.input),), i64)]

    def symbolic_results(self, values: SymbolicValues) -> Sequence[Elements | None]:
        return [shape_of(self.input)]


@graph_op
class ShapeExpr(GraphOp):
    """Symbolic expressions of the function's dims, as a 1-D i64 tensor.

    All shape arithmetic whose value is known symbolically becomes this op.
    """

    name = "graph.shape_expr"
    traits = PURE
    result = result_def(TENSOR)
    exprs: tuple = param(DIMS)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        return [tensor((len(self.exprs),), i64)]

    def symbolic_results(self, values: SymbolicValues) -> Sequence[Elements | None]:
        return [tuple(self.exprs)]


__all__ = ["Constant", "DimsAttr", "Iota", "ShapeExpr", "ShapeOf", "require_rank"]
