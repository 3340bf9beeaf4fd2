"""Ops on tiles: dispatch, places of extremes, and products."""

from __future__ import annotations

from xdsl.ir import Operation

from aicc.backends.ascendc.elements import COMPOSED
from aicc.backends.ascendc.indices import is_bool, is_float
from aicc.backends.ascendc.locals import Local
from aicc.backends.ascendc.rows import Rows
from aicc.backends.ascendc.spellings import (
    ADVANCED,
    BINARY,
    ROUNDING,
    UNARY,
)
from aicc.backends.c_text import Unprintable
from aicc.ir import tile


class Vectors(Rows):
    """Writes ops whose results are tiles."""

    # ------------------------------------------------------------------ dispatch

    def compute(self, op: Operation) -> None:
        """Write an op whose result is a tile."""
        name = op.name
        if isinstance(op, tile.Load):
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
        sign, later = (">" if op.kind == "max" else "<"), (">" if op.last else "<")
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
            self.line(f"  if (x {sign} best{nan} || (same && index {later} found)) {{")
            self.line("    best = x;")
            self.line("    found = index;")
            self.line("  }")
            self.line("}")
            self.line(f"{value.name}.SetValue({value.position(at)}, best);")
            self.line(f"{where.name}.SetValue({where.position(at)}, found);")
        self.locals[op.value], self.locals[op.at] = value, where

    # ------------------------------------------------------------------ products

    def dot(self, op: tile.Dot) -> None:
        """A product of tiles on the cube unit, added to the sums so far on the vector unit."""
        sides: list[tuple[Local, bool]] = []
        for v in (op.a, op.b):
            source, across = v, False
            if isinstance(v.owner, tile.Transpose) and v not in self.locals:
                source, across = v.owner.input, True
            sides.append((self.tile_of(source), across))
        (a, a_across), (b, b_across) = sides
        if 1 in self.shape(op.result):
            raise Unprintable("a product of one row or column")
        sums = "int32_t" if a.type == "int8_t" else "float"
        product = self.scratch("product", sums, self.shape(op.result))
        depth = b.pitch if b_across else a.rows if a_across else a.pitch
        if a_across and a.pitch != product.rows:
            raise Unprintable(f"a product of {a.described()} across, which isn't whole blocks")
        name = self.matmul(a.type, sums, (product.rows, product.pitch, depth))
        tails = [self.count(op.a, 0), self.count(op.b, 1), self.count(op.a, 1)]
        if tails[2] == str(self.shape(op.a)[1]):
            tails[2] = self.count(op.b, 0)
        self.sync("V_MTE3", "MTE2_MTE3", "S_MTE3")
        for local, across, side in ((a, a_across, "A"), (b, b_across, "B")):
            self.touched(local)
            flag = ", true" if across else ""
            self.line(f"{name}.SetTensor{side}({local.name}{flag});")
        self.line(f"{name}.SetTail({', '.join(tails)});")
        self.vector_line(f"{name}.IterateAll({product.name});", product, [])
        acc = op.acc
        if self.constant(acc) == 0:
            self.copy(self.result(op.result), product)
            return
        old = self.tile_of(acc)
        self.vector("Add", self.result(op.result), [old, product])

    def matmul(self, type: str, sums: str, sizes: tuple[int, int, int]) -> str:
        """The object that multiplies tiles of these sizes."""
        key = (type, sums, *sizes)
        if key not in self.matmuls:
            self.matmuls[key] = f"matmul{len(self.matmuls) or ''}"
        return self.matmuls[key]
