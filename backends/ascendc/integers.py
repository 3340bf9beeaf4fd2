"""Integers on the vector unit: sums of products, and bytes that become numbers and back.

It adds and multiplies words of 32 bits. Bytes go by way of half and float, where they are exact;
numbers that become bytes must be known to fit, as the unit cuts what doesn't to the nearest.
"""

from __future__ import annotations

import math

from xdsl.ir import Operation, SSAValue

from aicc.backends.ascendc.indices import is_bool, is_float
from aicc.backends.ascendc.products import Products
from aicc.backends.ascendc.spellings import ROUNDING, number
from aicc.ir import tile
from aicc.ir.tile.types import tile_element

WORDS = {
    "arith.addi": ("Add", "Adds"),
    "arith.subi": ("Sub", None),
    "arith.muli": ("Mul", "Muls"),
    "arith.maxsi": ("Max", "Maxs"),
    "arith.minsi": ("Min", "Mins"),
}
"""Instructions for two tiles of 32-bit integers, and for one and a number."""

BYTES = {"int8_t": (-128, 127), "uint8_t": (0, 255)}
"""What bytes reach from and to."""

Interval = tuple[float, float]

ANYTHING: Interval = (-math.inf, math.inf)


class Integers(Products):
    """Writes ops on integers that have tiles."""

    def is_integer_tile(self, op: Operation) -> bool:
        """Whether the vector unit computes an op whose result is integers."""
        result = op.results[0]
        if self.element_type(result) not in ("int32_t", "int8_t") or not self.shape(result):
            return False
        if isinstance(op, tile.Cast):
            return self.is_direct_cast(op)
        if self.element_type(result) != "int32_t":
            return False
        if isinstance(op, (tile.Broadcast, tile.Reshape)):
            return op.input in self.locals
        if op.name not in WORDS:
            return False
        tiles = [v in self.locals for v in op.operands]
        return any(tiles) and all(
            t or self.constant(v) is not None for t, v in zip(tiles, op.operands, strict=True)
        )

    def is_direct_cast(self, op: tile.Cast) -> bool:
        """Whether a cast to integers takes no more than casts of tiles."""
        if op.input not in self.locals:
            return False
        source, goal = self.locals[op.input].type, self.goal_of(op)
        if goal in BYTES:
            low, high = self.interval(op.input)
            known = source in ("float", "int32_t")
            return known and BYTES[goal][0] <= low and high <= BYTES[goal][1]
        return goal == "int32_t" and source in BYTES

    def goal_of(self, op: tile.Cast) -> str:
        """The type of a cast's result: unsigned bytes have one of their own."""
        type = self.element_type(op.result)
        unsigned = op.unsigned and is_float(op.input)
        return "uint8_t" if type == "int8_t" and unsigned else type

    def words(self, op: Operation) -> None:
        """An op of 32-bit integers."""
        pair, single = WORDS[op.name]
        a, b = op.operands
        ca, cb = self.constant(a), self.constant(b)
        if cb is not None and op.name == "arith.subi":
            single, cb = "Adds", -cb
        c = cb if cb is not None else ca
        if single is not None and c is not None and not (op.name == "arith.subi" and cb is None):
            x = self.tile_of(a if cb is not None else b)
            return self.vector(single, self.result(op.results[0]), [x], number(c, "int32_t"))
        x, y = self.tile_of(a), self.tile_of(b)
        self.vector(pair, self.result(op.results[0]), [x, y])

    def interval(self, value: SSAValue) -> Interval:
        """Between which numbers all elements of a value are, as far as its ops say."""
        if (c := self.constant(value)) is not None:
            return c, c
        op = value.owner
        if not isinstance(op, Operation):
            return ANYTHING
        if value in self.locals and self.locals[value].type in BYTES:
            return BYTES[self.locals[value].type]
        if isinstance(op, (tile.Broadcast, tile.Reshape)):
            return self.interval(op.input)
        if isinstance(op, tile.Cast) and str(tile_element(op.input.type)) == "i8":
            return BYTES["uint8_t" if op.unsigned else "int8_t"]
        sides = [self.interval(v) for v in op.operands] if len(op.operands) == 2 else []
        if not sides or any(math.isnan(n) for side in sides for n in side):
            return ANYTHING
        (a, b), (c, d) = sides
        if op.name in ("arith.addi", "arith.addf"):
            return a + c, b + d
        if op.name in ("arith.subi", "arith.subf"):
            return a - d, b - c
        if op.name in ("arith.maximumf", "arith.maxsi"):
            return max(a, c), max(b, d)
        if op.name in ("arith.minimumf", "arith.minsi"):
            return min(a, c), min(b, d)
        return ANYTHING

    def is_whole(self, value: SSAValue) -> bool:
        """Whether numbers are known to have no fraction."""
        if (c := self.constant(value)) is not None:
            return c == math.floor(c)
        op = value.owner
        if not isinstance(op, Operation):
            return False
        if op.name in ROUNDING:
            return True
        kept = ("arith.addf", "arith.subf", "arith.maximumf", "arith.minimumf", "tile.broadcast")
        return op.name in kept and all(self.is_whole(v) for v in op.operands)

    def cast(self, op: tile.Cast) -> None:
        goal = self.goal_of(op)
        if goal not in BYTES or is_bool(op.result) or op.input not in self.locals:
            return super().cast(op)
        x = self.tile_of(op.input)
        if is_float(op.input) and not self.is_whole(op.input):
            whole = self.scratch("whole", x.type, x.shape)
            self.cast_into(whole, x, "CAST_TRUNC")
            x = whole
        out = self.new(op.result, op.result.name_hint or "bytes", goal)
        self.locals[op.result] = out
        self.convert(out, x)
