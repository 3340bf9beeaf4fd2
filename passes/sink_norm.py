"""Moves a norm from a product's operand to its result, so that both can be one kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
)

from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import f32
from aicc.ir.graph import (
    Add,
    LayerNorm,
    MatMul,
    Max,
    Mul,
    ReduceMean,
    Reshape,
    RMSNorm,
    Rsqrt,
    Sub,
)
from aicc.ir.graph.folders import constant_of
from aicc.ir.types import element_type, rank_of, shape_of
from aicc.passes.dce import eliminate_dead_code
from aicc.passes.matrices import Matrix, across, column_sums, matrix_of, scaled
from aicc.passes.weights import derived_constant

WIDE_ENOUGH = ("f32", "f64", "bf16")
"""Dtypes in which a product of numbers that aren't normalised yet doesn't overflow."""


@dataclass
class Normed:
    """Products of one norm of rows: `x` is what it normalises, in the shape that they read."""

    norm: LayerNorm | RMSNorm
    x: SSAValue
    products: list[MatMul]
    weights: list[Matrix]
    scale: np.ndarray
    bias: np.ndarray | None


def normed(norm: LayerNorm | RMSNorm) -> Normed | None:
    """What is to be rewritten, or None where something else reads the norm too."""
    rank, columns = rank_of(norm.input), shape_of(norm.input)[-1]
    scale = constant_of(norm.scale)
    if norm.axis != rank - 1 or scale is None or scale.size != columns:
        return None
    bias = constant_of(getattr(norm, "bias", None))
    if getattr(norm, "bias", None) is not None and (bias is None or bias.size != columns):
        return None
    if element_type(norm.input).name not in WIDE_ENOUGH:
        return None
    if any(r.first_use is not None for r in norm.results[1:]):
        return None
    source = norm.results[0]
    b = GraphBuilder.before(norm)
    x = norm.input
    readers = {u.operation for u in source.uses}
    if len(readers) == 1 and isinstance(view := readers.pop(), Reshape):
        shape = view.shape
        if shape is None or len(shape) < 2 or shape[-1] != columns or not b.is_bound(shape):
            return None
        source, x = view.result, b.reshape(x, shape)
    products = [u.operation for u in source.uses]
    weights = [matrix_of(p.rhs) if isinstance(p, MatMul) else None for p in products]
    if not products or any(w is None or len(w.shape) != 2 for w in weights):
        return None
    return Normed(norm, x, products, weights, scale, bias)  # type: ignore[arg-type]


class SinkNorm(RewritePattern):
    """rms_norm(x)·s @ W → (x @ (s·W)) · rsqrt(mean(x²) + ε)

    layer_norm(x)·s + b @ W → (x @ (s·W) − μ·Σ(s·W)) · rsqrt(var(x) + ε) + b @ W, sums over rows of
    W. Mean and variance are those of x − x₀, the row's first element: then the difference of
    mean squares loses at most a factor of the row's length in precision, since |x₀ − μ| is at most
    √K standard deviations.
    """

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, (LayerNorm, RMSNorm)):
            return
        found = normed(op)
        if found is None:
            return
        for product, weight in zip(found.products, found.weights, strict=True):
            new = rewritten(found, product, weight)
            new.name_hint = product.result.name_hint
            rewriter.replace(product, [], [new])


def rewritten(found: Normed, product: MatMul, weight: Matrix) -> SSAValue:
    b = GraphBuilder.before(product)
    dtype = element_type(product.result)
    kept = f32 if dtype.is_low_precision_float else dtype
    new = scaled(weight, found.scale)
    made = derived_constant(product.rhs, new, "scaled", [found.scale])
    made.result.name_hint = product.rhs.name_hint
    block = product.parent
    assert block is not None
    block.insert_op_before(made, product)
    out = b.cast(b.emit(MatMul, found.x, made.result), kept)
    x = b.cast(found.x, kept)
    axis = rank_of(x) - 1
    epsilon = b.scalar_like(found.norm.epsilon, x)

    def mean(value: SSAValue) -> SSAValue:
        return b.emit(ReduceMean, value, axes=(axis,), keepdims=True)

    if isinstance(found.norm, RMSNorm):
        rstd = b.emit(Rsqrt, b.emit(Add, mean(b.emit(Mul, x, x)), epsilon))
        return b.cast(b.emit(Mul, out, rstd), dtype)
    first = b.slice(x, axis, 0, 1)
    shifted = b.emit(Sub, x, first)
    offset = mean(shifted)
    variance = b.emit(Sub, mean(b.emit(Mul, shifted, shifted)), b.emit(Mul, offset, offset))
    variance = b.emit(Max, variance, b.scalar_like(0.0, x))
    rstd = b.emit(Rsqrt, b.emit(Add, variance, epsilon))
    sums = b.constant(column_sums(new), kept)
    centered = b.emit(Sub, out, b.emit(Mul, b.emit(Add, first, offset), sums))
    out = b.emit(Mul, centered, rstd)
    if found.bias is not None:
        width = np.result_type(weight.dtype, np.float32)
        bias = found.bias.reshape(-1).astype(width)
        added = across(weight, lambda part: bias @ part.astype(width, copy=False))
        out = b.emit(Add, out, b.constant(added, kept))
    return b.cast(out, dtype)


class SinkNorms(ModulePass):
    """Move layer_norm and rms_norm behind the products of constant weights that read them.

    The norm's scale goes into the weight, what is left are one or two numbers a row, which can be
    computed as the product reads the row. Left alone where something else needs the norm's result.
    """

    name = "sink-norm"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        applier = GreedyRewritePatternApplier([SinkNorm()])
        PatternRewriteWalker(applier, apply_recursively=False).rewrite_module(op)
        eliminate_dead_code(op)
