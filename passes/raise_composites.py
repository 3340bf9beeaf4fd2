"""Recognises composites that a model spells out in primitives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

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
from aicc.ir.graph import (
    Add,
    Attention,
    Cast,
    Div,
    Exp,
    Expand,
    IsNaN,
    LayerNorm,
    MatMul,
    Mul,
    ReduceMax,
    ReduceMean,
    ReduceSum,
    Reshape,
    RMSNorm,
    Rsqrt,
    Select,
    Softmax,
    Sqrt,
    Sub,
)
from aicc.ir.graph.folders import constant_of
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type, rank_of, shape_of
from aicc.passes.dce import eliminate_dead_code

T = TypeVar("T", bound=GraphOp)


def made_by(value: SSAValue, cls: type[T]) -> T | None:
    """The op of a class that gives the value, or None."""
    return value.owner if isinstance(value.owner, cls) else None


def scalar_of(value: SSAValue) -> float | None:
    """The number that a constant of one element holds."""
    array = constant_of(value)
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None


def either_way(op: Add | Mul) -> Iterator[tuple[SSAValue, SSAValue]]:
    """The operands of a commutative op in both orders."""
    yield op.lhs, op.rhs
    yield op.rhs, op.lhs


def one_use(*values: SSAValue) -> bool:
    return all(v.has_one_use() for v in values)


def replace(
    rewriter: PatternRewriter,
    op: GraphOp,
    cls: type[GraphOp],
    *operands: SSAValue | None,
    **params: Any,
) -> None:
    """Put the first result of a new op in the place of the op's, if it has the same type."""
    made = GraphBuilder.before(op).build(cls, *operands, **params)
    new = made.results[0]
    if new.type == op.results[0].type:
        new.name_hint = op.results[0].name_hint
        rewriter.replace(op, [], [new])
    else:
        rewriter.erase(made)


class RaiseSoftmax(RewritePattern):
    """exp(x − max(x)) / sum(exp(x − max(x))) → softmax(x), along one axis."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, Div) or (exp := made_by(op.lhs, Exp)) is None:
            return
        total, centered = made_by(op.rhs, ReduceSum), made_by(exp.operands[0], Sub)
        if total is None or centered is None or total.input is not op.lhs:
            return
        largest = made_by(centered.rhs, ReduceMax)
        if largest is None or largest.input is not centered.lhs:
            return
        if len(total.axes) != 1 or total.axes != largest.axes:
            return
        if not (total.keepdims and largest.keepdims):
            return
        x, axis = centered.lhs, total.axes[0]
        replace(rewriter, op, Softmax, x, axis=axis)


@dataclass
class Normalized:
    """x · 1/√(mean(x²) + ε) over the last dims from `axis` on."""

    x: SSAValue
    axis: int
    epsilon: float


def normalized(op: GraphOp) -> Normalized | None:
    """Match x · rsqrt(mean(x·x) + ε) and x / sqrt(mean(x·x) + ε)."""
    if isinstance(op, Mul):
        for x, factor in either_way(op):
            if (root := made_by(factor, Rsqrt)) is not None:
                found = _mean_square(x, root.operands[0])
                if found is not None:
                    return found
    elif isinstance(op, Div) and (root := made_by(op.rhs, Sqrt)) is not None:
        return _mean_square(op.lhs, root.operands[0])
    return None


def _mean_square(x: SSAValue, moved: SSAValue) -> Normalized | None:
    """Match mean(x·x) + ε over the last dims."""
    add = made_by(moved, Add)
    if add is None:
        return None
    for mean, other in either_way(add):
        epsilon, reduced = scalar_of(other), made_by(mean, ReduceMean)
        if epsilon is None or reduced is None or not reduced.keepdims:
            continue
        square, rank = made_by(reduced.input, Mul), rank_of(x)
        axis = rank - len(reduced.axes)
        if square is None or square.lhs is not x or square.rhs is not x:
            continue
        if reduced.axes and sorted(reduced.axes) == list(range(axis, rank)):
            return Normalized(x, axis, epsilon)
    return None


class RaiseRMSNorm(RewritePattern):
    """x · rsqrt(mean(x²) + ε) → rms_norm(x); x may not be centered: that is layer_norm's."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, (Mul, Div)) or (found := normalized(op)) is None:
            return
        if centered_on(found) is not None:
            return
        replace(rewriter, op, RMSNorm, found.x, axis=found.axis, epsilon=found.epsilon)


def centered_on(found: Normalized) -> SSAValue | None:
    """y, where x is y − mean(y) over the normalised dims."""
    sub = made_by(found.x, Sub)
    mean = None if sub is None else made_by(sub.rhs, ReduceMean)
    if sub is None or mean is None or mean.input is not sub.lhs or not mean.keepdims:
        return None
    axes = list(range(found.axis, rank_of(found.x)))
    return sub.lhs if sorted(mean.axes) == axes else None


class RaiseLayerNorm(RewritePattern):
    """(x − mean) · rsqrt(mean((x − mean)²) + ε) → layer_norm(x)"""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, (Mul, Div)) or (found := normalized(op)) is None:
            return
        if (y := centered_on(found)) is None:
            return
        replace(rewriter, op, LayerNorm, y, axis=found.axis, epsilon=found.epsilon)


class AbsorbScale(RewritePattern):
    """rms_norm(x) · s → rms_norm(x, s), layer_norm(x) · s → layer_norm(x, s) for s over the dims"""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, Mul):
            return
        for value, scale in either_way(op):
            norm = value.owner
            if not isinstance(norm, (RMSNorm, LayerNorm)) or value is not norm.results[0]:
                continue
            if norm.scale is not None or not one_use(value) or not _fits(norm, scale):
                continue
            if isinstance(norm, LayerNorm) and norm.bias is not None:
                continue
            given = (norm.input, scale)
            replace(rewriter, op, type(norm), *given, axis=norm.axis, epsilon=norm.epsilon)
            return


class AbsorbCasts(RewritePattern):
    """cast(rms_norm(cast(x))) · s → rms_norm(x, s) for 16-bit x and s, likewise layer_norm

    Both compute in f32; the composite rounds once instead of twice.
    """

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, Mul):
            return
        for value, scale in either_way(op):
            narrow = made_by(value, Cast)
            norm = narrow.input.owner if narrow is not None else None
            if not isinstance(norm, (RMSNorm, LayerNorm)) or norm.scale is not None:
                continue
            wide = made_by(norm.input, Cast)
            if wide is None or not one_use(value, norm.results[0]):
                continue
            dtypes = {element_type(v) for v in (wide.input, value, scale)}
            if len(dtypes) > 1 or not element_type(value).is_low_precision_float:
                continue
            if shape_of(scale) != shape_of(norm.input)[norm.axis :]:
                continue
            given = (wide.input, scale)
            replace(rewriter, op, type(norm), *given, axis=norm.axis, epsilon=norm.epsilon)
            return


class AbsorbBias(RewritePattern):
    """layer_norm(x, s) + b → layer_norm(x, s, b) for b over the normalised dims"""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, Add):
            return
        for value, bias in either_way(op):
            norm = made_by(value, LayerNorm)
            if norm is None or value is not norm.result or norm.bias is not None:
                continue
            if norm.scale is None or not one_use(value) or not _fits(norm, bias):
                continue
            given = (norm.input, norm.scale, bias)
            replace(rewriter, op, LayerNorm, *given, axis=norm.axis, epsilon=norm.epsilon)
            return


def _fits(norm: RMSNorm | LayerNorm, value: SSAValue) -> bool:
    same = element_type(value) == element_type(norm.input)
    return same and shape_of(value) == shape_of(norm.input)[norm.axis :]


class RaiseAttention(RewritePattern):
    """softmax(q kᵀ · c + mask) v → attention(q, k, v, mask), for heads of the same number.

    The scale may stand on the scores or on q or k. Rows that are hidden wholly give 0 in the
    composite and NaN when spelled out: without a select that makes such NaNs 0, a mask must be
    constant and leave each row a key. With the select, NaNs that come from q, k or v stay NaN.
    """

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, MatMul) or rank_of(op.result) != 4:
            return
        weights, guarded = _unguarded(op.lhs)
        softmax = made_by(weights, Softmax)
        if softmax is None or softmax.axis != 3 or not (guarded or one_use(weights)):
            return
        scores, mask = softmax.input, None
        if not one_use(scores):
            return
        if (add := made_by(scores, Add)) is not None:
            inner = next((p for p in either_way(add) if made_by(_peel(p[0])[0], MatMul)), None)
            if inner is None or not one_use(inner[0]):
                return
            scores, mask = inner
        scores, scale = _peel(scores)
        product = made_by(scores, MatMul)
        if product is None or not one_use(scores) or not (guarded or _leaves_a_key(mask)):
            return
        (q, q_scale), (k, k_scale) = _peel(product.lhs), _peel(product.rhs)
        heads = {shape_of(v)[:2] for v in (q, k, op.rhs)}
        if any(rank_of(v) != 4 for v in (q, k, op.rhs)) or len(heads) != 1:
            return
        if mask is not None and rank_of(mask) > 4:
            return
        key = GraphBuilder.before(op).transpose(k, [0, 1, 3, 2])
        replace(rewriter, op, Attention, q, key, op.rhs, mask, scale=scale * q_scale * k_scale)


class RaiseGroupedQuery(RewritePattern):
    """attention(q, repeat(k), repeat(v)) → attention(q, k, v), heads repeated side by side"""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, Attention):
            return
        key, value = _repeated(op.key), _repeated(op.value)
        if key is None or value is None or shape_of(key)[1] != shape_of(value)[1]:
            return
        replace(rewriter, op, Attention, op.query, key, value, op.mask, **op.param_values())


def _repeated(value: SSAValue) -> SSAValue | None:
    """The source [B, G, T, D] of [B, G·R, T, D], in which each head stands R times in a row."""
    merged = made_by(value, Reshape)
    expanded = made_by(merged.input, Expand) if merged is not None else None
    opened = made_by(expanded.input, Reshape) if expanded is not None else None
    if merged is None or expanded is None or opened is None or rank_of(opened.input) != 4:
        return None
    b, g, t, d = shape_of(opened.input)
    wide = shape_of(expanded.result)
    if shape_of(opened.result) != (b, g, 1, t, d) or len(wide) != 5 or None in (b, g, t, d):
        return None
    if (*wide[:2], *wide[3:]) != (b, g, t, d) or not isinstance(wide[2], int):
        return None
    assert g is not None
    return opened.input if shape_of(value) == (b, g * wide[2], t, d) else None


def _unguarded(value: SSAValue) -> tuple[SSAValue, bool]:
    """What select(isnan(x), 0, x) guards, and whether it is such a select."""
    select = made_by(value, Select)
    if select is None or not one_use(value):
        return value, False
    test, zero, x = select.operands
    found = made_by(test, IsNaN)
    if found is None or found.operands[0] is not x or scalar_of(zero) != 0:
        return value, False
    return x, True


def _peel(value: SSAValue) -> tuple[SSAValue, float]:
    """The value before a multiplication by or division through a number, and the factor."""
    op = value.owner
    if isinstance(op, Mul):
        for x, other in either_way(op):
            if (c := scalar_of(other)) is not None and shape_of(x) == shape_of(value):
                return x, c
    if isinstance(op, Div) and (c := scalar_of(op.rhs)) and shape_of(op.lhs) == shape_of(value):
        return op.lhs, 1 / c
    return value, 1.0


def _leaves_a_key(mask: SSAValue | None) -> bool:
    if mask is None:
        return True
    array = constant_of(mask)
    if array is None or array.ndim == 0:
        return False
    return bool((np.asarray(array, np.float64).max(-1) > -np.inf).all())


class RaiseComposites(ModulePass):
    """Replace softmax, rms_norm, layer_norm and attention in primitives by their ops.

    What a model spells out would otherwise be several kernels, or a worse one.
    """

    name = "raise-composites"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        patterns: list[RewritePattern] = [
            RaiseSoftmax(),
            RaiseRMSNorm(),
            RaiseLayerNorm(),
            AbsorbScale(),
            AbsorbCasts(),
            AbsorbBias(),
            RaiseAttention(),
            RaiseGroupedQuery(),
        ]
        PatternRewriteWalker(GreedyRewritePatternApplier(patterns)).rewrite_module(op)
        eliminate_dead_code(op)
