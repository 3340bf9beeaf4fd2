"""What targets that print source have in common: names, comparisons, where kernels come from."""

from __future__ import annotations

import re

from xdsl.ir import Operation

from aicc.ir import graph
from aicc.ir.constants import DenseAttr

PREDICATES: dict[str, str] = {
    "oeq": "==",
    "une": "!=",
    "olt": "<",
    "ole": "<=",
    "ogt": ">",
    "oge": ">=",
    "eq": "==",
    "ne": "!=",
    "slt": "<",
    "sle": "<=",
    "sgt": ">",
    "sge": ">=",
    "ult": "<",
    "ule": "<=",
    "ugt": ">",
    "uge": ">=",
}
"""Comparisons but `uno`; those that begin with u, `une` aside, are of unsigned integers."""


def fresh_name(hint: str | None, taken: set[str]) -> str:
    """A name of a variable like the hint that isn't taken; it is then."""
    base = "".join(c if c.isalnum() and c.isascii() else "_" for c in hint or "v").strip("_")
    if not base or base[0].isdigit():
        base = f"v{base}"
    name, i = base, 1
    while name in taken:
        name, i = f"{base}_{i}", i + 1
    taken.add(name)
    return name


LONGEST_NAME = 300


def plain(text: str) -> str:
    """A name of the model's as it may stand in a comment or a docstring of any language.

    Nothing in it can end those: no line ends, double quotes, backslashes or C's comment marks.
    """
    kept = "".join(c if c.isprintable() else " " for c in text[:LONGEST_NAME])
    kept = kept.replace('"', "'").replace("\\", "/").replace("??/", "?? /")
    return kept.replace("*/", "* /").replace("/*", "/ *")


def origin_text(op: Operation, otherwise: str) -> str:
    """Where in the model an op comes from; `otherwise` if that isn't known."""
    names = re.findall(r'"([^"\\]*)"', str(op.location))
    return plain(": ".join(names) or otherwise)


def name_constant(constants: dict[str, DenseAttr], op: graph.Constant) -> str:
    """The name of a constant among those that a source reads, to which it is added."""
    key = hint = op.value.resource or op.result.name_hint or "constant"
    i = 1
    while key in constants and constants[key] is not op.value:
        key, i = f"{hint}_{i}", i + 1
    constants[key] = op.value
    return key
