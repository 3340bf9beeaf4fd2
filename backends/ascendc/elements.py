"""Ops element by element: arithmetic, masks, casts, and tiles in other shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from xdsl.dialects.builtin import IndexType, IntegerType, i1
from xdsl.ir import Operation, SSAValue

from aicc.backends.ascendc.indices import is_bool, is_float
from aicc.backends.ascendc.loads import Loads
from aicc.backends.ascendc.locals import Local
from aicc.backends.ascendc.spellings import (
    BINARY,
    SCALAR,
    SIZES,
    number,
)
from aicc.ir import tile
from aicc.ir.tile.types import bind, tile_element

SCALAR_MODE = "SELMODE::VSEL_TENSOR_SCALAR_MODE"
TENSOR_MODE = "SELMODE::VSEL_TENSOR_TENSOR_MODE"


class Elements(Loads):
    """Writes ops whose results have an element for each of their operands'."""

    # ------------------------------------------------------------------ operands

    def constant(self, value: SSAValue) -> float | None:
        """The number that a value is everywhere, if it is known."""
        op = value.owner
        if isinstance(op, (tile.Broadcast, tile.Reshape)):
            return self.constant(op.input)
        if isinstance(op, tile.Cast):
            c = self.constant(op.input)
            return c if c is not None and keeps_value(op, c) else None
        if isinstance(op, tile.Size):
            size = bind(op.value[0], self.kernel.schedule)
            return size if isinstance(size, int) else None
        return op.value if isinstance(op, tile.Full) else None

    def tile_of(self, value: SSAValue) -> Local:
        """The tile of a value; made if the value has none."""
        if value in self.locals:
            return self.locals[value]
        if (c := self.constant(value)) is not None:
            local = self.filled(value, "constant", c)
        else:
            local = self.by_elements(value, self.element_type(value))
        self.remember_here(value, local)
        return local

    def filled(self, value: SSAValue, hint: str, c: float) -> Local:
        """A tile with one number everywhere."""
        local = self.new(value, hint)
        text = number(c, local.type)
        if SIZES[local.type] in (2, 4):
            self.vector("Duplicate", local, [], text)
        else:
            with self.elements([*map(str, local.shape)], [], local) as at:
                self.line(f"{local.name}.SetValue({local.position(at)}, {text});")
        return local

    # ------------------------------------------------------------------ numbers

    def unary(self, op: Operation, call: str) -> None:
        x = self.tile_of(op.operands[0])
        self.vector(call, self.result(op.results[0]), [x])

    def binary(self, op: Operation) -> None:
        a, b = op.operands
        ca, cb = self.constant(a), self.constant(b)
        type = self.element_type(op.results[0])
        name = op.name
        if cb is not None and name == "arith.subf":
            return self.scaled(op, "Adds", a, -cb)
        if cb is not None and name == "arith.divf" and is_power_of_two(cb):
            return self.scaled(op, "Muls", a, 1 / cb)
        if name in SCALAR and (ca is not None) != (cb is not None):
            c = ca if cb is None else cb
            assert c is not None
            return self.scaled(op, SCALAR[name], a if cb is not None else b, c)
        if ca is not None and name == "arith.subf":
            x = self.tile_of(b)
            out = self.result(op.results[0])
            self.vector("Muls", out, [x], number(-1, type))
            return self.vector("Adds", out, [out], number(ca, type))
        x, y = self.tile_of(a), self.tile_of(b)
        self.vector(BINARY[name], self.result(op.results[0]), [x, y])

    def scaled(self, op: Operation, call: str, value: SSAValue, c: float) -> None:
        x = self.tile_of(value)
        out = self.result(op.results[0])
        self.vector(call, out, [x], number(c, out.type))

    # ------------------------------------------------------------------ masks

    def bits(self, out: Local) -> Local:
        """Where a comparison of a tile's elements goes: a bit each."""
        return self.scratch("bits", "uint8_t", (out.count // 8,))

    def flags(self, out: Local, bits: Local) -> None:
        """Bits as 0 and 1."""
        self.vector("Duplicate", out, [], number(1, "half"))
        self.vector("Select", out, [bits, out], number(0, "half"), SCALAR_MODE)

    # ------------------------------------------------------------------ casts

    def cast(self, op: tile.Cast) -> None:
        goal = self.element_type(op.result)
        if is_bool(op.result):
            x = self.tile_of(op.input)
            bits = self.bits(x)
            self.vector("CompareScalar", bits, [x], number(0, x.type), "CMPMODE::NE", count=x.count)
            return self.flags(self.result(op.result, apart=True), bits)
        integers = op.unsigned and not is_float(op.input)
        if op.input in self.locals and self.locals[op.input].type == "uint8_t":
            integers = False
        if (op.input not in self.locals and self.constant(op.input) is None) or integers:
            self.locals[op.result] = self.from_integers(op.input, goal, op.result, integers)
            return
        x = self.tile_of(op.input)
        self.convert(self.result(op.result, apart=x.type != goal), x)

    def from_integers(self, value: SSAValue, type: str, result: SSAValue, unsigned: bool) -> Local:
        """Integers of the scalar unit as a tile of numbers."""
        middle = "float" if type in ("half", "bfloat16_t") else type
        local = self.by_elements(value, middle, result, unsigned)
        if middle == type:
            return local
        out = self.new(result, result.name_hint or "made", type)
        self.convert(out, local)
        return out

    def convert(self, out: Local, x: Local) -> None:
        """A tile in another type, through others where there is no direct way."""
        for middle in WAYS.get((x.type, out.type), ()):
            step = self.scratch("cast", middle, x.shape)
            self.cast_into(step, x, mode_of(x.type, middle))
            x = step
        numbers = ("float", "half", "bfloat16_t")
        bits = x.type not in numbers and out.type not in numbers
        if x.type == out.type or (bits and SIZES[x.type] == SIZES[out.type]):
            return self.copy(out, x)
        self.cast_into(out, x, mode_of(x.type, out.type))

    def cast_into(self, out: Local, x: Local, mode: str) -> None:
        self.vector("Cast", out, [x], f"RoundMode::{mode}")

    # ------------------------------------------------------------------ shapes

    def rearrange(self, op: tile.Reshape | tile.Transpose) -> None:
        source = self.tile_of(op.operands[0])
        goal = self.shape(op.results[0])
        if isinstance(op, tile.Reshape) and lies_alike(source, goal):
            self.locals[op.results[0]] = self.view(source, goal)
            return
        if isinstance(op, tile.Transpose) and all(self.is_transposed(u) for u in op.result.uses):
            return
        local = self.new(op.results[0], op.results[0].name_hint or "moved")
        self.locals[op.operands[0]] = source
        with self.elements(self.sizes(op.results[0]), [op.operands[0]], local) as at:
            there = source.position(list(self.moved(op, at)))
            self.touched(source)
            value = f"{source.name}.GetValue({there})"
            self.line(f"{local.name}.SetValue({local.position(at)}, {value});")
        self.locals[op.results[0]] = local

    @staticmethod
    def is_transposed(use) -> bool:
        """Whether a use is by a dot that can take the operand the other way round."""
        return isinstance(use.operation, tile.Dot) and use.index in (0, 1)


def keeps_value(op: tile.Cast, value: float) -> bool:
    """Whether a cast of an integer gives the same number, in a wider or another type."""
    source, goal = tile_element(op.input.type), tile_element(op.result.type)
    if source == i1 or goal == i1 or not isinstance(source, (IndexType, IntegerType)):
        return False
    if is_float(op.result):
        return not op.unsigned
    bits = min(t.width.data if isinstance(t, IntegerType) else 64 for t in (source, goal))
    return 0 <= value < 2 ** (bits - 1)


def lies_alike(source: Local, goal: tuple[int, ...]) -> bool:
    """Whether the elements of a tile lie in memory as those of another shape would."""
    seen = Local("", source.type, goal, source.grain)
    even = source.rows == 1 or source.pitch == source.dims[-1]
    return (source.pitch == seen.pitch and source.rows == seen.rows and source.dims[-1:] == (
        seen.dims[-1:])) or (even and (seen.rows == 1 or seen.pitch == seen.dims[-1]))  # fmt: skip


WAYS: dict[tuple[str, str], Sequence[str]] = {
    **{
        (a, b): ("float",) for a in ("half", "bfloat16_t") for b in ("half", "bfloat16_t") if a != b
    },
    **{(t, "float"): ("half",) for t in ("int8_t", "uint8_t")},
    **{(t, "bfloat16_t"): ("half", "float") for t in ("int8_t", "uint8_t")},
    **{(t, "bfloat16_t"): ("float",) for t in ("int16_t", "int32_t", "int64_t")},
    **{("float", t): ("half",) for t in ("int8_t", "uint8_t")},
    **{("int32_t", t): ("float", "half") for t in ("int8_t", "uint8_t")},
    **{(t, "int32_t"): ("half",) for t in ("int8_t", "uint8_t")},
    ("int64_t", "half"): ("float",),
    ("int32_t", "half"): ("float",),
    **{(t, u): ("float",) for t in ("half", "bfloat16_t") for u in ("int32_t", "int64_t")},
    ("bfloat16_t", "int16_t"): ("float",),
}
"""Types that casts between others go through."""

NARROW = {"half": 11, "bfloat16_t": 8, "float": 24}


def mode_of(source: str, goal: str) -> str:
    """How a cast rounds: integers are truncated to, narrower numbers rounded to nearest even."""
    if source in NARROW and goal in NARROW:
        return "CAST_NONE" if NARROW[source] < NARROW[goal] else "CAST_RINT"
    if goal in NARROW:
        return "CAST_NONE" if source in ("int8_t", "uint8_t") else "CAST_RINT"
    return "CAST_TRUNC"


def is_power_of_two(value: float) -> bool:
    return value != 0 and math.isfinite(value) and abs(math.frexp(value)[0]) == 0.5


def _negated(v: Elements, op: Operation) -> None:
    v.scaled(op, "Muls", op.operands[0], -1)


def _exp2(v: Elements, op: Operation) -> None:
    v.scaled(op, "Muls", op.operands[0], math.log(2))
    out = v.locals[op.results[0]]
    v.vector("Exp", out, [out])


def _log2(v: Elements, op: Operation) -> None:
    v.unary(op, "Ln")
    out = v.locals[op.results[0]]
    v.vector("Muls", out, [out], number(1 / math.log(2), out.type))


def _rsqrt(v: Elements, op: Operation) -> None:
    """1 / sqrt(x): the unit's own rsqrt is an estimate."""
    x = v.tile_of(op.operands[0])
    root = v.scratch("root", x.type, x.shape)
    v.vector("Sqrt", root, [x])
    out = v.result(op.results[0], apart=True)
    v.vector("Duplicate", out, [], number(1, out.type))
    v.vector("Div", out, [out, root])


def _log1p(v: Elements, op: Operation) -> None:
    """ln(1 + x) as ln(u) · x / (u - 1) with u = 1 + x, and x where u is 1 (HP-15C handbook)."""
    x = v.tile_of(op.operands[0])
    u = v.scratch("one_more", x.type, x.shape)
    v.vector("Adds", u, [x], number(1, x.type))
    rest = v.scratch("rest", x.type, x.shape)
    v.vector("Adds", rest, [u], number(-1, x.type))
    bits = v.bits(x)
    v.vector("CompareScalar", bits, [rest], number(0, x.type), "CMPMODE::EQ", count=x.count)
    far = v.bits(x)
    v.vector("CompareScalar", far, [rest], number(math.inf, x.type), "CMPMODE::EQ", count=x.count)
    out = v.result(op.results[0], apart=True)
    v.vector("Div", out, [x, rest])
    v.vector("Ln", u, [u])
    v.vector("Mul", out, [out, u])
    v.vector("Select", out, [bits, x, out], TENSOR_MODE)
    v.vector("Select", out, [far, x, out], TENSOR_MODE)


def _expm1(v: Elements, op: Operation) -> None:
    """exp(x) - 1 as tanh(x / 2) · (exp(x) + 1)."""
    x = v.tile_of(op.operands[0])
    half = v.scratch("half_x", x.type, x.shape)
    v.vector("Muls", half, [x], number(0.5, x.type))
    out = v.result(op.results[0], apart=True)
    v.vector("Tanh", out, [half])
    v.vector("Exp", half, [x])
    v.vector("Adds", half, [half], number(1, x.type))
    v.vector("Mul", out, [out, half])


COMPOSED: dict[str, Callable[[Elements, Operation], None]] = {
    "arith.negf": _negated,
    "math.exp2": _exp2,
    "math.log2": _log2,
    "math.rsqrt": _rsqrt,
    "math.log1p": _log1p,
    "math.expm1": _expm1,
}
"""Ops that take several instructions."""
