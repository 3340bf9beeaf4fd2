"""How one op on elements is written, over scalars and vectors."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import IndexType, IntegerType, i1
from xdsl.ir import Attribute, Operation

from aicc.backends.c_spellings import SPELLINGS
from aicc.backends.c_text import Unprintable, bracketed, number, plus, type_name
from aicc.backends.printing import PREDICATES
from aicc.ir import tile
from aicc.ir.symbols import Dim


@dataclass(frozen=True)
class Value:
    """A value in a nest: its text, the depth of loops that it is known in, and its lanes.

    `wide` is a vector or a mask. An index that isn't is `text + step * (j + lane)`, with j the
    innermost loop's counter.
    """

    text: str
    depth: int = 0
    wide: bool = False
    step: Dim = 0


TRUE = Value("true")


def broad(v: Value, type: str) -> str:
    """The text of a value as a vector, or a mask."""
    if v.wide:
        return v.text
    if type == "bool":
        return f"mask({v.text})"
    return f"vec<{type}>({v.text})"


INDEX_INFIX = {
    "arith.addi": "+",
    "arith.subi": "-",
    "arith.muli": "*",
    "arith.divui": "/",
    "arith.divsi": "/",
    "arith.remui": "%",
    "arith.remsi": "%",
}


def index_text(name: str, x: str, y: str) -> str:
    """An op on two indices; division is only as it stands where it can't be by zero."""
    if name == "arith.addi":
        return plus(x, bracketed(y))
    if name == "arith.muli" and "0" in (x, y):
        return "0"
    if name == "arith.muli" and "1" in (x, y):
        return x if y == "1" else y
    if name in INDEX_INFIX:
        sign = INDEX_INFIX[name]
        if sign in "/%" and not (y.isdigit() and y != "0"):
            function = {"/": "quotient", "%": "rest"}[sign]
            return f"{function}<int64_t>({x}, {y})"
        return f"{bracketed(x)} {sign} {bracketed(y)}"
    functions = {"max": "maximum", "min": "minimum"}
    kind = name.removeprefix("arith.")[:3]
    if kind not in functions:
        raise Unprintable(f"{name} of indices")
    return f"{functions[kind]}<int64_t>({x}, {y})"


def neutral_text(kind: str, element: Attribute) -> str:
    """What changes nothing when it is combined with."""
    type = type_name(element)
    if type == "bool":
        return "true" if kind == "and" else "false"
    if kind in ("max", "min"):
        limits = f"std::numeric_limits<{type}>"
        if type in ("float", "double"):
            return f"{'-' if kind == 'max' else ''}{limits}::infinity()"
        return f"{limits}::{'lowest' if kind == 'max' else 'max'}()"
    return number(1 if kind == "mul" else 0, element)


def simplified(op: Operation, operands: list[Value]) -> Value | None:
    """What an op with a mask that always holds comes to."""
    texts = [v.text for v in operands]
    if op.name == "arith.andi" and "true" in texts:
        return operands[1 - texts.index("true")]
    if op.name == "arith.ori" and "true" in texts:
        return TRUE
    if isinstance(op, tile.Select) and texts[0] == "true":
        return operands[1]
    return None


def op_text(
    op: Operation,
    operands: list[Value],
    sources: list[Attribute],
    element: Attribute,
    wide: bool,
) -> str:
    """An op on elements: on vectors if any operand is one, else on scalars."""
    types = [type_name(s) for s in sources]
    if isinstance(op, tile.Select):
        if not wide:
            return f"select<{type_name(element)}>({', '.join(v.text for v in operands)})"
        c, x, y = operands
        parts = [broad(c, "bool"), *(broad(v, types[1]) for v in (x, y))]
        return f"select({', '.join(parts)})"
    if isinstance(op, tile.Cast):
        return cast_text(op, operands[0].text, sources[0], element)
    if isinstance(op, tile.Cmp):
        return compare_text(op, operands, types[0])
    spelling = SPELLINGS.get(op.name)
    if spelling is None:
        raise Unprintable(f"the op {op.name}")
    unsigned = spelling.unsigned
    if isinstance(element, IntegerType) and element == i1:
        unsigned = False
    texts = []
    for v, type in zip(operands, types, strict=True):
        text = v.text
        if wide and not v.wide and not (spelling.infix and type != "bool"):
            text = broad(v, type)
        texts.append(f"as_unsigned({text})" if unsigned else text)
    if spelling.infix:
        texts = [bracketed(t) for t in texts]
    made = spelling.template.format(*texts)
    if unsigned:
        return f"as_signed({made})"
    if not wide and spelling.infix and type_name(element) in ("int8_t", "int16_t"):
        made = f"{type_name(element)}({made})"
    if not wide and type_name(element) == "bool" and spelling.infix:
        made = f"bool({made})"
    return made


def cast_text(op: tile.Cast, text: str, source: Attribute, goal: Attribute) -> str:
    from_integer = isinstance(source, IntegerType) and source.width.data > 1
    to_integer = isinstance(goal, IntegerType) and goal.width.data > 1
    if op.unsigned and from_integer:
        text = f"as_unsigned({text})"
    if op.unsigned and to_integer and not isinstance(source, (IntegerType, IndexType)):
        return f"as_signed(convert<u{type_name(goal)}>({text}))"
    return f"convert<{type_name(goal)}>({text})"


def compare_text(op: tile.Cmp, operands: list[Value], type: str) -> str:
    x, y = operands
    wide = x.wide or y.wide
    texts = [broad(v, type) if wide and type == "bool" else v.text for v in operands]
    if op.predicate == "uno":
        x_text, y_text = map(bracketed, texts)
        if op.x is op.y:
            return f"{x_text} != {x_text}"
        return f"({x_text} != {x_text}) | ({y_text} != {y_text})"
    if op.predicate in ("ult", "ule", "ugt", "uge"):
        texts = [broad(v, type) if wide else v.text for v in operands]
        if type == "bool":
            convert = "convert<int8_t>({})"
            texts = [convert.format(t) for t in texts]
        else:
            texts = [f"as_unsigned({t})" for t in texts]
    x_text, y_text = map(bracketed, texts)
    return f"{x_text} {PREDICATES[op.predicate]} {y_text}"
