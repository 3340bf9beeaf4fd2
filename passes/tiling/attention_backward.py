"""Kernels around attention's gradients: weights are computed once more, a tile at a time.

With p = e^(score − lse) and, from Σ grad · result over a row's features, delta, the gradient by the
scores is s = p · (grad vᵀ − delta). Those by queries are scale · s k, for which a program has
`BLOCK_M` queries and walks over the keys; those by keys and values are scale · sᵀ q and pᵀ grad,
for which it has `BLOCK_T` keys and walks over the queries (Dao et al. 2022, appendix B).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xdsl.ir import Block, SSAValue

from aicc.ir import graph, tile
from aicc.ir.dtypes import f32 as float32
from aicc.ir.graph import Fused
from aicc.ir.graph.attention import AttentionBackward
from aicc.ir.symbols import Dim, ceildiv, sym
from aicc.ir.types import shape_of
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.attention import (
    BLOCK_M,
    BLOCK_T,
    HEAD,
    IMAGE,
    LOG2_E,
    M,
    ScoresKernel,
    T,
)
from aicc.passes.tiling.emitter import AxisVar, Emitter
from aicc.passes.tiling.spaces import add_buffers, finished, known_shape, output_of

D_ROW, D_COLUMN, E_ROW, E_COLUMN, M_ROW, T_ROW = (
    n.axis_name(a) for a in ("d", "dc", "e", "ec", "mr", "tr")
)
"""Features of queries and keys, and of values: as rows of a tile and as its columns. What a loop
walks over lies along columns of scores and along rows of what they are multiplied by."""


def lower_attention_backward(op: Fused, attention: AttentionBackward) -> tuple[Block, dict]:
    """The body of a kernel for `op`, which is built around `attention`, and its parameters."""
    if isinstance(attention, graph.AttentionBackwardQuery):
        return _ByQuery(op, attention).build()
    return _ByKeyValue(op, attention).build()


class _Backward(ScoresKernel):
    attention: AttentionBackward
    rows: str
    """The axis that a program has a block of; along the other one it walks."""

    def __init__(self, op: Fused, attention: AttentionBackward):
        super().__init__(op, attention)
        if self.heads != self.groups:
            raise n.Unsupported("gradients of attention over groups of heads")
        d, e = self.depth, self.width
        self.tracer = n.Tracer(
            {
                **{IMAGE: self.batch, HEAD: self.heads},
                **{M: self.queries, M_ROW: self.queries, T: self.keys, T_ROW: self.keys},
                **{D_ROW: d, D_COLUMN: d, E_ROW: e, E_COLUMN: e},
            }
        )
        self.trace_mask(self.tracer)
        at = sym(IMAGE), sym(HEAD), sym(M)
        self.lse = self.tracer.value(attention.lse, at)
        self.delta = self.tracer.value(attention.delta, at)

    def matrix(self, value: SSAValue, row: str, column: str) -> n.Node:
        """Elements of a value ``[B, H, row, column]``."""
        return self.tracer.value(value, (sym(IMAGE), sym(HEAD), sym(row), sym(column)))

    def outputs_of(self, made: Mapping[SSAValue, tuple[str, str]]) -> None:
        """Have the tracer know what the kernel sums, by its rows and columns."""
        self.given: list[n.Given] = []
        for value, (row, column) in made.items():
            self.given.append(n.Given(self.dtype, frozenset((IMAGE, HEAD, row, column))))
            self.tracer.given[value] = self.given[-1]
        self.outputs = []
        for v in self.op.yielded().inputs:
            sources = [s for s in made if v is s] or [s for s in made if reads(v, s)]
            if len(sources) != 1:
                raise n.Unsupported("a result that is made of two gradients")
            axes = [IMAGE, HEAD, *made[sources[0]]]
            shape = known_shape(shape_of(sources[0]))
            self.outputs.append(output_of(self.tracer, v, shape, [sym(a) for a in axes], axes))

    def begin(self, extent: Dim, block: Dim) -> SSAValue:
        """Open the kernel; the index of the program's first row."""
        self.schedule = self.blocks(*self.tile_sizes())
        e = self.e = Emitter(2, self.schedule, self.tracer, {})
        self.buffers = add_buffers(e, self.op)
        e.add_axis(AxisVar(IMAGE, self.batch), e.program(0))
        e.add_axis(AxisVar(HEAD, self.heads), e.program(1))
        first = e.binary("arith.muli", e.program(2), e.size(block))
        zero = e.size(0)
        e.add_axis(AxisVar(self.rows, extent, block, 0), first)
        for name, size, full in (
            (D_ROW, self.depth, self.features),
            (D_COLUMN, self.depth, self.features),
            (E_ROW, self.width, self.columns),
            (E_COLUMN, self.width, self.columns),
        ):
            e.add_axis(AxisVar(name, size, full, int(name in (D_COLUMN, E_COLUMN))), zero)
        return first

    def tile_sizes(self) -> tuple[int, int]:
        return (64, 64) if self.dtype.bits <= 16 and self.features <= 64 else (32, 32)

    def per_query(self, node: n.Node) -> SSAValue:
        """A number of each query, zero beyond the last."""
        dim = self.e.axes[M].dim
        shape = [BLOCK_M if dim == i else 1 for i in range(2)]
        return self.e.factor(node, M, float32, shape)

    def weights(self, products: SSAValue) -> SSAValue:
        """p from q kᵀ or its transpose."""
        e = self.e
        lse = self.per_query(self.lse)
        hidden = e.scalars.compare("oeq", lse, e.scalars.full(-float("inf"), lse))
        base = e.scalars.select(hidden, e.scalars.full(0.0, lse), lse)
        base = self.scaled(base, LOG2_E)
        return e.scalars.op("math.exp2", e.binary("arith.subf", self.scores(products), base))

    def by_scores(self, weights: SSAValue, products: SSAValue) -> SSAValue:
        """s from p and grad vᵀ, or their transposes."""
        e = self.e
        inner = e.binary("arith.subf", products, self.per_query(self.delta))
        return e.scalars.op("arith.mulf", weights, inner)

    def store(self, sums: Sequence[SSAValue], grid: Dim) -> tuple[Block, dict]:
        e = self.e
        for node, value in zip(self.given, sums, strict=True):
            e.remember(node, value)
        for o, buffer in zip(self.outputs, self.buffers, strict=True):
            e.store(o.node, buffer, o.offset, o.axes)
        return finished(e, self.op, [self.batch, self.heads, grid])


class _ByQuery(_Backward):
    rows = M

    def build(self) -> tuple[Block, dict]:
        a = self.attention
        query, grad = self.matrix(a.query, M, D_COLUMN), self.matrix(a.grad, M, E_COLUMN)
        key, value = self.matrix(a.key, T, D_ROW), self.matrix(a.value, T, E_ROW)
        key_rows = self.matrix(a.key, T_ROW, D_COLUMN)
        self.outputs_of({a.results[0]: (M, D_COLUMN)})
        first = self.begin(self.queries, BLOCK_M)
        e, dtype = self.e, self.dtype
        q = e.factor(query, D_COLUMN, dtype, [BLOCK_M, self.features])
        g = e.factor(grad, E_COLUMN, dtype, [BLOCK_M, self.columns])
        start = self.full(0.0, [BLOCK_M, self.features])
        index, acc = e.begin_loop(
            BLOCK_T, self.last_key(first), [start], self.first_key(first)
        ).args
        e.add_axis(AxisVar(T, self.keys, BLOCK_T, 1), index)
        e.add_axis(AxisVar(T_ROW, self.keys, BLOCK_T, 0), index)
        k = e.factor(key, D_ROW, dtype, [self.features, BLOCK_T])
        v = e.factor(value, E_ROW, dtype, [self.columns, BLOCK_T])
        weights = self.weights(self.product(q, k))
        by_scores = self.by_scores(weights, self.product(g, v))
        rows = e.factor(key_rows, T_ROW, dtype, [BLOCK_T, self.features])
        new = e.insert(tile.Dot.make(self.narrow(by_scores), rows, acc))
        named = {index: "start", acc: "acc", weights: "weights", by_scores: "by_scores"}
        for x, name in named.items():
            x.name_hint = name
        (total,) = e.end_loop([new])
        total.name_hint = "acc"
        return self.store([self.scaled(total, a.scale)], ceildiv(self.queries, BLOCK_M))


class _ByKeyValue(_Backward):
    rows = T

    def build(self) -> tuple[Block, dict]:
        a = self.attention
        key, value = self.matrix(a.key, T, D_COLUMN), self.matrix(a.value, T, E_COLUMN)
        query, grad = self.matrix(a.query, M, D_ROW), self.matrix(a.grad, M, E_ROW)
        query_rows = self.matrix(a.query, M_ROW, D_COLUMN)
        grad_rows = self.matrix(a.grad, M_ROW, E_COLUMN)
        self.outputs_of({a.results[0]: (T, D_COLUMN), a.results[1]: (T, E_COLUMN)})
        first = self.begin(self.keys, BLOCK_T)
        e, dtype = self.e, self.dtype
        k = e.factor(key, D_COLUMN, dtype, [BLOCK_T, self.features])
        v = e.factor(value, E_COLUMN, dtype, [BLOCK_T, self.columns])
        starts = [self.full(0.0, [BLOCK_T, d]) for d in (self.features, self.columns)]
        ends = self.last_query(first), starts, self.first_query(first)
        block = e.begin_loop(BLOCK_M, *ends)
        index, by_key, by_value = block.args
        e.add_axis(AxisVar(M, self.queries, BLOCK_M, 1), index)
        e.add_axis(AxisVar(M_ROW, self.queries, BLOCK_M, 0), index)
        q = e.factor(query, D_ROW, dtype, [self.features, BLOCK_M])
        g = e.factor(grad, E_ROW, dtype, [self.columns, BLOCK_M])
        weights = self.weights(self.product(k, q))
        by_scores = self.by_scores(weights, self.product(v, g))
        q_rows = e.factor(query_rows, M_ROW, dtype, [BLOCK_M, self.features])
        g_rows = e.factor(grad_rows, M_ROW, dtype, [BLOCK_M, self.columns])
        new = [
            e.insert(tile.Dot.make(self.narrow(by_scores), q_rows, by_key)),
            e.insert(tile.Dot.make(self.narrow(weights), g_rows, by_value)),
        ]
        named = {index: "start", by_key: "by_key", by_value: "by_value"}
        for x, name in {**named, weights: "weights", by_scores: "by_scores"}.items():
            x.name_hint = name
        by_key, by_value = e.end_loop(new)
        by_key.name_hint, by_value.name_hint = "by_key", "by_value"
        return self.store([self.scaled(by_key, a.scale), by_value], ceildiv(self.keys, BLOCK_T))

    def kept(self) -> SSAValue | None:
        """Which queries look at a key: none beyond the last, as they are summed over."""
        inside = self.e.axes[M].inside
        parts = [inside] if inside is not None else []
        if (kept := super().kept()) is not None:
            parts.append(kept)
        return self.e.all_of(parts)

    def first_query(self, first: SSAValue) -> SSAValue | None:
        """Where the loop over queries begins: for causal attention at the first that looks back."""
        if self.attention.causal == "none":
            return None
        e = self.e
        behind = e.binary("arith.subi", first, e.size(self.ahead()))
        return self.block_of(behind, BLOCK_M)

    def last_query(self, first: SSAValue) -> Dim | SSAValue:
        """Where it ends: with a window, after the last that sees the last key."""
        if not self.attention.window:
            return self.queries
        e = self.e
        end = e.size(BLOCK_T + self.attention.window - 1 - self.ahead())
        return e.binary("arith.minsi", e.binary("arith.addi", first, end), e.size(self.queries))


def reads(value: SSAValue, source: SSAValue) -> bool:
    """Whether a value is computed from another."""
    pending, seen = [value], set()
    while pending:
        v = pending.pop()
        if v is source:
            return True
        if v not in seen:
            seen.add(v)
            pending += getattr(v.owner, "operands", ())
    return False
