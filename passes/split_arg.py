"""Splits the search for a greatest or least element: parts of a row, then among what they found."""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import i64
from aicc.ir.graph import Add, ArgMax, ArgMin, GatherElements, Mul, ReduceMax, ReduceMin
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type, static_shape
from aicc.passes.row_parts import RowParts, in_parts, neutral_of


@dataclass
class SplitArg(RewritePattern):
    """argmax(x) → p · size + argmax(part p of x), p the first part whose maximum is the greatest"""

    parts: RowParts = field(default_factory=RowParts)

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: GraphOp, rewriter: PatternRewriter) -> None:
        if not isinstance(op, (ArgMax, ArgMin)) or op.select_last_index:
            return
        shape, axis = static_shape(op.input), op.axis
        dtype = element_type(op.input)
        if shape is None or 0 in shape or dtype.kind in ("bool", "complex") or dtype.bits < 16:
            return
        if (found := self.parts.of(shape, (axis,), padded=True)) is None:
            return
        _, count = found
        best = ReduceMax if isinstance(op, ArgMax) else ReduceMin
        b = GraphBuilder.before(op)
        with b.at(op.location):
            x = in_parts(b, op.input, axis, count, neutral_of(best, dtype))
            size = -(-shape[axis] // count)
            within = b.emit(type(op), x, axis=axis + 1)
            tops = b.emit(best, x, axes=[axis + 1])
            within.name_hint, tops.name_hint = "part_index", "part_best"
            part = b.emit(type(op), tops, axis=axis, keepdims=True)
            within = b.emit(GatherElements, within, part, axis=axis)
            start = b.emit(Mul, part, b.constant(size, i64))
            result = b.reshape(b.emit(Add, start, within), static_shape(op.result) or ())
        result.name_hint = op.result.name_hint
        rewriter.replace(op, [], [result])
