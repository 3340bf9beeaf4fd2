"""Ops element by element: arithmetic, masks, casts, and tiles in other shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from xdsl.dialects import scf
from xdsl.dialects.builtin import IndexType, IntegerType, i1
from xdsl.ir import Operation, SSAValue

from aicc.backends.ascendc.indices import is_bool, is_float
from aicc.backends.ascendc.loads import Loads
from aicc.backends.ascendc.locals import Local, row_dim
from aicc.backends.ascendc.spellings import (
    BINARY,
    COMPARISONS,
    MIRRORED,
    SCALAR,
    SIZES,
    number,
)
from aicc.backends.c_text import Unprintable, bracketed
from aicc.ir import tile
from aicc.ir.tile.types import bind, tile_element

parts_of = tile.Access.parts_of

SCALAR_MODE = "SELMODE::VSEL_TENSOR_SCALAR_MODE"
TENSOR_MODE = "SELMODE::VSEL_TENSOR_TENSOR_MODE"


LARGEST = 2**23
"""Whole numbers up to which are exact as floats, with room for as many more."""


OF_INDICES = {"eq": "EQ", "ne": "NE", "slt": "LT", "sle": "LE", "sgt": "GT", "sge": "GE"}
"""Comparisons of integers."""


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
            there = out.position(place)
            to = out.name if there == "0" else f"{out.name}[{there}]"
            text = f"Adds({to}, {ramp.name}, "
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
        if (whole or not carries_on(op.result)) and (loaded := filled_load(op)) is not None:
            self.locals[op.result] = self.tile_of(loaded)
            return
        if ends is not None and op.true in self.locals:
            if not carries_on(op.result):
                self.locals[op.result] = self.locals[op.true]  # beyond the ends nothing counts
                return
            if (c := self.constant(op.false)) is not None and is_float(op.result):
                return self.cut(op, ends, c)
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


def filled_load(op: tile.Select) -> SSAValue | None:
    """The masked load that gives what a select chooses where the same mask is false."""
    load, other = op.true.owner, op.false
    while isinstance(other.owner, (tile.Broadcast, tile.Reshape)):
        other = other.owner.input
    if not isinstance(load, tile.Load) or not isinstance(other.owner, tile.Full):
        return None
    if (load.other or 0) != other.owner.value:
        return None
    wanted = {
        c for c in tile.Access.parts_of(op.condition) if not isinstance(c.owner, tile.InBounds)
    }
    given = {c for c in load.conditions() if not isinstance(c.owner, tile.InBounds)}
    return op.true if wanted == given else None


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


def carries_on(value: SSAValue) -> bool:
    """Whether a loop carries what is made of a value place by place, all of the tile."""
    pending, seen = [value], set[SSAValue]()
    while pending:
        v = pending.pop()
        if v in seen:
            continue
        seen.add(v)
        for use in v.uses:
            if isinstance(use.operation, scf.YieldOp):
                return True
            if not isinstance(use.operation, (tile.Reduce, tile.Dot, tile.Store)):
                pending += use.operation.results
    return False


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
