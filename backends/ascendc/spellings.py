"""How tiles are spelled in Ascend C: one row an op or a type."""

from __future__ import annotations

import math
from collections.abc import Mapping

from aicc.backends.c_text import Unprintable
from aicc.ir.dtypes import DType

TYPES: Mapping[str, str] = {
    "i1": "uint8_t",
    "i8": "int8_t",
    "i16": "int16_t",
    "i32": "int32_t",
    "i64": "int64_t",
    "ui8": "uint8_t",
    "ui16": "int16_t",
    "ui32": "int32_t",
    "ui64": "int64_t",
    "f16": "half",
    "bf16": "bfloat16_t",
    "f32": "float",
}
"""Element types in memory; of wide unsigned ones the ops know that they are."""

SIZES: Mapping[str, int] = {
    **{"uint8_t": 1, "int8_t": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4, "uint32_t": 4},
    **{"int64_t": 8, "uint64_t": 8, "half": 2, "bfloat16_t": 2, "float": 4},
}
"""Bytes of each."""


def memory_type(dtype: DType) -> str:
    """The element type of a buffer. Raises Unprintable."""
    if dtype.name not in TYPES:
        raise Unprintable(f"elements of {dtype}, which the chip doesn't have")
    return TYPES[dtype.name]


def number(value: float, type: str) -> str:
    """A constant of an element type of the vector unit."""
    value = float(value)
    if type not in ("float", "half", "bfloat16_t"):
        return f"static_cast<{type}>({int(value)}LL)"
    if math.isnan(value):
        text = "NAN"
    elif math.isinf(value):
        text = "-INFINITY" if value < 0 else "INFINITY"
    else:
        text = f"{value!r}f"
    return text if type == "float" else f"static_cast<{type}>({text})"


BINARY: Mapping[str, str] = {
    "arith.addf": "Add",
    "arith.subf": "Sub",
    "arith.mulf": "Mul",
    "arith.divf": "Div",
    "arith.maximumf": "Max",
    "arith.minimumf": "Min",
    "tile.remf": "Fmod",
    "math.powf": "Power",
}
"""Instructions of two tiles."""

SCALAR: Mapping[str, str] = {
    "arith.addf": "Adds",
    "arith.mulf": "Muls",
    "arith.maximumf": "Maxs",
    "arith.minimumf": "Mins",
}
"""Those of a tile and a number, which may change places."""

UNARY: Mapping[str, str] = {
    "math.exp": "Exp",
    "math.log": "Ln",
    "math.sqrt": "Sqrt",
    "math.absf": "Abs",
}
"""Instructions of one tile, which the result may overwrite."""

ADVANCED: Mapping[str, str] = {
    f"math.{name}": name.capitalize()
    for name in (
        *("tanh", "erf", "sin", "cos", "tan", "asin", "acos", "atan"),
        *("sinh", "cosh", "asinh", "acosh", "atanh"),
    )
}
"""Functions of several instructions, whose result lies apart from the operand."""

ROUNDING: Mapping[str, str] = {
    "math.floor": "CAST_FLOOR",
    "math.ceil": "CAST_CEIL",
    "math.trunc": "CAST_TRUNC",
    "math.roundeven": "CAST_RINT",
}
"""Roundings: a cast to the operand's own type."""

COMPARISONS: Mapping[str, str] = {
    "oeq": "EQ",
    "une": "NE",
    "olt": "LT",
    "ole": "LE",
    "ogt": "GT",
    "oge": "GE",
}
MIRRORED: Mapping[str, str] = {"LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE"}
"""Comparisons of tiles of numbers, and each with its sides changed."""

REDUCTIONS: Mapping[str, tuple[str, str]] = {
    "add": ("ReduceSum", "Add"),
    "max": ("ReduceMax", "Max"),
    "min": ("ReduceMin", "Min"),
    "or": ("ReduceMax", "Max"),
    "and": ("ReduceMin", "Min"),
    "mul": ("", "Mul"),
}
"""Reductions: of a row, and of two rows; with Whole before, of a repeat."""
