"""Scatters to one place along each line are choices: elements of the place take the update."""

from __future__ import annotations

import math

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
from aicc.ir.dtypes import i64
from aicc.ir.graph import Add, And, Eq, Iota, Lt, ScatterElements, ScatterND, Select
from aicc.ir.types import static_shape


class ScatterToSelect(ModulePass):
    """Write scatters of one index along an axis as selects, which fuse with what is around them.

    So are the gradient of a cross-entropy loss, one place in each row, and a step of a cache of
    keys, one row of it. The result is written whole either way.
    """

    name = "scatter-to-select"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for pattern in (OfElements(), OfSlice()):
            PatternRewriteWalker(pattern, apply_recursively=False).rewrite_module(op)


class OfElements(RewritePattern):
    """scatter_elements(x, i, u) → select(iota = i, u, x), for one index along the axis"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ScatterElements, rewriter: PatternRewriter) -> None:
        shape, at = static_shape(op.input), static_shape(op.indices)
        if shape is None or at is None or not shape or op.reduction not in ("none", "add"):
            return
        axis = op.axis % len(shape)
        if at != (*shape[:axis], 1, *shape[axis + 1 :]):
            return
        b = GraphBuilder.before(op)
        with b.at(op.location):
            here = matches(b, op.indices, shape, axis)
            rewriter.replace(op, [], [chosen(b, op, here, op.updates)])


class OfSlice(RewritePattern):
    """scatter_nd(x, [[i]], [u]) → select(iota = i, u, x), along the leading axes"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ScatterND, rewriter: PatternRewriter) -> None:
        shape, at = static_shape(op.input), static_shape(op.indices)
        if shape is None or at is None or op.reduction not in ("none", "add"):
            return
        depth = at[-1]
        if math.prod(at[:-1]) != 1 or depth == 0:
            return
        b = GraphBuilder.before(op)
        with b.at(op.location):
            tuple_ = b.reshape(op.indices, (depth,))
            here: SSAValue | None = None
            for axis in range(depth):
                index = b.reshape(b.slice(tuple_, 0, axis, axis + 1), (1,) * len(shape))
                along = matches(b, index, shape, axis)
                here = along if here is None else b.emit(And, here, along)
            assert here is not None
            updates = b.reshape(op.updates, (1,) * depth + shape[depth:])
            rewriter.replace(op, [], [chosen(b, op, here, updates)])


def matches(b: GraphBuilder, index: SSAValue, shape: tuple[int, ...], axis: int) -> SSAValue:
    """Where along an axis an index points; a negative one counts from the end."""
    size = shape[axis]
    index = b.cast(index, i64)
    below = b.emit(Lt, index, b.constant(0, i64))
    index = b.emit(Select, below, b.emit(Add, index, b.constant(size, i64)), index)
    line = b.emit(Iota, shape=[size], dtype=i64)
    line = b.reshape(line, [size if i == axis else 1 for i in range(len(shape))])
    return b.emit(Eq, line, index)


def chosen(
    b: GraphBuilder, op: ScatterElements | ScatterND, here: SSAValue, updates: SSAValue
) -> SSAValue:
    """`updates` in the places, or added there; else the operand."""
    taken = updates if op.reduction == "none" else b.emit(Add, op.input, updates)
    result = b.emit(Select, here, taken, op.input)
    result.name_hint = op.result.name_hint
    return result
