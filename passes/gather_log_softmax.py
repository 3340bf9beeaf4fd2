"""Takes the few elements that a cross-entropy loss needs of a log-softmax before computing it."""

from __future__ import annotations

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, f32
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from aicc.ir.builder import GraphBuilder
from aicc.ir.graph import Exp, GatherElements, Log, LogSoftmax, ReduceMax, ReduceSum, Sub
from aicc.ir.types import element_type, rank_of


class GatherFirst(RewritePattern):
    """gather(log_softmax(x), i) → gather(x, i) − max x − log Σ e^(x − max x), along one axis"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: GatherElements, rewriter: PatternRewriter) -> None:
        source = op.input.owner
        if not isinstance(source, LogSoftmax) or not source.result.has_one_use():
            return
        axis = op.axis % rank_of(op.input)
        if source.axis % rank_of(op.input) != axis or element_type(op.input).ir != f32:
            return
        x = source.input
        b = GraphBuilder.before(op)
        with b.at(source.location):
            most = b.emit(ReduceMax, x, axes=[axis], keepdims=True)
            shifted = b.emit(Exp, b.emit(Sub, x, most))
            total = b.emit(ReduceSum, shifted, axes=[axis], keepdims=True)
            log = b.emit(Log, total)
        with b.at(op.location):
            picked = b.emit(GatherElements, x, op.indices, axis=axis)
            result = b.emit(Sub, b.emit(Sub, picked, most), log)
        result.name_hint = op.result.name_hint
        rewriter.replace(op, [], [result])
        rewriter.erase(source)


class GatherLogSoftmax(ModulePass):
    """Gather from the operand of a log-softmax that nothing else needs: it is never in memory."""

    name = "gather-log-softmax"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        PatternRewriteWalker(GatherFirst(), apply_recursively=False).rewrite_module(op)
