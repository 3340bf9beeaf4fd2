"""How each op on elements is written in C++: one row an op, over scalars and vectors alike."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Spelling:
    """A template over the operands' text; `unsigned` integers are taken as such and given back.

    `infix` says that the template is an operator, which takes a vector and a scalar together.
    """

    template: str
    infix: bool = False
    unsigned: bool = False


def _infix(symbol: str, unsigned: bool = False) -> Spelling:
    return Spelling(f"{{0}} {symbol} {{1}}", True, unsigned)


def _call(name: str, operands: int = 1, unsigned: bool = False) -> Spelling:
    return Spelling(f"{name}({', '.join(f'{{{i}}}' for i in range(operands))})", False, unsigned)


SPELLINGS: dict[str, Spelling] = {
    "arith.addf": _infix("+"),
    "arith.subf": _infix("-"),
    "arith.mulf": _infix("*"),
    "arith.divf": _infix("/"),
    "arith.negf": Spelling("-{0}", True),
    "arith.maximumf": _call("maximum", 2),
    "arith.minimumf": _call("minimum", 2),
    "arith.addi": _infix("+"),
    "arith.subi": _infix("-"),
    "arith.muli": _infix("*"),
    "arith.divsi": _call("quotient", 2),
    "arith.divui": _call("quotient", 2, unsigned=True),
    "arith.remsi": _call("rest", 2),
    "arith.remui": _call("rest", 2, unsigned=True),
    "arith.maxsi": _call("maximum", 2),
    "arith.minsi": _call("minimum", 2),
    "arith.maxui": _call("maximum", 2, unsigned=True),
    "arith.minui": _call("minimum", 2, unsigned=True),
    "arith.andi": _infix("&"),
    "arith.ori": _infix("|"),
    "arith.xori": _infix("^"),
    "arith.shli": _call("shift_left", 2),
    "arith.shrsi": _call("shift_right", 2),
    "arith.shrui": _call("shift_right", 2, unsigned=True),
    "tile.remf": _call("fmod", 2),
    "math.absf": _call("absolute"),
    "math.absi": _call("absolute"),
    "math.ceil": _call("ceil"),
    "math.floor": _call("floor"),
    "math.roundeven": _call("round_even"),
    "math.trunc": _call("trunc"),
    "math.exp": _call("exp"),
    "math.exp2": _call("exp2"),
    "math.expm1": _call("expm1"),
    "math.log": _call("log"),
    "math.log2": _call("log2"),
    "math.log1p": _call("log1p"),
    "math.sqrt": _call("sqrt"),
    "math.rsqrt": _call("rsqrt"),
    "math.sin": _call("sin"),
    "math.cos": _call("cos"),
    "math.tan": _call("tan"),
    "math.asin": _call("asin"),
    "math.acos": _call("acos"),
    "math.atan": _call("atan"),
    "math.sinh": _call("sinh"),
    "math.cosh": _call("cosh"),
    "math.tanh": _call("tanh"),
    "math.asinh": _call("asinh"),
    "math.acosh": _call("acosh"),
    "math.atanh": _call("atanh"),
    "math.erf": _call("erf"),
    "math.atan2": _call("atan2", 2),
    "math.powf": _call("power", 2),
}

TYPES: dict[str, str] = {
    "i1": "bool",
    "i8": "int8_t",
    "i16": "int16_t",
    "i32": "int32_t",
    "i64": "int64_t",
    "ui8": "int8_t",
    "ui16": "int16_t",
    "ui32": "int32_t",
    "ui64": "int64_t",
    "f16": "f16",
    "bf16": "bf16",
    "f8E4M3FN": "f8e4m3",
    "f8E5M2": "f8e5m2",
    "f32": "float",
    "f64": "double",
}
"""Element types in C++: in tiles integers are signless, and unsignedness is in the ops."""

REDUCE: dict[str, tuple[str, str]] = {
    "add": ("{0} + {1}", "sum"),
    "mul": ("{0} * {1}", "product"),
    "max": ("maximum({0}, {1})", "maximum"),
    "min": ("minimum({0}, {1})", "minimum"),
    "or": ("{0} | {1}", "any"),
    "and": ("{0} & {1}", "all_of"),
}
"""Reductions: of two values, and across a vector's lanes."""
