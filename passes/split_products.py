"""Splits products with few results along what they sum over: partial results, then their sum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from aicc.ir.builder import GraphBuilder
from aicc.ir.chips import Chip, chip_of
from aicc.ir.dtypes import DType, f32
from aicc.ir.graph import (
    Attention,
    AttentionWithLse,
    Div,
    Eq,
    Exp,
    MatMul,
    Mul,
    ReduceMax,
    ReduceSum,
    Select,
    Sub,
)
from aicc.ir.interfaces import CompileContext
from aicc.ir.types import element_type, shape_of, static_shape

TILE = 64
"""Rows, columns and queries that one program works on."""

STEP = 16
"""Parts are of a multiple of so many elements: rows of them start where wide loads may."""

LAUNCH = 2e-6
"""Seconds that the second kernel takes to start."""

WORTH = 0.75
"""The part of the time that is left where splitting pays: less is within the model's error."""


@dataclass(frozen=True)
class SplitProducts(ModulePass):
    """Have products and attention with few results run as more programs, each over a part.

    A kernel has a program for each tile of the result, so that one token by a matrix, or one query
    over a long cache, keep few cores busy (split-K products; flash decoding, Dao et al. 2023). For
    the context's first chip the time that a program takes to read and to multiply tells whether and
    into how many parts, of `least` elements or more; with `parts` into so many wherever they fit.
    Partial sums are f32, partial results of attention have its dtype; both change in their last
    bits.
    """

    name = "split-products"
    parts: int = 0
    least: int = 256

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        chips = ctx.chips if isinstance(ctx, CompileContext) else ()
        if not self.parts and not chips:
            return
        split = Splitting(self.parts, self.least, chip_of(chips[0]) if chips else None)
        patterns = GreedyRewritePatternApplier([SplitMatMul(split), SplitAttention(split)])
        PatternRewriteWalker(patterns, apply_recursively=False).rewrite_module(op)


@dataclass(frozen=True)
class Work:
    """Bytes that a program reads, what it computes, and the bytes of all results of one part."""

    read: float
    flops: float
    partial: float


@dataclass(frozen=True)
class Splitting:
    """When to split, and into how many parts."""

    parts: int = 2
    least: int = 16
    chip: Chip | None = None

    def count(self, length: int, dtype: DType, programs: int, work: Work) -> int:
        """Into how many parts the sums over `length` go, 1 for none: the best divisor of it."""
        fitting = [
            d
            for d in range(2, length // self.least + 1)
            if length % d == 0 and (length // d) % STEP == 0
        ]
        if self.parts:
            return self.parts if self.parts in fitting else 1
        assert self.chip is not None
        chip = self.chip
        read = work.read / (chip.cache * chip.clock / chip.cores)
        alone = max(read, work.flops / (chip.dot_rate(dtype.name) * chip.clock))

        def seconds(parts: int) -> float:
            waves = -(-programs * parts // chip.cores)
            again = LAUNCH + 2 * parts * work.partial / chip.memory if parts > 1 else 0.0
            return max(waves * alone / parts, programs * work.read / chip.memory) + again

        best = min([1, *fitting], key=lambda d: (seconds(d), d))
        return best if seconds(best) <= WORTH * seconds(1) else 1


@dataclass
class SplitMatMul(RewritePattern):
    """x[M, K] w[K, N] → Σ_p x[p, M, K/p] w[p, K/p, N], for rows that fit one tile

    Of more rows the partial sums would be many beside the operands.
    """

    split: Splitting = Splitting()

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MatMul, rewriter: PatternRewriter) -> None:
        a, b, shape = (static_shape(v) for v in (op.lhs, op.rhs, op.result))
        dtype = element_type(op.lhs)
        if a is None or b is None or shape is None or 0 in (*shape, a[-1]):
            return
        *batch, m, n = shape
        if m > TILE and not self.split.parts:
            return
        k = a[-1]
        tiles = math.prod(batch) * -(-m // TILE) * -(-n // TILE)
        rows, columns = min(m, TILE), min(n, TILE)
        read = (rows + columns) * k * dtype.bits / 8
        work = Work(read, 2.0 * rows * columns * k, 4.0 * math.prod(shape))
        parts = self.split.count(k, dtype, tiles, work)
        if parts == 1:
            return
        builder = GraphBuilder.before(op)
        with builder.at(op.location):
            partial = builder.emit(
                MatMul,
                _apart(builder, op.lhs, len(a) - 1, parts, len(a) - 2),
                _apart(builder, op.rhs, len(b) - 2, parts, len(b) - 2),
                out_dtype=f32 if dtype.is_low_precision_float else op.out_dtype,
            )
            partial.name_hint = f"partial_{op.result.name_hint or 'product'}"
            total = builder.emit(ReduceSum, partial, axes=[len(shape) - 2])
            result = builder.cast(total, element_type(op.result))
        result.name_hint = op.result.name_hint
        rewriter.replace(op, [], [result])


@dataclass
class SplitAttention(RewritePattern):
    """softmax(q kᵀ) v → parts of the keys, each result weighed by e^(its log-sum-exp)"""

    split: Splitting = Splitting()

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Attention, rewriter: PatternRewriter) -> None:
        q, k, v = (static_shape(x) for x in (op.query, op.key, op.value))
        if q is None or k is None or v is None or 0 in (*q, *k, *v):
            return
        batch, heads, queries, _ = q
        last = op.causal == "lower_right" and queries == 1
        if (op.causal != "none" and not last) or op.window:
            return
        keys, dtype = k[2], element_type(op.key)
        mask = None if op.mask is None else static_shape(op.mask)
        if op.mask is not None and (mask is None or len(mask) != 4):
            return
        programs = batch * heads * -(-queries // TILE)
        width = k[3] + v[3]
        read = keys * width * dtype.bits / 8
        flops = 2.0 * min(queries, TILE) * keys * width
        out = 4.0 * batch * heads * queries * (v[3] + 1)
        parts = self.split.count(keys, dtype, programs, Work(read, flops, out))
        if parts == 1:
            return
        b = GraphBuilder.before(op)
        with b.at(op.location):
            rewriter.replace(op, [], [_in_parts(b, op, parts)])


def _in_parts(b: GraphBuilder, op: Attention, parts: int) -> SSAValue:
    dtype = element_type(op.query)
    q = _repeated(b, op.query, parts)
    k, v = (_batched(b, x, 2, parts) for x in (op.key, op.value))
    mask = None if op.mask is None else _mask(b, op.mask, shape_of(op.query)[0], parts)
    params: dict[str, Any] = {**op.param_values(), "causal": "none"}
    both = b.build(AttentionWithLse, q, k, v, mask, **params)
    batch, heads, queries, width = (*shape_of(op.query)[:3], shape_of(op.value)[3])
    out = b.reshape(both.results[0], [batch, parts, heads, queries, width])
    lse = b.reshape(both.results[1], [batch, parts, heads, queries, 1])
    lse = b.expand(lse, shape_of(out))  # one kernel for all that follows, over one space
    # weights of the parts relative to the largest; where all keys are hidden, they are 0
    top = b.emit(ReduceMax, lse, axes=[1], keepdims=True)
    low = b.scalar_like(-math.inf, top)
    top = b.emit(Select, b.emit(Eq, top, low), b.scalar_like(0, top), top)
    weight = b.emit(Exp, b.emit(Sub, lse, top))
    total = b.emit(ReduceSum, weight, axes=[1])
    zero = b.scalar_like(0, total)
    divisor = b.emit(Select, b.emit(Eq, total, zero), b.scalar_like(1, total), total)
    wide = b.cast(out, element_type(lse))
    result = b.emit(ReduceSum, b.emit(Mul, wide, weight), axes=[1])
    result = b.cast(b.emit(Div, result, divisor), dtype)
    result.name_hint = op.result.name_hint
    return result


def _mask(b: GraphBuilder, mask: SSAValue, batch: Any, parts: int) -> SSAValue:
    """[B or 1, …, T or 1] for the parts of all batches."""
    first, *_, keys = shape_of(mask)
    if keys == 1:
        return mask if first == 1 else _repeated(b, mask, parts)
    mask = _batched(b, mask, 3, parts)
    if first == batch:
        return mask
    whole = b.expand(b.unsqueeze(mask, [0]), [batch, *shape_of(mask)])
    return b.reshape(whole, [batch * parts, *shape_of(mask)[1:]])


def _apart(b: GraphBuilder, x: SSAValue, axis: int, parts: int, place: int) -> SSAValue:
    """x with `axis` in parts: [parts] stands at `place`, what is left of the axis where it was."""
    shape = list(shape_of(x))
    split = [*shape[:axis], parts, shape[axis] // parts, *shape[axis + 1 :]]  # type: ignore[operator]
    order = [i for i in range(len(split)) if i != axis]
    order.insert(place, axis)
    return b.transpose(b.reshape(x, split), order)


def _batched(b: GraphBuilder, x: SSAValue, axis: int, parts: int) -> SSAValue:
    """x[B, …, T, …] as [B·parts, …, T/parts, …]."""
    apart = _apart(b, x, axis, parts, 1)
    shape = shape_of(apart)
    return b.reshape(apart, [shape[0] * shape[1], *shape[2:]])  # type: ignore[operator]


def _repeated(b: GraphBuilder, x: SSAValue, parts: int) -> SSAValue:
    """x[B, …] for all parts: [B·parts, …]."""
    shape = shape_of(x)
    wide = b.expand(b.unsqueeze(x, [1]), [shape[0], parts, *shape[1:]])
    return b.reshape(wide, [shape[0] * parts, *shape[1:]])  # type: ignore[operator]
