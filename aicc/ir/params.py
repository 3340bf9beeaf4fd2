"""Parameters of graph ops: MLIR properties with Python values.

An op declares ``axis: int = param(int)``; ``op.axis`` is then a Python int, while the op holds an
``IntegerAttr``. Each kind of parameter says here, once, how its value becomes an attribute, how it
prints and how it parses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from xdsl.dialects.builtin import (
    ArrayAttr,
    BoolAttr,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    f64,
)
from xdsl.dialects.builtin import i64 as i64_type
from xdsl.ir import Attribute
from xdsl.irdl import opt_prop_def, prop_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from aicc.ir.constants import DenseAttr, repr_float
from aicc.ir.dtypes import DType, dtype_of
from aicc.ir.symbols import SymExpr
from aicc.ir.text import raw_group, split_top_level
from aicc.ir.types import DimsAttr, format_dims, parse_dims


@dataclass(frozen=True)
class Kind:
    """How one kind of parameter is held, printed and parsed."""

    name: str
    encode: Callable[[Any], Attribute]
    decode: Callable[[Any], Any]
    print: Callable[[Printer, Any], None]
    parse: Callable[[Parser], Any]


def format_float(value: float) -> str:
    """The shortest text that reads back as the same double."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return repr_float(repr(value))


def _parse_float_text(text: str) -> float:
    return float(text.strip())


def _parse_int(parser: Parser) -> int:
    return parser.parse_integer(allow_boolean=False)


def _parse_float(parser: Parser) -> float:
    return float(_parse_number(parser))


def _parse_number(parser: Parser) -> int | float:
    negative = parser.parse_optional_punctuation("-") is not None
    if parser.parse_optional_keyword("inf"):
        return -math.inf if negative else math.inf
    if parser.parse_optional_keyword("nan"):
        return math.nan
    value = parser.parse_number(allow_boolean=False)
    return -value if negative else value


def _parse_dtype(parser: Parser) -> DType:
    return dtype_of(parser.parse_type())


def _parse_bool(parser: Parser) -> bool:
    return parser.parse_boolean()


def _parse_floats(parser: Parser) -> tuple[float, ...]:
    return tuple(_parse_float_text(t) for t in split_top_level(raw_group(parser, "[", "]")))


def _parse_ints(parser: Parser) -> tuple[int, ...]:
    try:
        return tuple(int(t) for t in split_top_level(raw_group(parser, "[", "]")))
    except ValueError as e:
        parser.raise_error(str(e))


def _checked_int(value: Any) -> Attribute:
    value = int(value)
    if not -(2**63) <= value < 2**63:
        raise VerifyException(f"{value} does not fit into 64 bits")
    return IntegerAttr(value, 64)


INT = Kind(
    "int",
    _checked_int,
    lambda a: a.value.data,
    lambda p, v: p.print_string(str(v)),
    _parse_int,
)
BOOL = Kind(
    "bool",
    lambda v: BoolAttr.from_bool(bool(v)),
    lambda a: bool(a.value.data),
    lambda p, v: p.print_string("true" if v else "false"),
    _parse_bool,
)
FLOAT = Kind(
    "float",
    lambda v: FloatAttr(float(v), f64),
    lambda a: a.value.data,
    lambda p, v: p.print_string(format_float(v)),
    _parse_float,
)
STR = Kind(
    "str",
    lambda v: StringAttr(v),
    lambda a: a.data,
    lambda p, v: p.print_string_literal(v),
    lambda parser: parser.parse_str_literal(),
)
INTS = Kind(
    "ints",
    lambda v: DenseArrayBase.from_list(i64_type, [int(d) for d in v]),
    lambda a: tuple(a.get_values()),
    lambda p, v: p.print_string("[" + ", ".join(map(str, v)) + "]"),
    _parse_ints,
)
DIMS = Kind(
    "dims",
    lambda v: v if isinstance(v, DimsAttr) else DimsAttr(_dims(v)),
    lambda a: a.data,
    lambda p, v: p.print_string(f"[{format_dims(v)}]"),
    lambda parser: parse_dims(parser, "[", "]"),
)
FLOATS = Kind(
    "floats",
    lambda v: ArrayAttr([FloatAttr(float(f), f64) for f in v]),
    lambda a: tuple(f.value.data for f in a.data),
    lambda p, v: p.print_string("[" + ", ".join(map(format_float, v)) + "]"),
    _parse_floats,
)
NUMBER = Kind(
    "number",
    lambda v: FloatAttr(v, f64) if isinstance(v, float) else _checked_int(v),
    lambda a: a.value.data,
    lambda p, v: p.print_string(format_float(v) if isinstance(v, float) else str(v)),
    lambda parser: _parse_number(parser),
)
"""An int or a float, as its text says: ``1`` or ``1.0``."""
DTYPE = Kind(
    "dtype",
    lambda v: dtype_of(v).ir,
    dtype_of,
    lambda p, v: p.print_attribute(v.ir),
    _parse_dtype,
)
DENSE = Kind(
    "dense",
    lambda v: v,
    lambda a: a,
    lambda p, v: p.print_attribute(v),
    lambda parser: parser.parse_attribute(),
)


def _dims(values: Any) -> list[int | SymExpr]:
    return [d if isinstance(d, SymExpr) else int(d) for d in values]


_BY_TYPE: dict[object, Kind] = {
    int: INT,
    bool: BOOL,
    float: FLOAT,
    str: STR,
    DType: DTYPE,
    DenseAttr: DENSE,
}

REQUIRED = object()


@dataclass
class Param:
    """One declared parameter: its kind, default (REQUIRED if none) and allowed values."""

    kind: Kind
    default: Any = REQUIRED
    choices: tuple[str, ...] = ()

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    def encode(self, value: Any) -> Attribute:
        if self.choices and value not in self.choices:
            raise VerifyException(f"expected one of {', '.join(self.choices)}, got {value!r}")
        return self.kind.encode(value)


def param(kind: Any, default: Any = REQUIRED, choices: tuple[str, ...] = ()) -> Any:
    """Declare a parameter of an op.

    `kind` is int, bool, float, str, DType, or one of INTS, DIMS, FLOATS. A parameter with a
    default is left out of the text where it has that value; default None makes it optional.
    """
    kind = kind if isinstance(kind, Kind) else _BY_TYPE[kind]
    field = prop_def(Attribute) if default is REQUIRED else opt_prop_def(Attribute)
    cast(Any, field).graph_param = Param(kind, default, choices)
    return field
