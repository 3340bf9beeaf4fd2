"""Modules and functions of graph IR: names of inputs and outputs, symbols and their ranges.

A model is a module with a function ``@main``. Argument attributes: ``graph.name`` (the model's own
name for the input) and ``graph.symbol`` (an i64 scalar that defines a symbol itself, as a SymInt
does). Result attribute: ``graph.name``. Module attribute ``graph.ranges`` gives the least and the
greatest size of a symbol (−1: unbounded).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    FunctionType,
    IntegerAttr,
    ModuleOp,
    NameLoc,
    NoneAttr,
    StringAttr,
    TensorType,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue

from aicc.ir.symbols import SymExpr
from aicc.ir.types import shape_of

NAME = "graph.name"
SYMBOL = "graph.symbol"
RANGES = "graph.ranges"

Ranges = Mapping[str, tuple[int, int | None]]


def new_function(
    name: str,
    inputs: Sequence[tuple[str, TensorType]],
    symbols: Mapping[int, str] | None = None,
) -> FuncOp:
    """A function with named inputs and an empty body, to be ended by `finish_function`.

    `symbols` maps the position of a scalar i64 input to the symbol that it defines.
    """
    types = [t for _, t in inputs]
    attrs = []
    for i, (input_name, _) in enumerate(inputs):
        d: dict[str, StringAttr] = {NAME: StringAttr(input_name)}
        if symbols and i in symbols:
            d[SYMBOL] = StringAttr(symbols[i])
        attrs.append(DictionaryAttr(d))
    func = FuncOp(
        name,
        (types, []),
        Region(Block(arg_types=types)),
        arg_attrs=ArrayAttr(attrs) if attrs else None,
    )
    for arg, (input_name, _) in zip(func.args, inputs, strict=True):
        arg.location = NameLoc(StringAttr(input_name), NoneAttr())
    return func


def finish_function(func: FuncOp, outputs: Sequence[tuple[str, SSAValue]]) -> None:
    """Return the named values and set the function's type."""
    func.body.block.add_op(ReturnOp(*(v for _, v in outputs)))
    if outputs:
        func.res_attrs = ArrayAttr([DictionaryAttr({NAME: StringAttr(n)}) for n, _ in outputs])
    update_function_type(func)


def remove_arguments(func: FuncOp, positions: Collection[int]) -> None:
    """Take arguments that nothing uses out of a function that is finished."""
    attrs = func.arg_attrs
    if attrs is not None:
        kept = [a for i, a in enumerate(attrs.data) if i not in positions]
        func.arg_attrs = ArrayAttr(kept) if kept else None
    for index in sorted(positions, reverse=True):
        func.body.block.erase_arg(func.args[index])
    update_function_type(func)


def update_function_type(func: FuncOp) -> None:
    """Make the function's type that of its arguments and returned values."""
    ret = return_of(func)
    func.function_type = FunctionType.from_lists(
        [a.type for a in func.args], [v.type for v in ret.operands]
    )


def return_of(func: FuncOp) -> ReturnOp:
    last = func.body.block.last_op
    assert isinstance(last, ReturnOp)
    return last


def functions(module: ModuleOp) -> dict[str, FuncOp]:
    return {op.sym_name.data: op for op in module.ops if isinstance(op, FuncOp)}


def main_of(module: ModuleOp, name: str = "main") -> FuncOp:
    """The function `name`; raises ValueError if the module has none."""
    found = functions(module)
    if name not in found:
        has = ", ".join(f"@{n}" for n in found) or "none"
        raise ValueError(f"the module has no function @{name} (it has: {has})")
    return found[name]


def _names(attrs: ArrayAttr[DictionaryAttr] | None, count: int, prefix: str) -> list[str]:
    names = []
    for i in range(count):
        attr = attrs.data[i].data.get(NAME) if attrs is not None else None
        names.append(attr.data if isinstance(attr, StringAttr) else f"{prefix}{i}")
    return names


def input_names(func: FuncOp) -> list[str]:
    return _names(func.arg_attrs, len(func.args), "input")


def output_names(func: FuncOp) -> list[str]:
    return _names(func.res_attrs, len(return_of(func).operands), "output")


def symbol_arguments(func: FuncOp) -> dict[int, str]:
    """Scalar arguments that define a symbol: position → symbol."""
    if func.arg_attrs is None:
        return {}
    found = {}
    for i, d in enumerate(func.arg_attrs.data):
        attr = d.data.get(SYMBOL)
        if isinstance(attr, StringAttr):
            found[i] = attr.data
    return found


def bound_symbols(func: FuncOp) -> dict[str, tuple[int, int | None]]:
    """Symbols that the arguments define: name → (argument, dim), dim None for a scalar argument.

    A symbol is defined where it stands alone as a dim of an argument, or by a scalar argument.
    """
    found: dict[str, tuple[int, int | None]] = {}
    for i, name in symbol_arguments(func).items():
        found.setdefault(name, (i, None))
    for i, arg in enumerate(func.args):
        if not isinstance(arg.type, TensorType):
            continue
        for j, d in enumerate(shape_of(arg)):
            if isinstance(d, SymExpr) and str(d) in d.symbols():
                found.setdefault(str(d), (i, j))
    return found


def symbol_ranges(module: ModuleOp) -> dict[str, tuple[int, int | None]]:
    attr = module.attributes.get(RANGES)
    if not isinstance(attr, DictionaryAttr):
        return {}
    found = {}
    for name, pair in attr.data.items():
        if isinstance(pair, ArrayAttr) and len(pair.data) == 2:
            low, high = (v.value.data for v in pair.data if isinstance(v, IntegerAttr))
            found[name] = (low, None if high < 0 else high)
    return found


def set_symbol_ranges(module: ModuleOp, ranges: Ranges) -> None:
    if not ranges:
        module.attributes.pop(RANGES, None)
        return
    module.attributes[RANGES] = DictionaryAttr(
        {
            name: ArrayAttr([IntegerAttr(low, 64), IntegerAttr(-1 if high is None else high, 64)])
            for name, (low, high) in sorted(ranges.items())
        }
    )
