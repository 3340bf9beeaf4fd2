"""Folds inference batch norms into the weights before them."""

from __future__ import annotations

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import OpResult, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from aicc.ir.graph import BatchNorm, Conv, ConvTranspose
from aicc.ir.graph.folders import constant_of
from aicc.passes.dce import eliminate_dead_code
from aicc.passes.weights import scaled_convolution


class FoldIntoConvolution(RewritePattern):
    """batch_norm(conv(x, W, b)) → conv(x, W·f, (b − mean)·f + bias), f = scale/√(variance + ε)"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: BatchNorm, rewriter: PatternRewriter) -> None:
        conv = op.input.owner if isinstance(op.input, OpResult) else None
        if not isinstance(conv, (Conv, ConvTranspose)) or not conv.result.has_one_use():
            return
        arrays = [_wide(v) for v in (op.scale, op.bias, op.mean, op.variance)]
        if any(a is None for a in arrays):
            return
        scale, bias, mean, variance = arrays
        factor = scale / np.sqrt(variance + op.epsilon)  # type: ignore[operator]
        offset = bias - mean * factor  # type: ignore[operator]
        new = scaled_convolution(conv, factor, offset, rewriter)
        if new is not None:
            rewriter.replace(op, [], [new])


def _wide(value: SSAValue) -> np.ndarray | None:
    array = constant_of(value)
    return None if array is None else array.astype(np.float64)


class BatchNormFold(ModulePass):
    """Fold batch norms in inference form into the constant weights of convolutions before them."""

    name = "batch-norm-fold"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        PatternRewriteWalker(FoldIntoConvolution(), apply_recursively=False).rewrite_module(op)
        eliminate_dead_code(op)
