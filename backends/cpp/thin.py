"""Prints products of few rows whose right operand is computed: summed as it is, never in memory.

So one token of a language model meets weights of 8 or 4 bits: each is read, scaled, and added to
the sums of its column at once. Eight rows go by between a load and a store of the sums.
"""

from __future__ import annotations

from aicc.backends.c_text import plus
from aicc.backends.cpp.expressions import broad
from aicc.backends.cpp.stages import Nest, Thin
from aicc.backends.cpp.values import NestValues
from aicc.ir import tile


class ThinProduct(NestValues):
    """Writes one product into a kernel: over rows of the right operand, then its columns."""

    def __init__(self, kernel, dot: tile.Dot):
        shape = kernel.stages.shape(dot.b)
        super().__init__(kernel, Nest(0, shape, (None, None), [Thin(dot)]))
        self.dot = dot

    def vector_dim(self, dims: list[int]) -> int:
        return 1

    def segments(self) -> None:
        return None

    def write(self, name: str, row: int, size: int, adds: str) -> None:
        """Add to the sums in the array `name`; to zeros where `adds` doesn't hold."""
        p, rows = self.kernel, range(self.stages.shape(self.dot.a)[0])
        value = broad(self.whole(self.value(self.dot.b, self.home())), "float")
        depth, width = self.length(0), self.length(1)
        left, first, count, totals = map(p.fresh, ("left", "first_row", "count", "total"))
        fill = f"fill({name}, {size}, 0.0f);"
        if adds != "true":
            p.line(fill if adds == "false" else f"if (!({adds})) {fill}")
        p.line(f"const auto {left} = {p.matrix(self.dot.a)};")
        p.lines_of(self.before[0])
        p.line(f"for (int64_t {first} = 0; {first} < {depth}; {first} += 8) {{")
        p.depth += 1
        p.line(f"const int64_t {count} = minimum<int64_t>(8, {depth} - {first});")
        p.line(f"sweep({width}, [&](auto lanes, int64_t {self.counter}) AICC_FLAT {{")
        p.depth += 1
        places = [plus(name, str(m * row), self.counter) for m in rows]
        sums = [f"{totals}_{m}" for m in rows]
        for total, place in zip(sums, places, strict=True):
            p.line(f"auto {total} = lanes.load({place});")
        i = self.index[0]
        p.line(f"up_to_eight({count}, [&](int64_t r) AICC_FLAT {{")
        p.depth += 1
        p.line(f"const int64_t {i} = {first} + r;")
        p.lines_of([*self.before[1], *self.before[2], *self.last])
        for m, total in enumerate(sums):
            at = plus(f"{m} * {left}.row" if m else "0", f"{i} * {left}.column")
            p.line(f"{total} = {total} + {left}.data[{at}] * {value};")
        p.depth -= 1
        p.line("});")
        for total, place in zip(sums, places, strict=True):
            p.line(f"lanes.store({place}, {total});")
        p.depth -= 1
        p.line("});")
        p.depth -= 1
        p.line("}")
