"""Ops on tiles: dispatch, reductions, and products."""

from __future__ import annotations

import math

from xdsl.ir import Operation

from aicc.backends.ascendc.elements import COMPOSED, Elements
from aicc.backends.ascendc.indices import is_bool, is_float
from aicc.backends.ascendc.locals import Local
from aicc.backends.ascendc.spellings import (
    ADVANCED,
    BINARY,
    REDUCTIONS,
    ROUNDING,
    SIZES,
    UNARY,
)
from aicc.backends.c_text import Unprintable
from aicc.ir import tile


class Vectors(Elements):
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

    # ------------------------------------------------------------------ reductions

    def reduce(self, op: tile.Reduce) -> None:
        if self.count(op.input, op.dim) == "0":
            return self.nothing_to_reduce(op)
        if not is_float(op.input) and not is_bool(op.input):
            return self.reduce_integers(op)
        x = self.tile_of(op.input)
        shape = self.shape(op.input)
        whole, pair = REDUCTIONS[op.kind]
        length = self.count(op.input, op.dim)
        if op.dim == len(shape) - 1:
            if not whole:
                return self.reduce_integers(op)
            out = self.result(op.result, apart=True)
            work = self.scratch("work", x.type, (x.pitch,))
            rows = [self.count(op.input, d) for d in range(len(shape) - 1)]
            with self.loops(rows) as at:
                to = f"{out.name}[{out.position([*at, '0'])}]"
                row = f"{x.name}[{x.position([*at, '0'])}]"
                self.vector_line(f"{whole}({to}, {row}, {work.name}, {length});", out, [x, work])
            return
        out = self.result(op.result, apart=True)
        outer = [self.count(op.input, d) for d in range(op.dim)]
        inner = [self.count(op.input, d) for d in range(op.dim + 1, len(shape) - 1)]
        with self.loops([*outer, *inner]) as at:
            before, after = at[: len(outer)], at[len(outer) :]
            to = f"{out.name}[{out.position([*before, '0', *after, '0'])}]"
            first = f"{x.name}[{x.position([*before, '0', *after, '0'])}]"
            self.vector_line(f"DataCopy({to}, {first}, {out.pitch});", out, [x])
            self.line(f"for (int32_t r = 1; r < {length}; ++r) {{")
            self.depth += 1
            row = f"{x.name}[{x.position([*before, 'r', *after, '0'])}]"
            self.vector_line(f"{pair}({to}, {to}, {row}, {out.pitch});", out, [x, out])
            self.depth -= 1
            self.line("}")

    def nothing_to_reduce(self, op: tile.Reduce) -> None:
        """What a reduction of no elements is."""
        kind = self.element_type(op.result)
        low, high = -math.inf, math.inf
        if not is_float(op.result) and not is_bool(op.result):
            bits = 8 * SIZES[kind] - 1
            low, high = -(2**bits), 2**bits - 1
        start = {"add": 0, "or": 0, "mul": 1, "and": 1, "max": low, "min": high}[op.kind]
        self.locals[op.result] = self.filled(op.result, op.kind, start)

    def kept_counts(self, op: tile.Reduce | tile.ArgReduce) -> list[str]:
        """How many results there are along each dim."""
        dims = range(len(self.shape(op.input)))
        return ["1" if d == op.dim else self.count(op.input, d) for d in dims]

    def reduce_integers(self, op: tile.Reduce) -> None:
        """Element by element on the scalar unit: integers, and products along a row."""
        kind = self.element_type(op.result)
        local = self.new(op.result, op.result.name_hint or op.kind, kind)
        counts = self.kept_counts(op)
        length = self.count(op.input, op.dim)
        with self.elements(counts, [op.input], local) as at:
            place = [*at]
            place[op.dim] = "0"
            self.line(f"{kind} total = {self.text(op.input, place)};")
            self.line(f"for (int32_t r = 1; r < {length}; ++r) {{")
            place[op.dim] = "r"
            x = self.text(op.input, place)
            step = {"add": f"total + {x}", "mul": f"total * {x}"}.get(op.kind)
            if step is None:
                helper = {"max": "Larger", "min": "Smaller"}[op.kind]
                step = f"{helper}<{kind}>(total, {x})"
            self.line(f"  total = static_cast<{kind}>({step});")
            self.line("}")
            self.line(f"{local.name}.SetValue({local.position(at)}, total);")
        self.locals[op.result] = local

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
