"""Kernels of convolutions by Winograd's method: patches, and the products around which sums lie.

The transforms are linear combinations of a few tiles, written out. The points of the interpolation
come in pairs ±p: what is even in p and what is odd is summed once for both.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from xdsl.ir import Block, SSAValue

from aicc.ir import graph, tile
from aicc.ir.dtypes import DType
from aicc.ir.graph import Fused
from aicc.ir.graph.winograd import FAR, NEAR, PATCH, STEP
from aicc.ir.symbols import Dim, ceildiv, sym
from aicc.ir.tile.types import tile as tile_type
from aicc.ir.types import element_type, shape_of
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.emitter import AxisVar, Emitter
from aicc.passes.tiling.products import KA, KB, M, N, accumulator
from aicc.passes.tiling.rows import ROW, RowKernel
from aicc.passes.tiling.scalars import computed
from aicc.passes.tiling.spaces import (
    Output,
    add_buffers,
    collapsed,
    finished,
    flattened,
    index_expressions,
    known_shape,
)

SPATIAL = ("row", "column")

Line = Sequence[n.Node]
Places = Sequence[Sequence[n.Node]]


class Sums:
    """Linear combinations of nodes."""

    def __init__(self, dtype: DType):
        self.dtype = dtype

    def plus(self, x: n.Node, y: n.Node) -> n.Node:
        return n.Combine(self.dtype, x.axes | y.axes, "arith.addf", x, y)

    def minus(self, x: n.Node, y: n.Node) -> n.Node:
        return n.Combine(self.dtype, x.axes | y.axes, "arith.subf", x, y)

    def times(self, factor: float, x: n.Node) -> n.Node:
        by = n.Literal(self.dtype, n.NONE, factor)
        return n.Combine(self.dtype, x.axes, "arith.mulf", by, x)

    def patch(self, d: Line) -> list[n.Node]:
        """``Bᵀ d`` for six values."""
        near, far = NEAR**2, FAR**2
        found: list[n.Node] = []
        for point, other in ((NEAR, far), (FAR, near)):
            even = self.minus(d[4], self.times(other, d[2]))
            odd = self.times(point, self.minus(d[3], self.times(other, d[1])))
            found += [self.plus(even, odd), self.minus(even, odd)]
        ends = [
            self.plus(
                self.minus(self.times(near * far, d[i]), self.times(near + far, d[i + 2])), d[i + 4]
            )
            for i in (0, 1)
        ]
        return [ends[0], *found, ends[1]]

    def places(self, m: Line) -> list[n.Node]:
        """``Aᵀ m`` for six sums: four places."""
        pairs = [(m[1], m[2], NEAR), (m[3], m[4], FAR)]
        even = [self.plus(a, b) for a, b, _ in pairs]
        odd = [self.minus(a, b) for a, b, _ in pairs]

        def joined(parts: Line, power: int) -> n.Node:
            first, second = (
                self.times(p**power, x) if power else x
                for x, (*_, p) in zip(parts, pairs, strict=True)
            )
            return self.plus(first, second)

        return [
            self.plus(m[0], joined(even, 0)),
            joined(odd, 1),
            joined(even, 2),
            self.plus(joined(odd, 3), m[5]),
        ]


def both_ways(one: Callable[[Line], list[n.Node]], square: Places) -> Places:
    """A transform of the columns of a square, then of its rows."""
    columns = [one(column) for column in zip(*square, strict=True)]
    return [one(row) for row in zip(*columns, strict=True)]


def lower_patches(op: Fused, transform: graph.WinogradInputTransform) -> tuple[Block, dict]:
    """The body of a kernel for `op`, which is `transform` alone, and its parameters."""
    dtype = element_type(transform.result)
    shape = known_shape(shape_of(transform.result))
    image = known_shape(transform.image)[2:]
    last = transform.layout == "nhwc"
    order = ("image", "row", "column", "channel") if last else ("channel", "image", "row", "column")
    names = [n.axis_name(a) for a in order]
    extents = dict(zip(names, shape[1:], strict=True))
    tracer = n.Tracer(extents)
    batch, *at, channel = (sym(n.axis_name(a)) for a in ("image", "row", "column", "channel"))

    def element(place: Sequence[int]) -> n.Node:
        where, inside = [], []
        for i, (a, offset) in enumerate(zip(at, place, strict=True)):
            where.append(a * STEP + (offset - transform.pads[i]))
            beyond = where[-1] + (1 - image[i])
            beyond = beyond.substitute({names[order.index(SPATIAL[i])]: counts[i] - 1})
            if offset < transform.pads[i]:
                inside.append(where[-1])
            if not isinstance(beyond, int) or beyond > 0:
                inside.append(image[i] - 1 - where[-1])
        coords = (batch, *where, channel) if last else (batch, channel, *where)
        return tracer.chosen(inside, tracer.value(transform.input, coords, tuple(inside)), 0)

    counts = [extents[n.axis_name(a)] for a in SPATIAL]
    patch = [[element((i, j)) for j in range(PATCH)] for i in range(PATCH)]
    results = itertools.chain(*both_ways(Sums(dtype).patch, patch))
    outputs = [
        Output(node, n.linear((k, *map(sym, names)), shape), tuple(names))
        for k, node in enumerate(results)
    ]
    exprs = index_expressions(tracer, *(o.node for o in outputs))
    kinds = dict.fromkeys(names, ROW)
    space = collapsed(extents, kinds, [*exprs, *(o.offset for o in outputs)])
    return _Patches(op, tracer, space, outputs).build()


class _Patches(RowKernel):
    """A kernel whose outputs all go to one buffer."""

    def store(self, results: Sequence[SSAValue], outputs: Sequence[Output]) -> None:
        super().store([*results] * len(outputs), outputs)


def lower_winograd(op: Fused, conv: graph.WinogradConv) -> tuple[Block, dict]:
    """The body of a kernel for `op`, which is built around `conv`, and its parameters.

    A program computes `BLOCK_M` channels of `BLOCK_N` patches: a product for each place of a patch,
    over all channels at once, then four by four places of the result.
    """
    dtype = element_type(conv.result)
    last = conv.layout == "nhwc"
    (summed, images, *patches), (channels, _) = map(known_shape, conv.dims)
    names = [n.axis_name(a) for a in ("image", *SPATIAL)]
    along, across = (N, M) if last else (M, N)  # channels, and places
    extents: dict[str, Dim] = {
        along: channels,
        **dict(zip(names, (images, *patches), strict=True)),
        KA: summed,
        KB: summed,
    }
    sides = {M: "m", N: "n"}
    kinds = {along: sides[along], **dict.fromkeys(names, sides[across]), KA: "ka", KB: "kb"}
    tracer = n.Tracer(extents)
    batch, *at = (sym(a) for a in names)
    channel = sym(along)
    acc = [n.Given(dtype, frozenset([along, *names])) for _ in range(PATCH**2)]
    lines = [acc[i * PATCH : (i + 1) * PATCH] for i in range(PATCH)]
    sums = Sums(dtype)
    places = both_ways(sums.places, lines)
    bias = None if conv.bias is None else tracer.value(conv.bias, (channel,))
    stores = []
    for i, j in itertools.product(range(STEP), repeat=2):
        after = places[i][j]
        tracer.memo.clear()
        tracer.given[conv.result] = after if bias is None else sums.plus(after, bias)
        where = [a * STEP + o for a, o in zip(at, (i, j), strict=True)]
        inside = [
            size - 1 - w
            for size, w, o, count in zip(conv.size, where, (i, j), patches, strict=True)
            if not isinstance(count, int) or count * STEP - STEP + o >= size
        ]
        coords = (batch, *where, channel) if last else (batch, channel, *where)
        for k, v in enumerate(op.yielded().inputs):
            if shape_of(v) != shape_of(conv.result):
                raise n.Unsupported(f"a result of shape {shape_of(v)} beside places of patches")
            node = tracer.value(v, coords, tuple(inside))
            stores.append((k, node, n.linear(coords, shape_of(v)), inside))
    del tracer.given[conv.result]
    tracer.memo.clear()
    factors = []
    for k in range(PATCH**2):
        if last:
            left = tracer.value(conv.patches, (k, batch, *at, sym(KA)))
            right = tracer.value(conv.weight, (k, sym(KB), channel))
        else:
            left = tracer.value(conv.weight, (k, channel, sym(KA)))
            right = tracer.value(conv.patches, (k, sym(KB), batch, *at))
        factors.append((left, right))
    roots = [*(node for _, node, *_ in stores), *(node for pair in factors for node in pair)]
    exprs = [*index_expressions(tracer, *roots), *(offset for *_, offset, _ in stores)]
    exprs += [e for *_, inside in stores for e in inside]
    space = collapsed(extents, kinds, exprs, keep=(along, KA, KB))
    rows, columns = (flattened(space, kind, name) for name, kind in sides.items())
    schedule = {"BLOCK_M": 32, "BLOCK_N": 32, "num_warps": 8}
    block_m, block_n = sym("BLOCK_M"), sym("BLOCK_N")
    e = Emitter(2, schedule, tracer, space.rename)
    results = add_buffers(e, op)
    grid = []
    for i, ((name, extent), block) in enumerate(((rows, block_m), (columns, block_n))):
        start = e.binary("arith.muli", e.program(i), e.size(block))
        e.add_axis(AxisVar(name, extent, block, i), start)
        grid.append(ceildiv(extent, block))
    e.add_axis(AxisVar(KA, summed, summed, 1), e.size(0))
    e.add_axis(AxisVar(KB, summed, summed, 0), e.size(0))
    zero = tile_type([block_m, block_n], accumulator(dtype))
    for given, (left, right) in zip(acc, factors, strict=True):
        a = e.factor(left, KA, dtype, [block_m, summed])
        b = e.factor(right, KB, dtype, [summed, block_n])
        start = e.insert(tile.Full.make(value=0.0, result_types=[zero]))
        total = e.insert(tile.Dot.make(a, b, start))
        total.name_hint = "acc"
        e.remember(given, e.scalars.cast(total, computed(dtype)))
    for k, node, offset, inside in stores:
        e.store(node, results[k], offset, [rows[0], columns[0]], inside)
    return finished(e, op, grid)
