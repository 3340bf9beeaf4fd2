"""Splits sums that need another reduction of their row first: both in parts, in one go."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from aicc.ir.builder import GraphBuilder
from aicc.ir.graph import (
    Add,
    Div,
    Exp,
    IsInf,
    LayerNorm,
    LogSoftmax,
    Mul,
    ReduceMax,
    ReduceMean,
    ReduceSum,
    RMSNorm,
    Select,
    Softmax,
    Sub,
)
from aicc.ir.graph.decompositions import DECOMPOSITIONS
from aicc.ir.graph.reduce import ReduceOp
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type, static_shape
from aicc.passes.row_parts import RowParts, in_parts

NORMS = (LayerNorm, LogSoftmax, RMSNorm, Softmax)

NEAR = 4
"""Ops between a maximum and what is subtracted in its stead."""


@dataclass
class TakeApart(RewritePattern):
    """A norm of few, long rows becomes reductions and arithmetic, as `decompose` has it."""

    parts: RowParts = field(default_factory=RowParts)

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: GraphOp, rewriter: PatternRewriter) -> None:
        if not isinstance(op, NORMS):
            return
        shape = static_shape(op.input)
        if shape is None or 0 in shape:
            return
        last = op.axis + 1 if isinstance(op, (Softmax, LogSoftmax)) else len(shape)
        padded = not isinstance(op, LayerNorm)
        if self.parts.of(shape, tuple(range(op.axis, last)), padded) is None:
            return
        b = GraphBuilder.before(op)
        with b.at(op.location):
            results = DECOMPOSITIONS[type(op)](b, op)
        assert results is not None  # as it has for all shapes that are known
        for old, new in zip(op.results, results, strict=True):
            if new is not None:
                new.name_hint = new.name_hint or old.name_hint
        rewriter.replace(op, [], results)


@dataclass
class SplitShifted(RewritePattern):
    """Σ (x − mean x)² and Σ e^(x − s), s made from max x: from what parts of the row give.

    Parts have means (maxima) m and sums of what is left behind these. Squares: with n elements to a
    part, Σ (x − mean x)² = Σ over parts of Σ (x − m)² + n (m − mean x)², Chan, Golub and LeVeque
    (1983). Exponentials: Σ e^(x − s) = Σ over parts of e^(m − s) Σ e^(x − m); m is 0 instead where
    it is infinite.
    """

    parts: RowParts = field(default_factory=RowParts)

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ReduceOp, rewriter: PatternRewriter) -> None:
        if not isinstance(op, (ReduceSum, ReduceMean)) or not element_type(op.input).is_float:
            return
        summand = op.input.owner
        squares = isinstance(summand, Mul)
        if isinstance(summand, Mul) and summand.lhs is summand.rhs:
            away = summand.lhs.owner
        elif isinstance(summand, Exp):
            away = summand.input.owner
        else:
            return
        if not isinstance(away, Sub):
            return
        x, shift = away.operands
        first = reduction_behind(shift, x, op.axes, ReduceMean if squares else ReduceMax)
        shape = static_shape(x)
        if first is None or shape is None or 0 in shape or (squares and shift is not first.result):
            return
        found = self.parts.of(shape, op.axes, padded=not squares)
        if static_shape(op.input) != shape or found is None:
            return
        row = Row(shape, op.axes, *found)
        total, top = (row.squares if squares else row.exponentials)(op, first, shift)
        rewriter.replace(first, [], [top])
        rewriter.replace(op, [], [total])


def reduction_behind(
    shift: SSAValue, x: SSAValue, axes: tuple[int, ...], kind: type[ReduceOp]
) -> ReduceOp | None:
    """The reduction of `x` that `shift` is made from by a few ops."""
    pending, near = [shift], 0
    while pending and near <= NEAR:
        owner = pending.pop().owner
        near += 1
        if isinstance(owner, kind) and owner.input is x and owner.axes == axes and owner.keepdims:
            return owner
        if isinstance(owner, Operation) and not isinstance(owner, ReduceOp):
            pending.extend(owner.operands)
    return None


@dataclass
class Row:
    """What is reduced: `axes` of `shape`, the elements of `axis` in `parts`."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    axis: int
    parts: int

    @property
    def inner(self) -> list[int]:
        """The axes that are reduced within a part."""
        return [a + (a >= self.axis) for a in self.axes]

    @property
    def elements(self) -> int:
        """How many elements a row has."""
        return math.prod(self.shape[a] for a in self.axes)

    def joined(self, b: GraphBuilder, kind: type[ReduceOp], x: SSAValue, op: ReduceOp) -> SSAValue:
        """What parts give, combined, in the shape of the result of `op`."""
        result = b.emit(kind, x, axes=[self.axis], keepdims=True)
        return b.reshape(result, static_shape(op.result) or ())

    def squares(self, op: ReduceOp, first: ReduceOp, shift: SSAValue) -> tuple[SSAValue, SSAValue]:
        """The result of `op`, and the mean."""
        b = GraphBuilder.before(first)
        with b.at(first.location):
            x = in_parts(b, first.input, self.axis, self.parts)
            means = b.emit(ReduceMean, x, axes=self.inner, keepdims=True)
            away = b.emit(Sub, x, means)
            square = b.emit(Mul, away, away)
            squares = b.emit(ReduceSum, square, axes=self.inner, keepdims=True)
            means.name_hint, squares.name_hint = "part_mean", "part_squares"
            mean = b.emit(ReduceMean, means, axes=[self.axis], keepdims=True)
            between = b.emit(Sub, means, mean)
            between = b.emit(Mul, between, between)
            between = b.emit(Mul, between, b.scalar_like(self.elements // self.parts, between))
            total = self.joined(b, ReduceSum, b.emit(Add, squares, between), op)
            if isinstance(op, ReduceMean):
                total = b.emit(Div, total, b.scalar_like(self.elements, total))
            mean = b.reshape(mean, static_shape(first.result) or ())
        mean.name_hint, total.name_hint = first.result.name_hint, op.result.name_hint
        return total, mean

    def exponentials(
        self, op: ReduceOp, first: ReduceOp, shift: SSAValue
    ) -> tuple[SSAValue, SSAValue]:
        """The result of `op`, and the maximum."""
        b = GraphBuilder.before(first)
        with b.at(first.location):
            x = in_parts(b, first.input, self.axis, self.parts, -math.inf)
            tops = b.emit(ReduceMax, x, axes=self.inner, keepdims=True)
            sums = b.emit(Exp, b.emit(Sub, x, finite(b, tops)))
            sums = b.emit(ReduceSum, sums, axes=self.inner, keepdims=True)
            tops.name_hint, sums.name_hint = "part_max", "part_sum"
            top = self.joined(b, ReduceMax, tops, first)
        top.name_hint = first.result.name_hint
        b = GraphBuilder.before(op)
        with b.at(op.location):
            wide = list(static_shape(shift) or ())
            wide.insert(self.axis, 1)
            shift = b.reshape(shift, wide)
            weight = b.emit(Exp, b.emit(Sub, finite(b, tops), shift))
            total = self.joined(b, ReduceSum, b.emit(Mul, sums, weight), op)
            if isinstance(op, ReduceMean):
                total = b.emit(Div, total, b.scalar_like(self.elements, total))
        total.name_hint = op.result.name_hint
        return total, top


def finite(b: GraphBuilder, x: SSAValue) -> SSAValue:
    """`x`, and 0 where it is infinite."""
    return b.emit(Select, b.emit(IsInf, x), b.scalar_like(0, x), x)
