"""Kernels of pooling: rows are the result's elements, and what is reduced are a window's taps."""

from __future__ import annotations

import math

from xdsl.ir import Block

from aicc.ir import graph
from aicc.ir.graph import Fused
from aicc.ir.symbols import Dim, sym
from aicc.ir.types import element_type, shape_of
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.reductions import RULES
from aicc.passes.tiling.rows import REDUCED, ROW, RowKernel
from aicc.passes.tiling.spaces import Output, collapsed, index_expressions, known_shape


def lower_pool(op: Fused, pool: graph.MaxPool | graph.AvgPool) -> tuple[Block, dict]:
    """The body of a kernel for `op`, which is `pool` alone, and its parameters."""
    return _Pool(op, pool).lower()


class _Pool:
    def __init__(self, op: Fused, pool: graph.MaxPool | graph.AvgPool):
        self.op, self.pool = op, pool
        if isinstance(pool, graph.MaxPool) and pool.indices.first_use is not None:
            raise n.Unsupported("the places of maxima")
        self.dtype = element_type(pool.input)
        self.image = known_shape(shape_of(pool.input))
        self.shape = known_shape(shape_of(pool.result))
        self.rank = len(self.shape) - 2
        rows = [n.axis_name(f"i{i}") for i in range(len(self.shape))]
        self.taps = [n.axis_name(f"t{i}") for i in range(self.rank)]
        self.extents: dict[str, Dim] = {
            **dict(zip(rows, self.shape, strict=True)),
            **dict(zip(self.taps, pool.kernel_shape, strict=True)),
        }
        self.rows = rows
        self.tracer = n.Tracer(self.extents, reduce_axes=dict(enumerate(self.taps)))

    def lower(self) -> tuple[Block, dict]:
        rows = tuple(sym(a) for a in self.rows)
        node = self.value()
        output = Output(node, n.linear(rows, self.shape), tuple(self.rows))
        kinds = {**dict.fromkeys(self.rows, ROW), **dict.fromkeys(self.taps, REDUCED)}
        exprs = [*index_expressions(self.tracer, node), output.offset]
        space = collapsed(self.extents, kinds, exprs)
        return RowKernel(self.op, self.tracer, space, [output]).build()

    def value(self) -> n.Node:
        pool, places, inside = self.pool, list[Dim](), list[Dim]()
        for i in range(self.rank):
            row, tap = sym(self.rows[2 + i]), sym(self.taps[i])
            where = row * pool.strides[i] + tap * pool.dilations[i] - pool.pads[i]
            places.append(where)
            if pool.pads[i]:
                inside.append(where)
            if pool.pads[self.rank + i] or pool.pads[i] or pool.ceil_mode:
                inside.append(self.image[2 + i] - 1 - where)
        coords = (sym(self.rows[0]), sym(self.rows[1]), *places)
        value = self.tracer.value(pool.input, coords, tuple(inside))
        if isinstance(pool, graph.MaxPool):
            unsigned = self.dtype.kind == "uint"
            least = 0 if unsigned else RULES[graph.MaxPool].neutral(self.dtype)
            return self.reduced(self.choose(inside, value, least))
        total = self.reduced(self.choose(inside, value, 0))
        return n.Combine(self.dtype, total.axes, "arith.divf", total, self.count(inside))

    def count(self, inside: list[Dim]) -> n.Node:
        """How many taps of a window count."""
        pool = self.pool
        assert isinstance(pool, graph.AvgPool)
        if pool.count_include_pad:
            inside = []
            for i in range(self.rank):
                place = (
                    sym(self.rows[2 + i]) * pool.strides[i] + sym(self.taps[i]) * pool.dilations[i]
                )
                size = self.image[2 + i] + pool.pads[i] + pool.pads[self.rank + i]
                if pool.ceil_mode:
                    inside.append(size - 1 - place)
        one = n.Literal(self.dtype, n.NONE, 1)
        if not inside:
            return n.Literal(self.dtype, n.NONE, math.prod(pool.kernel_shape))
        return self.reduced(self.choose(inside, one, 0))

    def choose(self, inside: list[Dim], value: n.Node, outside: int | float) -> n.Node:
        if not inside:
            return value
        axes = value.axes | self.tracer.varies(*inside)
        rest = n.Literal(self.dtype, n.NONE, outside)
        return n.Choose(self.dtype, axes, tuple(inside), value, rest)

    def reduced(self, arg: n.Node) -> n.Node:
        over = tuple(self.taps)
        return n.Reduced(self.dtype, arg.axes - set(over), self.pool, arg, over)
