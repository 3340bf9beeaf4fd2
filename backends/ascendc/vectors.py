"""Ops on tiles: dispatch, and places of extremes."""

from __future__ import annotations

from xdsl.ir import Operation

from aicc.backends.ascendc.elements import COMPOSED
from aicc.backends.ascendc.indices import is_bool, is_float
from aicc.backends.ascendc.integers import WORDS, Integers
from aicc.backends.ascendc.spellings import (
    ADVANCED,
    BINARY,
    ROUNDING,
    UNARY,
)
from aicc.backends.c_text import Unprintable
from aicc.ir import tile


class Vectors(Integers):
    """Writes ops whose results are tiles."""

    # ------------------------------------------------------------------ dispatch

    def compute(self, op: Operation) -> None:
        """Write an op whose result is a tile."""
        name = op.name
        if isinstance(op, tile.Load):
            if not self.is_direct(op):
                self.load(op)
        elif isinstance(op, tile.Reduce):
            self.reduce(op)
        elif isinstance(op, tile.ArgReduce):
            self.arg_reduce(op)
        elif isinstance(op, tile.Dot):
            self.dot(op)
        elif isinstance(op, tile.Broadcast):
            self.broadcast(op)
        elif isinstance(op, (tile.Reshape, tile.Transpose)):
            self.rearrange(op)
        elif isinstance(op, tile.Cast):
            self.cast(op)
        elif isinstance(op, tile.Cmp):
            self.compare(op)
        elif isinstance(op, tile.Select):
            self.select(op)
        elif is_bool(op.results[0]):
            self.logic(op)
        elif name in WORDS:
            self.words(op)
        elif name in BINARY:
            self.binary(op)
        elif name in UNARY:
            self.unary(op, UNARY[name])
        elif name in COMPOSED:
            COMPOSED[name](self, op)
        elif name in ADVANCED:
            x = self.tile_of(op.operands[0])
            out = self.result(op.results[0], apart=True)
            self.vector(ADVANCED[name], out, [x])
        elif name in ROUNDING:
            x = self.tile_of(op.operands[0])
            out = self.result(op.results[0])
            self.cast_into(out, x, ROUNDING[name])
        else:
            raise Unprintable(f"{name} on the vector unit")

    # ------------------------------------------------------------------ extremes

    def arg_reduce(self, op: tile.ArgReduce) -> None:
        """The extreme and its place, on the scalar unit; NaN is the extreme where there is one."""
        kind = self.element_type(op.value)
        value = self.new(op.value, op.value.name_hint or "best", kind)
        at_kind = self.element_type(op.at)
        where = self.new(op.at, op.at.name_hint or "at", at_kind)
        counts = self.kept_counts(op)
        length = self.count(op.input, op.dim)
        sign = ">" if op.kind == "max" else "<"
        nan, both = "", ""
        if is_float(op.input):
            nan, both = " || (x != x && best == best)", " || (x != x && best != best)"
        with self.elements(counts, [op.input, op.index], value) as at:
            self.scalar_write(where)
            place = [*at]
            place[op.dim] = "0"
            self.line(f"{kind} best = {self.text(op.input, place)};")
            self.line(f"{at_kind} found = {self.text(op.index, self.fitted(op.index, place))};")
            place[op.dim] = "r"
            self.line(f"for (int32_t r = 1; r < {length}; ++r) {{")
            self.line(f"  const {kind} x = {self.text(op.input, place)};")
            index = self.text(op.index, self.fitted(op.index, place))
            self.line(f"  const {at_kind} index = {index};")
            self.line(f"  const bool same = x == best{both};")
            self.line(f"  if (x {sign} best{nan} || (same && index < found)) {{")
            self.line("    best = x;")
            self.line("    found = index;")
            self.line("  }")
            self.line("}")
            self.line(f"{value.name}.SetValue({value.position(at)}, best);")
            self.line(f"{where.name}.SetValue({where.position(at)}, found);")
        self.locals[op.value], self.locals[op.at] = value, where
