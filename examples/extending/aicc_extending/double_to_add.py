"""A pass: x * 2 becomes x + x, which is exact and costs no constant."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from aicc.ir.graph import Add, Mul
from aicc.ir.graph.folders import constant_of


class Double(RewritePattern):
    """mul(x, 2) → add(x, x), where the constant has one element"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Mul, rewriter: PatternRewriter) -> None:
        factor = constant_of(op.rhs)
        if (
            factor is not None
            and factor.size == 1
            and factor == 2
            and op.lhs.type == op.result.type
        ):
            rewriter.replace(op, Add.make(op.lhs, op.lhs, location=op.location))


@dataclass(frozen=True)
class DoubleToAdd(ModulePass):
    """Replace products with 2 by sums."""

    name = "double-to-add"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        PatternRewriteWalker(Double()).rewrite_module(op)
