"""Kernels of pooling: rows are the result's elements, and what is reduced are a window's taps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from xdsl.ir import Block

from aicc.ir import graph
from aicc.ir.graph import Fused
from aicc.ir.symbols import Dim, sym
from aicc.ir.types import element_type, shape_of
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.reductions import RULES
from aicc.passes.tiling.rows import REDUCED, ROW, RowKernel
from aicc.passes.tiling.spaces import Output, collapsed, index_expressions, known_shape

UNROLLED = 25
"""Windows of so many taps or fewer are gone through one tap after another."""


class Window:
    """Which elements of an image a window covers, at a place of the result."""

    def __init__(self, op: Any, at: Sequence[Dim], image: Sequence[Dim], ceil_mode: bool = False):
        self.op, self.at, self.image, self.ceil_mode = op, at, image, ceil_mode

    def under(self, taps: Sequence[Dim]) -> tuple[list[Dim], list[Dim]]:
        """The place under a tap, and what is negative where that lies outside the image."""
        op, rank = self.op, len(self.image)
        places, inside = list[Dim](), list[Dim]()
        for i, (at, tap) in enumerate(zip(self.at, taps, strict=True)):
            where = at * op.strides[i] + tap * op.dilations[i] - op.pads[i]
            places.append(where)
            if op.pads[i]:
                inside.append(where)
            if op.pads[rank + i] or op.pads[i] or self.ceil_mode:
                inside.append(self.image[i] - 1 - where)
        return places, inside

    @property
    def may_leave(self) -> bool:
        """Whether the window may reach beyond what counts as image."""
        return self.ceil_mode or (any(self.op.pads) and not self.op.count_include_pad)


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
        kernel = pool.kernel_shape
        few = all(isinstance(d, int) for d in kernel) and math.prod(kernel) <= UNROLLED
        self.unrolled = few and self.dtype.kind != "uint"
        if self.unrolled:
            self.extents = dict(zip(rows, self.shape, strict=True))
        over = {} if self.unrolled else dict(enumerate(self.taps))
        self.tracer = n.Tracer(self.extents, reduce_axes=over)
        self.last = pool.layout == "nhwc"
        self.places = rows[1:-1] if self.last else rows[2:]
        self.spatial = self.image[1:-1] if self.last else self.image[2:]
        at = [sym(a) for a in self.places]
        self.window = Window(pool, at, self.spatial, pool.ceil_mode)

    def lower(self) -> tuple[Block, dict]:
        rows = tuple(sym(a) for a in self.rows)
        node = self.value()
        output = Output(node, n.linear(rows, self.shape), tuple(self.rows))
        kinds = {**dict.fromkeys(self.rows, ROW), **dict.fromkeys(self.taps, REDUCED)}
        exprs = [*index_expressions(self.tracer, node), output.offset]
        space = collapsed(self.extents, kinds, exprs)
        return RowKernel(self.op, self.tracer, space, [output]).build()

    def value(self) -> n.Node:
        pool = self.pool
        if isinstance(pool, graph.MaxPool):
            unsigned = self.dtype.kind == "uint"
            least = 0 if unsigned else RULES[graph.MaxPool].neutral(self.dtype)
            return self.over_taps(lambda taps: self.element(taps, least))
        total = self.over_taps(lambda taps: self.element(taps, 0))
        return n.Combine(self.dtype, total.axes, "arith.divf", total, self.count())

    def over_taps(self, element: Callable[[Sequence[Dim]], n.Node]) -> n.Node:
        """What the window's elements come to: one after another if they are few."""
        if self.unrolled:
            rule = RULES[type(self.pool)]
            each = [element(t) for t in itertools.product(*map(range, self.pool.kernel_shape))]
            return n.combined(self.dtype, rule.combine[not self.dtype.is_float], each)
        arg, over = element([sym(a) for a in self.taps]), tuple(self.taps)
        return n.Reduced(self.dtype, arg.axes - set(over), self.pool, arg, over)

    def element(self, taps: Sequence[Dim], outside: int | float) -> n.Node:
        """The element under a tap of the window, `outside` beyond the image."""
        places, inside = self.window.under(taps)
        first, *_, final = map(sym, self.rows)
        coords = (first, *places, final) if self.last else (first, sym(self.rows[1]), *places)
        value = self.tracer.value(self.pool.input, coords, tuple(inside))
        return self.tracer.chosen(inside, value, outside)

    def count(self) -> n.Node:
        """How many taps of a window count."""
        pool = self.pool
        assert isinstance(pool, graph.AvgPool)
        one = n.Literal(self.dtype, n.NONE, 1)

        def counted(taps: Sequence[Dim]) -> n.Node:
            if not pool.count_include_pad:
                return self.tracer.chosen(self.window.under(taps)[1], one, 0)
            inside = []
            for i in range(self.rank):
                place = sym(self.places[i]) * pool.strides[i] + taps[i] * pool.dilations[i]
                size = self.spatial[i] + pool.pads[i] + pool.pads[self.rank + i]
                if pool.ceil_mode:
                    inside.append(size - 1 - place)
            return self.tracer.chosen(inside, one, 0)

        if not self.window.may_leave:
            return n.Literal(self.dtype, n.NONE, math.prod(pool.kernel_shape))
        return self.over_taps(counted)
