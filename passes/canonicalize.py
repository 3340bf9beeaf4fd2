"""Folds and small rewrites that always help, until none applies."""

from __future__ import annotations

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import GreedyRewritePatternApplier, PatternRewriteWalker

from aicc.ir.graph.patterns import PATTERNS
from aicc.passes.dce import eliminate_dead_code


class Canonicalize(ModulePass):
    """Apply the ops' folders and the dialect's canonicalization patterns to a fixpoint."""

    name = "canonicalize"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        patterns = GreedyRewritePatternApplier(list(PATTERNS), ctx=ctx, folding_enabled=True)
        PatternRewriteWalker(patterns).rewrite_module(op)
        eliminate_dead_code(op)
