"""Masks: comparisons, and what is chosen by them.

A mask is a bit for each element where only choices need it, else 0 and 1 as half. One that says the
same of whole rows isn't made: the scalar unit chooses rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from xdsl.dialects import scf
from xdsl.ir import Block, Operation, SSAValue

from aicc.backends.ascendc.copies import carries_on
from aicc.backends.ascendc.elements import SCALAR_MODE, TENSOR_MODE, Elements
from aicc.backends.ascendc.indices import is_float
from aicc.backends.ascendc.locals import Local, row_dim
from aicc.backends.ascendc.spellings import COMPARISONS, MIRRORED, SIZES, number
from aicc.backends.c_text import Unprintable, bracketed
from aicc.ir import tile

TILE_OPS = (tile.Load, tile.Reduce, tile.ArgReduce, tile.Dot)
"""Ops whose results always have tiles."""

parts_of = tile.Access.parts_of

OF_INDICES = {"eq": "EQ", "ne": "NE", "slt": "LT", "sle": "LE", "sgt": "GT", "sge": "GE"}
"""Comparisons of integers."""


LARGEST = 2**23
"""Whole numbers up to which are exact as floats, with room for as many more."""


class Masks(Elements):
    """Writes comparisons, logic and selections."""

    def compared(self, op: tile.Cmp) -> Local:
        x, y, predicate = op.x, op.y, op.predicate
        if predicate == "uno":
            a = self.tile_of(x)
            bits = self.bits(a)
            self.vector("Compare", bits, [a, a], "CMPMODE::NE", count=a.count)
            if self.constant(y) is None and y is not x:
                raise Unprintable("a comparison with NaN of two tiles")
            return bits
        if predicate not in COMPARISONS:
            raise Unprintable(f"a comparison {predicate} on the vector unit")
        mode = COMPARISONS[predicate]
        if self.constant(x) is not None and self.constant(y) is None:
            x, y, mode = y, x, MIRRORED.get(mode, mode)
        a = self.tile_of(x)
        bits = self.bits(a)
        if (c := self.constant(y)) is not None:
            value = number(c, a.type)
            self.vector("CompareScalar", bits, [a], value, f"CMPMODE::{mode}", count=a.count)
        else:
            b = self.tile_of(y)
            self.vector("Compare", bits, [a, b], f"CMPMODE::{mode}", count=a.count)
        return bits

    def compare(self, op: tile.Cmp) -> None:
        """A mask of 0 and 1; selections that are the only use take the bits as they are."""
        bits = self.compared(op)
        uses = list(op.result.uses)
        if all(isinstance(u.operation, tile.Select) and u.index == 0 and is_float(
            u.operation.result) and self.shape(u.operation.result) == self.shape(op.result)
            and u.operation.parent is op.parent for u in uses):  # fmt: skip
            self.masks[op.result] = bits
            return
        out = self.result(op.result, apart=True)
        self.flags(out, bits)

    def mask_bits(self, value: SSAValue, ends: bool = True) -> Local:
        """A mask as bits. Without `ends` it may be true past the ends of axes."""
        if value in self.masks:
            return self.masks[value]
        parts = [c for c in parts_of(value) if ends or self.ends_of(c) is None]
        alone = len(parts) == 1 and self.shape(parts[0]) == self.shape(value)
        if alone and (bits := self.compared_indices(parts[0])) is not None:
            return bits
        flags = self.tile_of(value)
        bits = self.bits(flags)
        self.vector(
            "CompareScalar", bits, [flags], number(0, "half"), "CMPMODE::NE", count=flags.count
        )
        return bits

    def compared_indices(self, value: SSAValue) -> Local | None:
        """Bits of a comparison of indices that grow evenly: of their differences, as numbers.

        Differences are cut to what numbers hold exactly.
        """
        op, shape = value.owner, self.shape(value)
        if not isinstance(op, tile.Cmp) or is_float(op.x) or not shape:
            return None
        mode = OF_INDICES.get(op.predicate)
        if mode is None or self.locals_below(op.x, op.y):
            return None
        last = row_dim(shape)
        steps = [(self.step_of(op.x, d), self.step_of(op.y, d)) for d in range(len(shape))]
        if any(not isinstance(s, int) for pair in steps for s in pair):
            return None
        grows = [int(x) - int(y) for x, y in steps]  # type: ignore[arg-type]
        if sum(abs(g) * n for g, n in zip(grows, shape, strict=True)) > LARGEST // 2:
            return None
        out = self.scratch("difference", "float", shape)
        ramp = self.scratch("ramp", "float", shape[last:])
        step = number(grows[last], "float")
        self.vector_line(f"ArithProgression({ramp.name}, 0.0f, {step}, {ramp.count});", ramp, [])
        with self.vector_loops([str(d) for d in shape[:last]]) as at:
            place = [*at, *["0"] * (len(shape) - last)]
            x, y = (self.text(v, self.fitted(v, place)) for v in (op.x, op.y))
            first = f"Smaller<int64_t>({LARGEST}, {x} - {bracketed(y)})"
            text = f"Adds({out.part(place)}, {ramp.name}, "
            text += f"static_cast<float>(Larger<int64_t>(-{LARGEST}, {first})), {out.pitch});"
            self.vector_line(text, out, [ramp])
        bits = self.bits(out)
        mode = f"CMPMODE::{mode}"
        self.vector("CompareScalar", bits, [out], number(0, "float"), mode, count=out.count)
        return bits

    def select(self, op: tile.Select) -> None:
        ends = self.ends_of(op.condition)
        if ends is not None and any(axis.bound[0] == 0 for axis in ends):
            self.locals[op.result] = self.tile_of(op.false)
            return
        whole = not any(isinstance(c.owner, tile.InBounds) for c in parts_of(op.condition))
        if (whole or not carries_on(op.result)) and is_filled(op):
            self.locals[op.result] = self.tile_of(op.true)
            return
        if ends is not None and (op.true in self.locals or self.constant(op.true) is not None):
            if not carries_on(op.result):
                self.locals[op.result] = self.tile_of(op.true)  # beyond the ends nothing counts
                return
            if (c := self.constant(op.false)) is not None and is_float(op.result):
                return self.cut(op, ends, c)
        if (dim := self.choosing_dim(op.condition)) is not None and SIZES[
                self.element_type(op.result)] in (2, 4):  # fmt: skip
            return self.choose(op, dim)
        bits = self.mask_bits(op.condition, carries_on(op.result))
        type = self.element_type(op.result)
        ct, cf = self.constant(op.true), self.constant(op.false)
        if cf is not None and ct is None:
            x = self.tile_of(op.true)
            out = self.result(op.result)
            rest = (number(cf, type), SCALAR_MODE)
            return self.vector("Select", out, [bits, x], *rest)
        y = self.tile_of(op.false)
        if ct is not None:
            out = self.result(op.result, apart=True)
            self.vector("Duplicate", out, [], number(ct, type))
            return self.vector("Select", out, [bits, out, y], TENSOR_MODE)
        x = self.tile_of(op.true)
        out = self.result(op.result)
        self.vector("Select", out, [bits, x, y], TENSOR_MODE)

    def choosing_dim(self, condition: SSAValue) -> int | None:
        """The last dim along which a condition of the scalar unit varies, if rows are of a kind."""
        if condition in self.locals or condition in self.masks or not self.is_known(condition):
            return None
        shape = self.shape(condition)
        varies = [d for d in range(len(shape)) if self.varies(condition, d)]
        last = max(varies, default=-1)
        return last if last < row_dim(shape) else None

    def varies(self, value: SSAValue, dim: int) -> bool:
        """Whether elements of a value of the scalar unit differ along a dim."""
        shape = self.shape(value)
        if value in self.names or dim < 0 or not shape or shape[dim] == 1:
            return False
        op = value.owner
        if isinstance(op, tile.Axis):
            return op.dim == dim
        if isinstance(op, (tile.Reshape, tile.Transpose)) or not isinstance(op, Operation):
            return True
        return any(
            self.varies(v, dim - len(shape) + len(self.shape(v)))
            for v in op.operands
            if not isinstance(v.type, tile.BufferType)
        )

    def choose(self, op: tile.Select, dim: int) -> None:
        """Whole rows, or more: of one tile or the other."""
        sides = [
            None if self.constant(v) is not None else self.tile_of(v) for v in (op.true, op.false)
        ]
        out = self.result(op.result, apart=True)
        rest = len(out.shape) - 1 - dim
        side = out.pitch * math.prod(out.dims[dim + 1 : -1])
        counts = [self.count(op.result, d) for d in range(dim + 1)]
        with self.vector_loops(counts) as at:
            place = [*at, *["0"] * rest]
            test = self.text(op.condition, self.fitted(op.condition, place))
            to = out.part(place)
            for value, x, when in zip((op.true, op.false), sides, (test, f"!{test}"), strict=True):
                with self.when(when):
                    if x is None:
                        c = number(self.constant(value) or 0, out.type)
                        self.vector_line(f"Duplicate({to}, {c}, {side});", out, [])
                    else:
                        self.vector_line(f"DataCopy({to}, {x.part(place)}, {side});", out, [x])

    def is_known(self, *values: SSAValue | None) -> bool:
        """Whether values are made of sizes, axes and names only, which no tile is needed for."""
        return not any(
            v in self.locals or isinstance(v.owner, (Block, *TILE_OPS, scf.ForOp)) or is_float(v)
            for v in self.values_below(*values)
        )

    def cut(self, op: tile.Select, ends: Sequence[tile.Axis], c: float) -> None:
        """A tile up to where axes end, with a number beyond."""
        x = self.tile_of(op.true)
        counts = [str(d) for d in x.shape]
        for axis in ends:
            if x.shape[axis.dim] != 1:
                counts[axis.dim] = self.axis_count(axis)
        out = self.result(op.result, apart=True)
        self.vector("Duplicate", out, [], number(c, out.type))
        one = number(1, out.type)
        with self.vector_loops(counts[:-1]) as at:
            row = x.position([*at, "0"])
            to, source = f"{out.name}[{out.position([*at, '0'])}]", f"{x.name}[{row}]"
            self.vector_line(f"Muls({to}, {source}, {one}, {counts[-1]});", out, [x])

    def ends_of(self, condition: SSAValue) -> list[tile.Axis] | None:
        """The axes whose ends a condition says, and no more; None for other conditions."""
        pending, found = [condition], list[tile.Axis]()
        while pending:
            op = pending.pop().owner
            if isinstance(op, Operation) and op.name in ("arith.andi", "tile.broadcast"):
                pending += op.operands
            elif isinstance(op, tile.InBounds) and isinstance(op.axis.owner, tile.Axis):
                found.append(op.axis.owner)
            else:
                return None
        return found

    def logic(self, op: Operation) -> None:
        a, b = op.operands
        ca, cb = self.constant(a), self.constant(b)
        if op.name == "arith.xori" and (ca is not None or cb is not None):
            x = self.tile_of(a if cb is not None else b)
            out = self.result(op.results[0])
            if not (cb if cb is not None else ca):
                return self.vector("Adds", out, [x], number(0, "half"))
            self.vector("Muls", out, [x], number(-1, "half"))
            return self.vector("Adds", out, [out], number(1, "half"))
        x, y = self.tile_of(a), self.tile_of(b)
        out = self.result(op.results[0])
        if op.name == "arith.xori":
            self.vector("Sub", out, [x, y])
            return self.vector("Abs", out, [out])
        call = {"arith.andi": "Mul", "arith.ori": "Max"}.get(op.name)
        if call is None:
            raise Unprintable(f"{op.name} of masks")
        self.vector(call, out, [x, y])


def is_filled(op: tile.Select) -> bool:
    """Whether a masked load gives what a select chooses where the same mask is false."""
    load, other = op.true.owner, op.false
    if isinstance(load, tile.Cast) and is_float(load.input):
        load = load.input.owner
    while isinstance(other.owner, (tile.Broadcast, tile.Reshape)):
        other = other.owner.input
    if not isinstance(load, tile.Load) or not isinstance(other.owner, tile.Full):
        return False
    if (load.other or 0) != other.owner.value:
        return False
    wanted = {
        c for c in tile.Access.parts_of(op.condition) if not isinstance(c.owner, tile.InBounds)
    }
    given = {c for c in load.conditions() if not isinstance(c.owner, tile.InBounds)}
    return wanted == given
