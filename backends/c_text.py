"""Pieces of C++ source: names, numbers, sizes and types."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from xdsl.dialects.builtin import IndexType, IntegerType
from xdsl.ir import Attribute

from aicc.backends.c_spellings import SPELLINGS, TYPES
from aicc.ir.dtypes import dtype_of
from aicc.ir.symbols import Call, Dim, product

INDENT = "  "

KEYWORDS = set(
    [
        "alignas",
        "and",
        "asm",
        "auto",
        "bool",
        "break",
        "case",
        "catch",
        "char",
        "class",
        "const",
        "constexpr",
        "continue",
        "default",
        "delete",
        "do",
        "double",
        "else",
        "enum",
        "explicit",
        "export",
        "extern",
        "false",
        "float",
        "for",
        "friend",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "mutable",
        "namespace",
        "new",
        "not",
        "operator",
        "or",
        "private",
        "protected",
        "public",
        "register",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "template",
        "this",
        "throw",
        "true",
        "try",
        "typedef",
        "typename",
        "union",
        "unsigned",
        "using",
        "virtual",
        "void",
        "volatile",
        "while",
        "xor",
    ]
)
RESERVED = KEYWORDS | {
    *("aicc", "std", "vec", "mask", "all", "part", "first", "any", "sum", "product", "select"),
    *(
        "convert",
        "copy",
        "fill",
        "gather",
        "scatter",
        "sweep",
        "dot",
        "matrix",
        "best",
        "iota",
        "each",
        "W",
    ),
    *("load_where", "store_where", "load_strided", "store_strided", "floordiv", "mod", "lanes"),
    *(
        "buffers",
        "sizes",
        "program",
        "f16",
        "bf16",
        "f8e4m3",
        "f8e5m2",
        "main",
        "lowest",
        "highest",
        "run_programs",
    ),
    *("i", "h", "g", "f", "e", "j", "first_j"),
    *("accumulators", "a", "b", "u", "length", "sweep_unrolled", "extreme"),
    *(s.template.split("(")[0] for s in SPELLINGS.values() if "(" in s.template),
}


class Unprintable(Exception):
    """An op or type that the printer has no words for."""


def type_name(element: Attribute) -> str:
    """The C++ type of a tile's or buffer's elements."""
    if isinstance(element, IndexType):
        return "int64_t"
    name = dtype_of(element).name
    if name not in TYPES:
        raise Unprintable(f"elements of {name}")
    return TYPES[name]


def number(value: int | float | bool, element: Attribute) -> str:
    """A constant of an element type."""
    name = type_name(element)
    if isinstance(element, IntegerType) and element.width.data == 1:
        return "true" if value else "false"
    if name in ("float", "double"):
        value = float(value)
        limits = f"std::numeric_limits<{name}>"
        if math.isnan(value):
            return f"{limits}::quiet_NaN()"
        if math.isinf(value):
            return f"{'-' if value < 0 else ''}{limits}::infinity()"
        text = repr(value)
        return text + ("f" if name == "float" else "")
    if name in ("f16", "bf16", "f8e4m3", "f8e5m2"):
        return f"convert<{name}>({float(value)!r}f)"
    if name == "int64_t":
        if value == -(2**63):
            return "std::numeric_limits<int64_t>::min()"
        return f"int64_t({int(value)})" if abs(int(value)) < 2**31 else f"INT64_C({int(value)})"
    return f"{name}({int(value)})"


def dim_text(d: Dim) -> str:
    """A size as a C++ expression of 64-bit integers."""
    if isinstance(d, int):
        return str(d) if abs(d) < 2**31 else f"INT64_C({d})"
    parts: list[str] = []
    for monomial, coefficient in d.terms:
        factors = [_atom(a) for a in monomial]
        if abs(coefficient) != 1:
            factors.insert(0, str(abs(coefficient)))
        sign = ("-" if coefficient < 0 else "") if not parts else (" - ", " + ")[coefficient > 0]
        parts.append(sign + " * ".join(factors))
    if d.constant:
        parts.append(f"{' - ' if d.constant < 0 else ' + '}{abs(d.constant)}")
    return "".join(parts)


def _atom(atom: str | Call) -> str:
    if not isinstance(atom, Call):
        return cpp_name(atom)
    args = [dim_text(a) for a in atom.args]
    if atom.function in ("floordiv", "mod"):
        return f"{atom.function}({', '.join(args)})"
    text = args[0]
    for other in args[1:]:
        text = f"std::{atom.function}<int64_t>({text}, {other})"
    return text


def program_text(grid: Sequence[Dim], axis: int) -> str:
    """The place along an axis of a grid, row-major, of the program of a number."""
    if grid[axis] == 1:
        return "0"
    later, text = product(grid[axis + 1 :]), "program"
    if later != 1:
        text += f" / {bracketed(dim_text(later))}"
    if product(grid[:axis]) != 1:
        text += f" % {bracketed(dim_text(grid[axis]))}"
    return text


def is_plain(text: str) -> bool:
    """A name or a number."""
    return text.isidentifier() or bool(re.fullmatch(r"\d[\w.]*(e-\d+f?)?", text))


def bracketed(text: str) -> str:
    return text if is_plain(text) or _one_call(text) else f"({text})"


def _one_call(text: str) -> bool:
    """One call or subscript from end to end, as in ``f(x, y)``."""
    found = re.match(r"[A-Za-z_][\w:<>*]*[(\[]", text)
    if found is None or text[-1] not in ")]":
        return False
    depth = 0
    for i, c in enumerate(text):
        depth += (c in "([") - (c in ")]")
        if depth == 0 and i >= found.end() and i < len(text) - 1:
            return False
    return True


def times(text: str, factor: Dim) -> str:
    """A product of an index and a stride."""
    if factor == 1:
        return text
    if text == "0" or factor == 0:
        return "0"
    return f"{bracketed(text)} * {bracketed(dim_text(factor))}"


def plus(*terms: str) -> str:
    """A sum without zeros."""
    kept = [t for t in terms if t != "0"]
    return " + ".join(kept) or "0"


def cpp_name(symbol: str) -> str:
    name = re.sub(r"\W", "_", symbol)
    return f"{name}_" if name in RESERVED else name


def kernel_name(symbol: str) -> str:
    """A kernel's name in C++: none that the C library has."""
    return f"{cpp_name(symbol)}_kernel"
