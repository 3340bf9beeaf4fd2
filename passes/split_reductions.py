"""Splits long reductions to few results in two: partial results side by side, then theirs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from aicc.ir.builder import GraphBuilder
from aicc.ir.graph import Div, ReduceMax, ReduceMean, ReduceMin, ReduceProd, ReduceSum
from aicc.ir.graph.operators import wide
from aicc.ir.graph.reduce import ReduceOp
from aicc.ir.types import element_type, static_shape
from aicc.passes.row_parts import RowParts, in_parts, neutral_of
from aicc.passes.split_arg import SplitArg
from aicc.passes.split_shifted import SplitShifted, TakeApart

SPLITS: dict[type[ReduceOp], type[ReduceOp]] = {
    ReduceSum: ReduceSum,
    ReduceMean: ReduceSum,
    ReduceProd: ReduceProd,
    ReduceMax: ReduceMax,
    ReduceMin: ReduceMin,
}
"""What partial results of each reduction are combined by."""


@dataclass(frozen=True)
class SplitReductions(ModulePass):
    """Have long reductions run as `programs` programs or more, each of `least` elements or more.

    A kernel has a program for each row that it reduces, or for some columns: a sum over everything
    has one. Such a reduction becomes two, over parts of its axes and over the parts. Where an axis
    is kept whole for the second, nothing is reshaped. Variances and sums for softmax are split with
    the means and maxima that they need: the row is read once for both. Sums of floats change in
    their last bits; those of 16 bits and fewer stay f32 between the two. Columns are summed one row
    after the other on some targets: `longest` is how many at most, for sums that long lose digits.
    """

    name = "split-reductions"
    programs: int = 256
    least: int = 8192
    longest: int = 0

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        parts = RowParts(self.programs, self.least, self.longest)
        for pattern in (TakeApart(parts), SplitShifted(parts), Split(parts), SplitArg(parts)):
            PatternRewriteWalker(pattern, apply_recursively=False).rewrite_module(op)


@dataclass
class Split(RewritePattern):
    """reduce(x, axes) → reduce(reduce(x in parts, axes), parts)"""

    parts: RowParts = field(default_factory=RowParts)

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ReduceOp, rewriter: PatternRewriter) -> None:
        shape = static_shape(op.input)
        if type(op) not in SPLITS or shape is None or 0 in shape or not op.axes:
            return
        dtype = element_type(op.input)
        if isinstance(op, ReduceMean) and not dtype.is_float:
            return
        found = self.parts.of(shape, op.axes, padded=dtype.bits >= 8)
        if found is not None:
            rewriter.replace(op, [], [halves(op, shape, *found)])


def halves(op: ReduceOp, shape: tuple[int, ...], axis: int, parts: int) -> SSAValue:
    """The result of `op`, whose operand's `axis` is reduced in `parts` first."""
    b = GraphBuilder.before(op)
    dtype = element_type(op.input)
    combine = SPLITS[type(op)]
    with b.at(op.location):
        x = wide(b, op.input)
        if parts == shape[axis]:
            inner = [a for a in op.axes if a != axis]
            apart = axis
        else:
            x = in_parts(b, x, axis, parts, neutral_of(combine, element_type(x)))
            inner = [a + (a >= axis) for a in op.axes]
            apart = axis - sum(a < axis for a in inner)
        partial = b.emit(combine, x, axes=inner, keepdims=parts == shape[axis])
        partial.name_hint = f"partial_{op.result.name_hint or 'result'}"
        if parts == shape[axis]:
            result = b.emit(combine, partial, axes=list(op.axes), keepdims=op.keepdims)
        else:
            result = b.emit(combine, partial, axes=[apart])
            if op.keepdims:
                result = b.reshape(result, static_shape(op.result) or ())
        if isinstance(op, ReduceMean):
            count = math.prod(shape[a] for a in op.axes)
            result = b.emit(Div, result, b.scalar_like(count, result))
        result = b.cast(result, dtype)
    result.name_hint = op.result.name_hint
    return result
