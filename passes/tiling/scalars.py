"""What each pointwise graph op is in `arith` and `math`, on tiles: one row an op.

f16, bf16 and 8-bit floats are held in f32 between loads and stores; an explicit cast rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xdsl.dialects import arith
from xdsl.dialects import math as math_dialect
from xdsl.dialects.builtin import IntegerType, f32
from xdsl.ir import Attribute, Operation, SSAValue

from aicc.ir import graph, tile
from aicc.ir.dtypes import DType, dtype_of
from aicc.ir.op import GraphOp
from aicc.ir.tile.types import signless, tile_element, tile_shape
from aicc.ir.tile.types import tile as tile_type
from aicc.ir.types import element_type
from aicc.passes.tiling.nodes import Unsupported

_OPS: dict[str, type[Operation]] = {
    op.name: op for d in (arith.Arith, math_dialect.Math, tile.Tile) for op in d.operations
}


def computed(dtype: DType) -> Attribute:
    """The element type in which values of `dtype` are computed."""
    return f32 if dtype.is_low_precision_float else signless(dtype)


FLOAT8 = ("f8E4M3FN", "f8E5M2")
"""The 8-bit floats that kernels hold."""


NARROW = tuple(dtype_of(name).ir for name in ("f16", "bf16", *FLOAT8))
"""Floats that keep every bit on the way to f32 and back."""


class Scalars:
    """Builds arithmetic on tiles of one shape, op by op, through `insert`."""

    def __init__(self, insert: Callable[[Operation], Any]):
        self.insert = insert

    def op(self, name: str, *operands: SSAValue) -> SSAValue:
        cls: Any = _OPS[name]
        made = cls.make(*operands) if issubclass(cls, GraphOp) else cls(*operands)
        self.insert(made)
        return made.results[0]

    def full(self, value: bool | int | float, like: SSAValue) -> SSAValue:
        made = tile.Full.make(value=_number(value, like.type), result_types=[like.type])
        self.insert(made)
        return made.result

    def select(self, condition: SSAValue, true: SSAValue, false: SSAValue) -> SSAValue:
        made = tile.Select.make(condition, true, false)
        self.insert(made)
        return made.result

    def cast(self, x: SSAValue, element: Attribute, unsigned: bool = False) -> SSAValue:
        """The tile with elements of another type; `unsigned` says how integers are read."""
        if tile_element(x.type) == element:
            return x
        before = x.owner.input if isinstance(x.owner, tile.Cast) else x
        wider = tile_element(x.type) == f32 and element in NARROW
        if wider and tile_element(before.type) == element:
            return before
        goal = tile_type(tile_shape(x.type), element)
        made = tile.Cast.make(x, unsigned=unsigned, result_types=[goal])
        self.insert(made)
        return made.result

    def convert(self, x: SSAValue, source: DType, to: DType) -> SSAValue:
        """A value of dtype `source` as one of `to`, both held as `computed` says."""
        if to.kind == "bool":
            if source.kind == "bool":
                return x
            zero = self.full(0, x)
            return self.compare("une" if source.is_float else "ne", x, zero)
        unsigned = source.kind in ("uint", "bool") or (source.is_float and to.kind == "uint")
        if to.is_low_precision_float:
            wide = x if source.name == "f64" else self.cast(x, f32, unsigned)
            return self.cast(self.cast(wide, to.ir), f32)
        return self.cast(x, computed(to), unsigned)

    def compare(self, predicate: str, x: SSAValue, y: SSAValue) -> SSAValue:
        made = tile.Cmp.make(x, y, predicate=predicate)
        self.insert(made)
        return made.result


def _number(value: bool | int | float, type: Attribute) -> int | float:
    if isinstance(tile_element(type), IntegerType) or tile_element(type) == tile.INDEX:
        return int(value)
    return float(value)


Rule = Callable[[Scalars, Any, list[SSAValue], DType], SSAValue]
"""Makes the op from its operands; the dtype is that of the first operand."""


def apply(s: Scalars, op: GraphOp, args: list[SSAValue]) -> SSAValue:
    """The op on tiles of one shape. Raises Unsupported for what has no row."""
    rule = RULES.get(type(op))
    if rule is None:
        raise Unsupported(f"{op.kind} has no arithmetic on tiles")
    dtype = element_type(op.operands[0])
    if dtype.kind == "complex" or dtype.bits < 8:
        raise Unsupported(f"{op.kind} of {dtype}")
    return rule(s, op, args, dtype)


def implements(op: GraphOp) -> bool:
    return type(op) in RULES


def _by_kind(
    floats: str | None, ints: str | None = None, unsigned: str | None = None, bools=""
) -> Rule:
    """Ops by the dtype's kind; unsigned integers take the signed op unless they have their own."""

    def rule(s: Scalars, op: GraphOp, args: list[SSAValue], dtype: DType) -> SSAValue:
        names = {"float": floats, "int": ints, "uint": unsigned or ints, "bool": bools}
        name = names.get(dtype.kind)
        if not name:
            raise Unsupported(f"{op.kind} of {dtype}")
        return s.op(name, *args)

    return rule


def _float(name: str) -> Rule:
    return _by_kind(name)


def _compare(ints: str, floats: str) -> Rule:
    def rule(s: Scalars, op: GraphOp, args: list[SSAValue], dtype: DType) -> SSAValue:
        if dtype.is_float:
            return s.compare(floats, *args)
        signed = dtype.kind == "int" or ints in ("eq", "ne")
        return s.compare(ints if signed else "u" + ints.removeprefix("s"), *args)

    return rule


def _neg(s: Scalars, op: graph.Neg, args: list[SSAValue], dtype: DType) -> SSAValue:
    if dtype.is_float:
        return s.op("arith.negf", args[0])
    return s.op("arith.subi", s.full(0, args[0]), args[0])


def _abs(s: Scalars, op: graph.Abs, args: list[SSAValue], dtype: DType) -> SSAValue:
    return (
        args[0] if dtype.kind == "uint" else _by_kind("math.absf", "math.absi")(s, op, args, dtype)
    )


def _sign(s: Scalars, op: graph.Sign, args: list[SSAValue], dtype: DType) -> SSAValue:
    x = args[0]
    zero, one = s.full(0, x), s.full(1, x)
    above = _compare("sgt", "ogt")(s, op, [x, zero], dtype)
    if dtype.kind == "uint":
        return s.select(above, one, zero)
    below = _compare("slt", "olt")(s, op, [x, zero], dtype)
    rest = x if dtype.is_float else zero  # a NaN, or a zero with its sign
    return s.select(above, one, s.select(below, s.full(-1, x), rest))


def _not(s: Scalars, op: graph.Not, args: list[SSAValue], dtype: DType) -> SSAValue:
    return s.op("arith.xori", args[0], s.full(1 if dtype.kind == "bool" else -1, args[0]))


def _is_nan(s: Scalars, op: graph.IsNaN, args: list[SSAValue], dtype: DType) -> SSAValue:
    return s.compare("uno", args[0], args[0])


def _is_inf(s: Scalars, op: graph.IsInf, args: list[SSAValue], dtype: DType) -> SSAValue:
    x = args[0]
    high = s.compare("oeq", x, s.full(math.inf, x))
    low = s.compare("oeq", x, s.full(-math.inf, x))
    if op.detect_positive and op.detect_negative:
        return s.op("arith.ori", high, low)
    if op.detect_positive:
        return high
    return low if op.detect_negative else s.full(0, low)


def _reciprocal(s: Scalars, op: GraphOp, args: list[SSAValue], dtype: DType) -> SSAValue:
    return s.op("arith.divf", s.full(1, args[0]), args[0])


def _cast(s: Scalars, op: graph.Cast, args: list[SSAValue], dtype: DType) -> SSAValue:
    for d in (dtype, op.to):
        odd_float = d.is_float and d.bits == 8 and d.name not in FLOAT8
        if d.bits < 8 or odd_float or d.kind == "complex":
            raise Unsupported(f"a cast from {dtype} to {op.to}")
    if op.to.name not in FLOAT8:
        return s.convert(args[0], dtype, op.to)
    if not op.saturate:
        raise Unsupported(f"a cast to {op.to} that doesn't saturate")
    wide = s.convert(args[0], dtype, dtype_of("f32"))
    top = op.to.largest
    wide = s.op("arith.minimumf", wide, s.full(top, wide))
    wide = s.op("arith.maximumf", wide, s.full(-top, wide))
    return s.convert(wide, dtype_of("f32"), op.to)


def _mod(s: Scalars, op: graph.Mod, args: list[SSAValue], dtype: DType) -> SSAValue:
    x, y = args
    if dtype.kind == "uint":
        return s.op("arith.remui", x, y)
    if dtype.is_float:
        rest = s.op("tile.remf", x, y)
        zero = s.full(0, x)
        odd = s.compare("une", rest, zero)
        differ = s.op("arith.xori", s.compare("olt", rest, zero), s.compare("olt", y, zero))
        return s.select(s.op("arith.andi", odd, differ), s.op("arith.addf", rest, y), rest)
    rest = s.op("arith.remsi", x, y)
    zero = s.full(0, x)
    odd = s.compare("ne", rest, zero)
    differ = s.compare("slt", s.op("arith.xori", rest, y), zero)
    return s.select(s.op("arith.andi", odd, differ), s.op("arith.addi", rest, y), rest)


def _shift(left: bool) -> Rule:
    def rule(s: Scalars, op: GraphOp, args: list[SSAValue], dtype: DType) -> SSAValue:
        x, by = args
        signed = dtype.kind == "int"
        width = s.full(dtype.bits, by)
        inside = s.compare("ult", by, width)
        if not left and signed:
            return s.op("arith.shrsi", x, s.select(inside, by, s.full(dtype.bits - 1, by)))
        moved = s.op("arith.shli" if left else "arith.shrui", x, by)
        return s.select(inside, moved, s.full(0, x))

    return rule


def _pow(s: Scalars, op: graph.Pow, args: list[SSAValue], dtype: DType) -> SSAValue:
    x, y = args
    exponent = y.owner.value if isinstance(y.owner, tile.Full) else None
    power = element_type(op.operands[1])
    product = "arith.mulf" if dtype.is_float else "arith.muli"
    if exponent in (2, 3, 4) and (dtype.is_float or power.is_integer):
        square = s.op(product, x, x)
        if exponent == 2:
            return square
        return s.op(product, square, x if exponent == 3 else square)
    if exponent == 1:
        return x
    if not dtype.is_float:
        raise Unsupported(f"pow of {dtype}")
    if exponent == 0.5:
        return s.op("math.sqrt", x)
    if exponent == -1:
        return _reciprocal(s, op, args, dtype)
    if exponent == -0.5:
        return s.op("math.rsqrt", x)
    return s.op("math.powf", x, s.cast(y, tile_element(x.type), power.kind == "uint"))


def _select(s: Scalars, op: graph.Select, args: list[SSAValue], dtype: DType) -> SSAValue:
    return s.select(*args)


RULES: dict[type[GraphOp], Rule] = {
    graph.Abs: _abs,
    graph.Neg: _neg,
    graph.Sign: _sign,
    graph.Ceil: _float("math.ceil"),
    graph.Floor: _float("math.floor"),
    graph.Round: _float("math.roundeven"),
    graph.Trunc: _float("math.trunc"),
    graph.Exp: _float("math.exp"),
    graph.Expm1: _float("math.expm1"),
    graph.Log: _float("math.log"),
    graph.Log1p: _float("math.log1p"),
    graph.Sqrt: _float("math.sqrt"),
    graph.Rsqrt: _float("math.rsqrt"),
    graph.Reciprocal: _reciprocal,
    graph.Sin: _float("math.sin"),
    graph.Cos: _float("math.cos"),
    graph.Tan: _float("math.tan"),
    graph.Asin: _float("math.asin"),
    graph.Acos: _float("math.acos"),
    graph.Atan: _float("math.atan"),
    graph.Sinh: _float("math.sinh"),
    graph.Cosh: _float("math.cosh"),
    graph.Tanh: _float("math.tanh"),
    graph.Asinh: _float("math.asinh"),
    graph.Acosh: _float("math.acosh"),
    graph.Atanh: _float("math.atanh"),
    graph.Erf: _float("math.erf"),
    graph.Not: _not,
    graph.IsNaN: _is_nan,
    graph.IsInf: _is_inf,
    graph.Cast: _cast,
    graph.Add: _by_kind("arith.addf", "arith.addi"),
    graph.Sub: _by_kind("arith.subf", "arith.subi"),
    graph.Mul: _by_kind("arith.mulf", "arith.muli"),
    graph.Div: _by_kind("arith.divf", "arith.divsi", "arith.divui"),
    graph.Rem: _by_kind("tile.remf", "arith.remsi", "arith.remui"),
    graph.Mod: _mod,
    graph.Min: _by_kind("arith.minimumf", "arith.minsi", "arith.minui", "arith.andi"),
    graph.Max: _by_kind("arith.maximumf", "arith.maxsi", "arith.maxui", "arith.ori"),
    graph.Atan2: _float("math.atan2"),
    graph.And: _by_kind(None, "arith.andi", bools="arith.andi"),
    graph.Or: _by_kind(None, "arith.ori", bools="arith.ori"),
    graph.Xor: _by_kind(None, "arith.xori", bools="arith.xori"),
    graph.Shl: _shift(left=True),
    graph.Shr: _shift(left=False),
    graph.Pow: _pow,
    graph.Eq: _compare("eq", "oeq"),
    graph.Ne: _compare("ne", "une"),
    graph.Lt: _compare("slt", "olt"),
    graph.Le: _compare("sle", "ole"),
    graph.Gt: _compare("sgt", "ogt"),
    graph.Ge: _compare("sge", "oge"),
    graph.Select: _select,
}
