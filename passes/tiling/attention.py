"""Kernels around attention: softmax(q kᵀ · scale + mask) v without the matrix of scores in memory.

Each program has `BLOCK_M` queries of one head and walks over the keys in steps of `BLOCK_T`. It
keeps the greatest score so far, the sum of exponentials and the weighted values, and scales both
down when a greater score comes (Milakov and Gimelshein 2018; Dao et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from xdsl.dialects.builtin import f32
from xdsl.ir import Attribute, Block, SSAValue

from aicc.ir import graph, tile
from aicc.ir.dtypes import f32 as float32
from aicc.ir.dtypes import i1
from aicc.ir.graph import Fused
from aicc.ir.graph.attention import AttentionBackward, AttentionOp
from aicc.ir.symbols import Dim, ceildiv, floordiv, sym
from aicc.ir.tile.types import signless, tile_shape
from aicc.ir.tile.types import tile as tile_type
from aicc.ir.types import shape_of
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.coords import broadcast_at
from aicc.passes.tiling.emitter import AxisVar, Emitter
from aicc.passes.tiling.products import LEAST, check_dtypes
from aicc.passes.tiling.spaces import add_buffers, finished, known_shape, next_power, output_of

LOG2_E = math.log2(math.e)

IMAGE, HEAD, M, E, DQ, DK, T, TV = (
    n.axis_name(a) for a in ("batch", "head", "m", "e", "dq", "dk", "t", "tv")
)
"""Batch, head, query and feature of the result; features of queries and keys; keys, as columns of
scores and as rows of values."""

BLOCK_M, BLOCK_T = sym("BLOCK_M"), sym("BLOCK_T")


def lower_attention(op: Fused, attention: AttentionOp) -> tuple[Block, dict]:
    """The body of a kernel for `op`, which is built around `attention`, and its parameters."""
    return _Attention(op, attention).build()


class ScoresKernel:
    """What kernels have in common that compute scores: sizes, and the scores of a tile.

    The axis of queries is `M`, that of keys `T`, in any dims of the tile.
    """

    e: Emitter
    mask: n.Node | None = None

    def __init__(self, op: Fused, attention: AttentionOp | AttentionBackward):
        self.op, self.attention = op, attention
        self.dtype, _ = check_dtypes(attention.query, attention.value, attention.results[0])
        if self.dtype.name == "f64":
            raise n.Unsupported("attention of f64")
        self.batch, self.heads, self.queries, self.depth = known_shape(shape_of(attention.query))
        _, self.groups, self.keys, self.width = known_shape(shape_of(attention.value))
        fixed = (self.heads, self.groups, self.depth, self.width)
        if not all(isinstance(d, int) for d in fixed):
            raise n.Unsupported("attention over heads or features whose number isn't known")
        self.features, self.columns = (
            max(next_power(int(d)), LEAST)  # type: ignore[arg-type]
            for d in (self.depth, self.width)
        )

    def trace_mask(self, tracer: n.Tracer) -> None:
        b, h, mask = sym(IMAGE), sym(HEAD), self.attention.mask
        if mask is not None:
            full = (self.batch, self.heads, self.queries, self.keys)
            at = broadcast_at(shape_of(mask), full, (b, h, sym(M), sym(T)))
            self.mask = tracer.value(mask, at)

    def full(self, value: float, shape: Sequence[Dim], element: Attribute = f32) -> SSAValue:
        made = tile.Full.make(value=value, result_types=[tile_type(shape, element)])
        return self.e.insert(made)

    def product(self, a: SSAValue, b: SSAValue) -> SSAValue:
        shape = tile_shape(a.type)[0], tile_shape(b.type)[1]
        return self.e.insert(tile.Dot.make(a, b, self.full(0.0, shape)))

    def narrow(self, value: SSAValue) -> SSAValue:
        """A tile as an operand of a dot."""
        return self.e.scalars.cast(value, signless(self.dtype))

    def ahead(self) -> Dim:
        """How many keys come before the first query's own."""
        return self.keys - self.queries if self.attention.causal == "lower_right" else 0

    def last_key(self, first: SSAValue) -> Dim | SSAValue:
        """Where the loop over keys ends: for causal attention at the last query's own."""
        if self.attention.causal == "none":
            return self.keys
        e = self.e
        end = e.binary("arith.addi", first, e.size(BLOCK_M + self.ahead()))
        return e.binary("arith.minsi", end, e.size(self.keys))

    def first_key(self, first: SSAValue) -> SSAValue | None:
        """Where the loop over keys begins: with a window, in the block of the first query's."""
        if not self.attention.window:
            return None
        e = self.e
        index = e.binary("arith.addi", first, e.size(self.ahead() + 1 - self.attention.window))
        return self.block_of(index, BLOCK_T)

    def block_of(self, index: SSAValue, block: Dim) -> SSAValue:
        """The start of the block that an index lies in; 0 for one before the first."""
        e = self.e
        number = e.binary("arith.maxsi", index, e.size(0))
        number = e.binary("arith.divui", number, e.size(block))
        return e.binary("arith.muli", number, e.size(block))

    def scores(self, products: SSAValue) -> SSAValue:
        """Scores times log2(e), from q kᵀ: −∞ where a key is hidden."""
        e, a = self.e, self.attention
        softcap = a.softcap if isinstance(a, AttentionOp) else 0.0
        plain = not softcap and (self.mask is None or self.mask.dtype == i1)
        scores = self.scaled(products, a.scale * (LOG2_E if plain else 1.0))
        if softcap:
            capped = e.scalars.op("math.tanh", self.scaled(scores, 1 / softcap))
            scores = self.scaled(capped, softcap)
        if self.mask is not None and self.mask.dtype != i1:
            scores = e.binary("arith.addf", scores, e.scalars.cast(e.node(self.mask), f32))
        if not plain:
            scores = self.scaled(scores, LOG2_E)
        keep = self.kept()
        if keep is None:
            return scores
        keep = e.broadcast(keep, tile_shape(scores.type))
        return e.scalars.select(keep, scores, e.scalars.full(-math.inf, scores))

    def scaled(self, x: SSAValue, factor: float) -> SSAValue:
        return self.e.scalars.op("arith.mulf", x, self.e.scalars.full(factor, x))

    def kept(self) -> SSAValue | None:
        """Which keys a query may look at."""
        e = self.e
        parts = [e.axes[T].inside] if e.axes[T].inside is not None else []
        if self.mask is not None and self.mask.dtype == i1:
            parts.append(e.node(self.mask))
        if self.attention.causal != "none":
            column, row = e.axes[T].index, e.index(sym(M) + self.ahead())
            assert column is not None
            parts.append(e.scalars.compare("sle", *e.together([column, row])))
            if self.attention.window:
                row = e.index(sym(M) + self.ahead() - self.attention.window)
                parts.append(e.scalars.compare("sgt", *e.together([column, row])))
        return e.all_of([p for p in parts if p is not None])

    def blocks(self, rows: int, step: int) -> dict[str, int]:
        """A schedule of so many queries and keys, or all where they are fewer."""
        if isinstance(self.queries, int):
            rows = max(min(rows, next_power(self.queries)), LEAST)
        if isinstance(self.keys, int):
            step = max(min(step, next_power(self.keys)), LEAST)
        warps = 8 if rows == 128 else 4
        return {"BLOCK_M": rows, "BLOCK_T": step, "num_warps": warps, "num_stages": 2}


class _Attention(ScoresKernel):
    attention: AttentionOp

    def __init__(self, op: Fused, attention: AttentionOp):
        super().__init__(op, attention)
        self.trace()

    def trace(self) -> None:
        """Follow operands and results back to memory."""
        a = self.attention
        extents = {IMAGE: self.batch, HEAD: self.heads, M: self.queries, E: self.width}
        tracer = n.Tracer({**extents, DQ: self.depth, DK: self.depth, T: self.keys, TV: self.keys})
        self.tracer = tracer
        b, h = sym(IMAGE), sym(HEAD)
        group = floordiv(h, int(self.heads) // int(self.groups))  # type: ignore[arg-type]
        self.query = tracer.value(a.query, (b, h, sym(M), sym(DQ)))
        self.key = tracer.value(a.key, (b, group, sym(T), sym(DK)))
        self.value = tracer.value(a.value, (b, group, sym(TV), sym(E)))
        self.trace_mask(tracer)
        self.result = n.Given(self.dtype, frozenset(extents))
        tracer.given[a.results[0]] = self.result
        shape = known_shape(shape_of(a.results[0]))
        at, self.lse = [sym(x) for x in extents], n.Given(float32, frozenset((IMAGE, HEAD, M)))
        lse = a.lse if isinstance(a, graph.AttentionWithLse) else None
        if lse is not None:
            tracer.given[lse] = self.lse
        self.outputs = [
            output_of(tracer, v, shape[:3], at[:3], list(extents)[:3])
            if v is lse
            else output_of(tracer, v, shape, at, list(extents))
            for v in self.op.yielded().inputs
        ]

    # ------------------------------------------------------------------ building

    def build(self) -> tuple[Block, dict]:
        self.schedule = self.default_schedule()
        e = self.e = Emitter(2, self.schedule, self.tracer, {})
        results = add_buffers(e, self.op)
        e.add_axis(AxisVar(IMAGE, self.batch), e.program(0))
        e.add_axis(AxisVar(HEAD, self.heads), e.program(1))
        first = e.binary("arith.muli", e.program(2), e.size(BLOCK_M))
        zero = e.size(0)
        e.add_axis(AxisVar(M, self.queries, BLOCK_M, 0), first)
        e.add_axis(AxisVar(DQ, self.depth, self.features, 1), zero)
        e.add_axis(AxisVar(DK, self.depth, self.features, 0), zero)
        e.add_axis(AxisVar(E, self.width, self.columns, 1), zero)
        q = e.factor(self.query, DQ, self.dtype, [BLOCK_M, self.features])
        top, total, acc = self.loop(q, first)
        if any(o.node is self.lse for o in self.outputs):
            logs = e.binary("arith.addf", top, e.scalars.op("math.log2", total))
            e.remember(self.lse, self.scaled(logs, 1 / LOG2_E))
        nothing = e.scalars.compare("oeq", total, e.scalars.full(0.0, total))
        total = e.scalars.select(nothing, e.scalars.full(1.0, total), total)
        e.remember(self.result, e.binary("arith.divf", acc, total))
        for o, buffer in zip(self.outputs, results, strict=True):
            e.store(o.node, buffer, o.offset, o.axes)
        return finished(e, self.op, [self.batch, self.heads, ceildiv(self.queries, BLOCK_M)])

    def loop(self, q: SSAValue, first: SSAValue) -> tuple[SSAValue, SSAValue, SSAValue]:
        """Greatest scores and sums of exponentials ``[M, 1]``, and the weighted values ``[M, E]``.

        Scores are times log2(e).
        """
        e = self.e
        start = [
            self.full(-math.inf, [BLOCK_M, 1]),
            self.full(0.0, [BLOCK_M, 1]),
            self.full(0.0, [BLOCK_M, self.columns]),
        ]
        block = e.begin_loop(BLOCK_T, self.last_key(first), start, self.first_key(first))
        index, top, total, acc = block.args
        for arg, name in zip(block.args, ("start", "top", "total", "acc"), strict=True):
            arg.name_hint = name
        e.add_axis(AxisVar(T, self.keys, BLOCK_T, 1), index)
        e.add_axis(AxisVar(TV, self.keys, BLOCK_T, 0), index)
        k = e.factor(self.key, DK, self.dtype, [self.features, BLOCK_T])
        scores = self.scores(self.product(q, k))
        op = e.scalars.op
        highest = e.insert(tile.Reduce.make(scores, kind="max", dim=1))
        new_top = op("arith.maximumf", top, highest)
        none = e.scalars.compare("oeq", new_top, e.scalars.full(-math.inf, new_top))
        base = e.scalars.select(none, e.scalars.full(0.0, new_top), new_top)
        weights = op("math.exp2", e.binary("arith.subf", scores, base))
        shrink = op("math.exp2", op("arith.subf", top, base))
        added = e.insert(tile.Reduce.make(weights, kind="add", dim=1))
        new_total = op("arith.addf", op("arith.mulf", total, shrink), added)
        scaled = e.binary("arith.mulf", acc, shrink)
        values = e.factor(self.value, TV, self.dtype, [BLOCK_T, self.columns])
        new_acc = e.insert(tile.Dot.make(self.narrow(weights), values, scaled))
        named = {"scores": scores, "top": new_top, "weights": weights, "shrink": shrink}
        for name, value in named.items():
            value.name_hint = name
        found = e.end_loop([new_top, new_total, new_acc])
        for value, name in zip(found, ("top", "total", "acc"), strict=True):
            value.name_hint = name
        top, total, acc = found
        return top, total, acc

    def default_schedule(self) -> dict[str, int]:
        rows, step = (128, 64) if self.dtype.bits <= 16 and self.features <= 128 else (32, 32)
        return self.blocks(rows, step)
