"""Values that the scalar unit computes element by element: indices, integers, masks of bounds.

They have no tile: where one is needed, at a place, its expression is written there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from xdsl.dialects.builtin import IndexType, IntegerType, i1
from xdsl.ir import Block, Operation, SSAValue

from aicc.backends.ascendc.locals import Local
from aicc.backends.c_text import Unprintable, bracketed, dim_text, plus
from aicc.backends.printing import PREDICATES
from aicc.ir import tile
from aicc.ir.dtypes import dtype_of
from aicc.ir.symbols import Dim
from aicc.ir.tile.extents import Extents
from aicc.ir.tile.types import bind, tile_element

INFIX = {
    **{"arith.addi": "+", "arith.subi": "-", "arith.muli": "*", "arith.andi": "&"},
    **{"arith.ori": "|", "arith.xori": "^"},
}
HELPERS = {
    "arith.divsi": "Quotient",
    "arith.divui": "Quotient",
    "arith.remsi": "Rest",
    "arith.remui": "Rest",
    "arith.maxsi": "Larger",
    "arith.minsi": "Smaller",
    "arith.maxui": "Larger",
    "arith.minui": "Smaller",
    "arith.shli": "ShiftedLeft",
    "arith.shrsi": "ShiftedRight",
    "arith.shrui": "ShiftedRight",
}
"""Ops of integers that the file's own helpers do; those of unsigned ones on unsigned types."""

HELPER_SOURCE = """\
// Integers on the scalar unit. Division by zero gives zero, as does a shift past the end.
template <class T> __aicore__ inline T Quotient(T x, T y) { return y == 0 ? T(0) : T(x / y); }
template <class T> __aicore__ inline T Rest(T x, T y) { return y == 0 ? T(0) : T(x % y); }
template <class T> __aicore__ inline T Larger(T x, T y) { return x > y ? x : y; }
template <class T> __aicore__ inline T Smaller(T x, T y) { return x < y ? x : y; }
template <class T> __aicore__ inline T ShiftedLeft(T x, T y) {
  return y < T(0) || y >= T(8 * sizeof(T)) ? T(0) : T(x << y);
}
template <class T> __aicore__ inline T ShiftedRight(T x, T y) {
  return y < T(0) || y >= T(8 * sizeof(T)) ? T(x < T(0) ? -1 : 0) : T(x >> y);
}
__aicore__ inline int64_t floordiv(int64_t x, int64_t y) {
  return y == 0 ? 0 : x / y - (x % y != 0 && (x < 0) != (y < 0));
}
__aicore__ inline int64_t mod(int64_t x, int64_t y) { return y == 0 ? 0 : x - floordiv(x, y) * y; }
"""


def is_float(value: SSAValue) -> bool:
    element = tile_element(value.type)
    return not isinstance(element, (IndexType, IntegerType))


def is_bool(value: SSAValue) -> bool:
    return tile_element(value.type) == i1


def integer_type(element: object, unsigned: bool = False) -> str:
    """The C++ type in which the scalar unit holds an integer."""
    if isinstance(element, IndexType):
        return "int64_t"
    assert isinstance(element, IntegerType)
    if element == i1:
        return "bool"
    return f"{'u' if unsigned else ''}int{element.width.data}_t"


def simplified(name: str, x: str, y: str = "") -> str | None:
    """An op where an operand is 0 or 1, or where both are numbers."""
    if name == "arith.muli":
        if "0" in (x, y):
            return "0"
        if "1" in (x, y):
            return x if y == "1" else y
        return str(int(x) * int(y)) if x.isdigit() and y.isdigit() else None
    if name == "arith.addi" and "0" in (x, y):
        return x if y == "0" else y
    if name == "arith.divui" and (x == "0" or y == "1"):
        return x
    return "0" if name == "arith.remui" and (x == "0" or y == "1") else None


class Indices:
    """Writes expressions of scalars. `locals` are the values that have tiles instead."""

    def __init__(self, extents: Extents):
        self.extents = extents
        self.kernel = extents.kernel
        self.locals: dict[SSAValue, Local] = {}
        self.names: dict[SSAValue, str] = {}
        self.touched: Callable[[Local], None] = lambda local: None

    # ------------------------------------------------------------------ what is where

    def values_below(self, *values: SSAValue | None) -> Iterator[SSAValue]:
        """What values' expressions are made of, themselves too, down to names and tiles."""
        pending, seen = [v for v in values if v is not None], set[SSAValue]()
        while pending:
            v = pending.pop()
            if v in seen or v in self.names:
                continue
            seen.add(v)
            yield v
            if v not in self.locals and isinstance(v.owner, Operation):
                pending += [x for x in v.owner.operands if not isinstance(x.type, tile.BufferType)]

    def locals_below(self, *values: SSAValue | None) -> list[Local]:
        """The tiles that values' expressions read."""
        found = (self.locals[v] for v in self.values_below(*values) if v in self.locals)
        return list(dict.fromkeys(found))

    def shape(self, value: SSAValue) -> tuple[int, ...]:
        return self.extents.shape(value)

    # ------------------------------------------------------------------ expressions

    def dim(self, d: Dim) -> str:
        return dim_text(bind(d, self.kernel.schedule))

    def text(self, value: SSAValue, at: Sequence[str] = ()) -> str:
        """The element of a value at an index for each of its dims."""
        if value in self.names:
            return self.names[value]
        shape = self.shape(value)
        at = ["0" if d == 1 else i for d, i in zip(shape, at, strict=True)] if shape else []
        if value in self.locals:
            local = self.locals[value]
            self.touched(local)
            text = f"{local.name}.GetValue({local.position(at)})"
            return f"({text} != static_cast<half>(0))" if is_bool(value) else text
        op = value.owner
        if isinstance(op, Block):
            raise Unprintable("a carried value without a tile")
        return self.op_text(op, value, at)

    def op_text(self, op: Operation, value: SSAValue, at: Sequence[str]) -> str:
        element = tile_element(value.type)
        if isinstance(op, tile.Size):
            return self.dim(op.value[0])
        if isinstance(op, tile.Full):
            number = int(op.value)
            if element == i1:
                return "true" if number else "false"
            kind = integer_type(element)
            return (
                str(number) if kind == "int64_t" and abs(number) < 2**31 else f"{kind}({number}LL)"
            )
        if isinstance(op, tile.Axis):
            return plus(bracketed(self.text(op.start)), at[op.dim] if at else "0")
        if isinstance(op, tile.InBounds):
            axis = op.axis.owner
            assert isinstance(axis, tile.Axis)
            return f"({self.text(op.axis, at)} < {bracketed(self.dim(axis.bound[0]))})"
        if isinstance(op, (tile.Broadcast, tile.Reshape, tile.Transpose)):
            return self.text(op.input, self.moved(op, at))
        if isinstance(op, tile.Select):
            c, x, y = (self.text(v, self.fitted(v, at)) for v in (op.condition, op.true, op.false))
            return f"({c} ? {x} : {y})"
        if isinstance(op, tile.Cast):
            return self.cast_text(op, at)
        parts = [self.text(v, self.fitted(v, at)) for v in op.operands]
        if isinstance(op, tile.Cmp):
            if op.predicate not in PREDICATES:
                raise Unprintable(f"a comparison {op.predicate} on the scalar unit")
            if op.predicate.startswith("u") and op.predicate != "une":
                kind = integer_type(tile_element(op.x.type), True)
                parts = [f"static_cast<{kind}>({p})" for p in parts]
            return f"({bracketed(parts[0])} {PREDICATES[op.predicate]} {bracketed(parts[1])})"
        kind = integer_type(element)
        if (simple := simplified(op.name, *parts)) is not None:
            return simple
        if op.name in INFIX:
            sign = INFIX[op.name]
            if kind == "bool":
                sign = {"&": "&&", "|": "||", "^": "!="}[sign]
                return f"({parts[0]} {sign} {parts[1]})"
            if kind == "int64_t" and sign == "+":
                return plus(*map(bracketed, parts))
            text = f"{bracketed(parts[0])} {sign} {bracketed(parts[1])}"
            return text if kind == "int64_t" else f"static_cast<{kind}>({text})"
        if op.name in HELPERS:
            literal = parts[1].isdigit() and parts[1] != "0" and kind == "int64_t"
            if literal and op.name in ("arith.divui", "arith.remui"):
                return f"{bracketed(parts[0])} {'/' if 'div' in op.name else '%'} {parts[1]}"
            working = integer_type(element, op.name.endswith("ui"))
            call = f"{HELPERS[op.name]}<{working}>({', '.join(parts)})"
            return call if working == kind else f"static_cast<{kind}>({call})"
        if op.name == "math.absi":
            return f"static_cast<{kind}>({parts[0]} < 0 ? -{bracketed(parts[0])} : {parts[0]})"
        raise Unprintable(f"{op.name} of {element}")

    def cast_text(self, op: tile.Cast, at: Sequence[str]) -> str:
        text = self.text(op.input, self.fitted(op.input, at))
        goal, source = tile_element(op.result.type), tile_element(op.input.type)
        if is_float(op.result):
            raise Unprintable(f"a cast to {goal} on the scalar unit")
        if is_float(op.input):
            if not isinstance(goal, IndexType) and dtype_of(source).name != "f32":
                text = f"static_cast<float>({text})"
            if op.unsigned:
                return f"static_cast<{integer_type(goal)}>(static_cast<uint64_t>({text}))"
            return f"static_cast<{integer_type(goal)}>(static_cast<int64_t>({text}))"
        if goal == i1:
            return f"({text} != 0)"
        if op.unsigned and source != i1:
            text = f"static_cast<{integer_type(source, True)}>({text})"
        return f"static_cast<{integer_type(goal)}>({text})"

    def fitted(self, value: SSAValue, at: Sequence[str]) -> Sequence[str]:
        """An index for a value of lower rank, or of dims of one."""
        shape = self.shape(value)
        return list(at)[len(at) - len(shape) :]

    def moved(self, op: Operation, at: Sequence[str]) -> Sequence[str]:
        """Where in its operand the element of a result is."""
        source = self.shape(op.operands[0])
        if isinstance(op, tile.Broadcast):
            return self.fitted(op.operands[0], at)
        if isinstance(op, tile.Transpose):
            back = [""] * len(source)
            for i, p in enumerate(op.perm):
                back[p] = at[i]
            return back
        goal = self.shape(op.results[0])
        if [d for d in source if d != 1] == [d for d in goal if d != 1]:
            rest = [i for i, d in zip(at, goal, strict=True) if d != 1]
            return [rest.pop(0) if d != 1 else "0" for d in source]
        flat, step = "0", 1
        for i, d in zip(reversed(at), reversed(goal), strict=True):
            flat = plus(flat, "0" if i == "0" else f"{bracketed(i)} * {step}")
            step *= d
        found, step = [], 1
        for d in reversed(source):
            found.append("0" if d == 1 else f"{bracketed(flat)} / {step} % {d}")
            step *= d
        return found[::-1]

    # ------------------------------------------------------------------ steps

    def step_of(self, value: SSAValue, dim: int) -> Dim | None:
        """What an index grows by along a dim of its shape; None where it isn't one number."""
        shape = self.shape(value)
        if value in self.names or not shape or shape[dim] == 1:
            return 0
        op = value.owner
        if value in self.locals or isinstance(op, Block):
            return None
        if isinstance(op, tile.Axis):
            return int(op.dim == dim)
        if isinstance(op, (tile.Size, tile.Full)):
            return 0
        if isinstance(op, tile.Broadcast):
            inner = self.shape(op.input)
            back = dim - (len(shape) - len(inner))
            return self.step_of(op.input, back) if back >= 0 else 0
        if isinstance(op, (tile.Reshape, tile.Transpose)):
            return None
        parts = [self.step_of(v, dim) for v in op.operands]
        if any(p is None for p in parts):
            return None
        if op.name == "arith.addi":
            return parts[0] + parts[1]  # type: ignore[operator]
        if op.name == "arith.subi":
            return parts[0] - parts[1]  # type: ignore[operator]
        if op.name == "arith.muli":
            for one, other in ((0, 1), (1, 0)):
                size = self.extents.size_of(op.operands[other])
                if parts[other] == 0 and size is not None:
                    return parts[one] * size  # type: ignore[operator]
        return 0 if not any(parts) else None

    def address_step(self, op: tile.Access, dim: int) -> Dim | None:
        """How far apart elements are along a dim; None where that isn't one number."""
        total: Dim = 0
        for s, stride in zip(op.subscripts, op.strides, strict=True):
            step = self.step_of(s, dim) if self.shape(s) else 0
            if step is None:
                return None
            total = total + step * bind(stride, self.kernel.schedule)
        return total

    def address(self, op: tile.Access, at: Sequence[str]) -> str:
        terms = [self.dim(op.offset[0])]
        for s, stride in zip(op.subscripts, op.strides, strict=True):
            text = self.text(s, self.fitted(s, at))
            stride = bind(stride, self.kernel.schedule)
            if stride == 0 or text == "0":
                continue
            factor = "" if stride == 1 else f" * {bracketed(dim_text(stride))}"
            terms.append(f"{bracketed(text)}{factor}" if factor else text)
        return plus(*terms)
