"""Folds constant scales and offsets into the weights before them."""

from __future__ import annotations

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import OpResult, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.rewriter import InsertPoint

from aicc.ir.graph import Add, Conv, ConvTranspose, MatMul, Mul
from aicc.ir.graph.folders import constant_of
from aicc.ir.types import rank_of, shape_of
from aicc.passes.dce import eliminate_dead_code
from aicc.passes.weights import derived_constant, scaled_convolution


def _with_constant(op: Mul | Add) -> tuple[SSAValue, np.ndarray] | None:
    """The operand that is computed and the one that is a float constant."""
    for value, other in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
        array = constant_of(other)
        if array is not None and array.dtype.kind == "f" and constant_of(value) is None:
            return value, array
    return None


def _per_channel(array: np.ndarray, rank: int, channels: object) -> np.ndarray | None:
    """A constant that varies along dim 1 only, as one float64 per channel."""
    if not isinstance(channels, int) or array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(d != 1 for i, d in enumerate(shape) if i != 1) or shape[1] not in (1, channels):
        return None
    return np.broadcast_to(array.reshape(-1).astype(np.float64), (channels,))


class ScaleIntoConvolution(RewritePattern):
    """conv(x, W, b) · s → conv(x, W·s, b·s); conv(x, W, b) + s → conv(x, W, b + s)"""

    def match_and_rewrite(self, op, rewriter: PatternRewriter) -> None:  # type: ignore[override]
        if not isinstance(op, (Mul, Add)):
            return
        found = _with_constant(op)
        if found is None:
            return
        value, array = found
        conv = value.owner if isinstance(value, OpResult) else None
        if not isinstance(conv, (Conv, ConvTranspose)) or not conv.result.has_one_use():
            return
        if op.result.type != conv.result.type:
            return
        channels = shape_of(conv.result)[1]
        vector = _per_channel(array, rank_of(conv.result), channels)
        if vector is None:
            return
        if isinstance(op, Mul):
            new = scaled_convolution(conv, vector, None, rewriter)
        else:
            new = scaled_convolution(conv, np.ones_like(vector), vector, rewriter)
        if new is not None:
            rewriter.replace(op, [], [new])


class ScaleIntoMatMul(RewritePattern):
    """(x @ W) · s → x @ (W·s), s a scalar or one factor a column"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Mul, rewriter: PatternRewriter) -> None:
        found = _with_constant(op)
        if found is None:
            return
        value, array = found
        product = value.owner if isinstance(value, OpResult) else None
        if not isinstance(product, MatMul) or not product.result.has_one_use():
            return
        weight = constant_of(product.rhs)
        if weight is None or weight.dtype.kind != "f" or op.result.type != product.result.type:
            return
        columns = weight.shape[-1]
        if array.size != 1 and (array.shape[-1] != columns or array.size != columns):
            return
        new = weight.astype(np.float64) * array.reshape(-1).astype(np.float64)
        w = derived_constant(product.rhs, new.astype(weight.dtype))
        rewriter.insert(w, InsertPoint.before(product))
        out = MatMul.make(
            product.lhs,
            w.result,
            result_types=list(op.result_types),
            location=product.location,
            **product.param_values(),
        )
        rewriter.replace(op, out)


class ScaleFold(ModulePass):
    """Fold multiplications and additions of constants into constant weights.

    Exact up to rounding of the new weights, which are computed in float64.
    """

    name = "scale-fold"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        patterns = GreedyRewritePatternApplier([ScaleIntoConvolution(), ScaleIntoMatMul()])
        PatternRewriteWalker(patterns).rewrite_module(op)
        eliminate_dead_code(op)
