"""Prints a tile kernel as a `@triton.jit` function.

Values that are used once and are index arithmetic are written where they are used; the others get
a line and the name of what they are in the model.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence

from xdsl.dialects import scf
from xdsl.dialects.builtin import IndexType, IntegerType, i1
from xdsl.ir import Attribute, Block, Operation, SSAValue

from aicc.backends.printing import PREDICATES, fresh_name, origin_text
from aicc.backends.triton.spellings import (
    AND,
    ATOM,
    COMPARE,
    PRODUCT,
    SCALAR_AND,
    SPELLINGS,
    SUM,
    Spelling,
)
from aicc.backends.triton.text import (
    INDENT,
    LAUNCH_OPTIONS,
    RESERVED,
    Text,
    Unprintable,
    bracketed,
    dim_text,
    full_of,
    is_wide,
    kernel_name,
    literal,
    number,
    product_text,
    python_name,
    short,
    type_name,
)
from aicc.ir import tile
from aicc.ir.dtypes import dtype_of
from aicc.ir.symbols import Dim
from aicc.ir.symbols import product as product_of
from aicc.ir.tile.types import broadcast_tiles, tile_element, tile_shape
from aicc.ir.types import format_dims


class KernelPrinter:
    """Writes one kernel; `helpers` collects the helper functions that it calls."""

    def __init__(self, kernel: tile.Kernel, helpers: set[str]):
        self.kernel, self.helpers = kernel, helpers
        self.lines: list[str] = []
        self.texts: dict[SSAValue, Text] = {}
        self.taken = {*RESERVED, *keyword.kwlist, *kernel.schedule}
        self.sizes = [python_name(s) for s in kernel.sizes]
        self.taken |= set(self.sizes)
        self.wide = is_wide(kernel)
        self.depth = 1

    def source(self) -> str:
        block = self.kernel.body.block
        names = [
            self.fresh(short(a.name_hint) or ("x" if i < self.kernel.inputs else "out"))
            for i, a in enumerate(block.args)
        ]
        for arg, name in zip(block.args, names, strict=True):
            self.texts[arg] = Text(name)
        constants = [f"{p}: tl.constexpr" for p in self.kernel.schedule if p not in LAUNCH_OPTIONS]
        parameters = [*names, *self.sizes, *constants]
        head = f"def {kernel_name(self.kernel)}({', '.join(parameters)}):"
        if len(head) > 96:
            inner = "".join(f"{INDENT}{p},\n" for p in parameters)
            head = f"def {kernel_name(self.kernel)}(\n{inner}):"
        self.line(f'"""{self.summary()}"""')
        for i, (arg, name) in enumerate(zip(block.args, names, strict=True)):
            assert isinstance(arg.type, tile.BufferType)
            role = "" if i < self.kernel.inputs else ", written"
            self.line(f"# {name}: {arg.type.dtype}[{format_dims(arg.type.shape)}]{role}")
        self.block(block)
        return "\n".join(["@triton.jit", head, *self.lines]) + "\n"

    def summary(self) -> str:
        """Where in the model the kernel comes from; its name if that isn't known."""
        return origin_text(self.kernel, self.kernel.sym_name)

    # ------------------------------------------------------------------ names and lines

    def line(self, text: str) -> None:
        self.lines.append(INDENT * self.depth + text if text else "")

    def fresh(self, hint: str | None) -> str:
        return fresh_name(hint, self.taken)

    def define(self, value: SSAValue, text: Text) -> None:
        """Give a value its expression: in place where it is short and used once, else a line."""
        inline = text.binds <= ATOM and text.text.isidentifier()
        if inline or self.goes_in_place(value, text):
            self.texts[value] = text
            return
        name = self.fresh(short(value.name_hint))
        self.line(f"{name} = {text.text}")
        self.texts[value] = Text(name, ATOM, text.shape)

    def goes_in_place(self, value: SSAValue, text: Text) -> bool:
        uses = list(value.uses)
        if len(uses) != 1 or value.name_hint is not None:
            return False
        user = uses[0].operation
        while isinstance(user, tile.Broadcast):  # prints as what it broadcasts
            if not user.result.has_one_use():
                return False
            user = user.result.first_use.operation  # type: ignore[union-attr]
        if user.parent is not value.owner.parent or len(text.text) > 60:  # type: ignore[union-attr]
            return False
        index = isinstance(tile_element(value.type), IndexType)
        return index or isinstance(user, (tile.Store, tile.Select, tile.Cast)) or text.binds < SUM

    def operand(self, value: SSAValue) -> Text:
        return self.texts[value]

    def tensor(self, value: SSAValue) -> str:
        """A value where its shape matters: written out as wide as its type says."""
        return self.spread(value, tile_shape(value.type))

    def spread(self, value: SSAValue, shape: Sequence[Dim]) -> str:
        """A value as a tensor of the shape that Triton would broadcast it to."""
        text = self.operand(value)
        if (constant := full_of(value)) is not None:
            return self.full(constant, shape)
        if text.shape == tuple(shape):
            return text.text
        return f"tl.broadcast_to({text.text}, {self.shape(shape)})"

    def full(self, op: tile.Full, shape: Sequence[Dim]) -> str:
        element = self.element(tile_element(op.result.type))
        return f"tl.full({self.shape(shape)}, {number(op)}, {element})"

    def shape(self, shape: Sequence[Dim]) -> str:
        return "[" + ", ".join(self.dim(d) for d in shape) + "]"

    def dim(self, d: Dim) -> str:
        return dim_text(d, "tl.cdiv")

    def element(self, element: Attribute) -> str:
        if isinstance(element, IndexType):
            return "tl.int64" if self.wide else "tl.int32"
        return type_name(dtype_of(element))

    # ------------------------------------------------------------------ ops

    def block(self, block: Block) -> None:
        for op in block.ops:
            self.op(op)

    def op(self, op: Operation) -> None:
        printer = PRINTERS.get(op.name)
        if printer is not None:
            printer(self, op)
        elif op.name in SPELLINGS:
            self.spelled(op, SPELLINGS[op.name])
        elif not isinstance(op, (tile.Return, scf.YieldOp)):
            raise Unprintable(f"Triton has no words for {op.name}")

    def spelled(self, op: Operation, spelling: Spelling) -> None:
        if spelling.helper:
            self.helpers.add(spelling.helper)
        operands = [self.operand(v) for v in op.operands]
        shape = broadcast_tiles(*(t.shape for t in operands))
        element = tile_element(op.results[0].type)
        cast = spelling.unsigned and not isinstance(element, IndexType)
        if cast:
            operands = [self.unsigned(t, element) for t in operands]
        bare = spelling.binds == ATOM
        parts = [
            t.text if bare else t.inside(spelling.binds, right=i > 0)
            for i, t in enumerate(operands)
        ]
        if spelling.helper and (spelling.tensors or all(map(literal, op.operands))):
            parts = [self.spread(v, shape) for v in op.operands]
        if op.name == "arith.andi" and element == i1 and sum(t.shape == () for t in operands) == 1:
            one, many = sorted(operands, key=lambda t: len(t.shape))
            spelling = SCALAR_AND  # Triton's interpreter makes integers of such an `&`
            parts = [one.text, many.text]
        made = spelling.template.format(*parts)
        if op.name == "arith.addi" and re.fullmatch(r"\(-\d+\)", parts[1]):
            made = f"{parts[0]} - {parts[1].strip('(-)')}"
        text = Text(made, spelling.binds, shape)
        if cast:
            text = Text(
                f"{text.inside(ATOM)}.to({self.element(element)}, bitcast=True)", ATOM, shape
            )
        self.define(op.results[0], text)

    def unsigned(self, text: Text, element: Attribute) -> Text:
        assert isinstance(element, IntegerType)
        if text.text.lstrip("-").isdigit():
            return text
        goal = f"tl.uint{element.width.data}"
        return Text(f"{text.inside(ATOM)}.to({goal}, bitcast=True)", ATOM, text.shape)

    def address(self, op: tile.Access) -> Text:
        """The pointers of an access."""
        parts: list[str] = [self.operand(op.buffer).text]
        shapes: list[tuple[Dim, ...]] = []
        for s, stride in zip(op.subscripts, op.strides, strict=True):
            index = self.operand(s)
            shapes.append(index.shape)
            if stride == 1:
                parts.append(index.inside(SUM, right=True))
            else:
                parts.append(f"{index.inside(PRODUCT)} * {bracketed(self.dim(stride))}")
        text, offset = " + ".join(parts), op.offset[0]
        if isinstance(offset, int) and offset < 0:
            text += f" - {-offset}"
        elif offset != 0:
            text += f" + {bracketed(self.dim(offset))}"
        return Text(text, SUM, broadcast_tiles(*shapes))


# ---------------------------------------------------------------------- ops with their own words


def _program_id(p: KernelPrinter, op: tile.ProgramId) -> None:
    later = [d for d in p.kernel.grid[op.axis + 1 :] if d != 1]
    text = Text("tl.program_id(0).to(tl.int64)" if p.wide else "tl.program_id(0)")
    if later:
        text = Text(f"{text.text} // {bracketed(product_text(later, 'tl.cdiv'))}", PRODUCT)
    if op.axis > 0 and product_of(p.kernel.grid[: op.axis]) != 1:
        size = p.dim(p.kernel.grid[op.axis])
        text = Text(f"{text.inside(PRODUCT)} % {bracketed(size)}", PRODUCT)
    p.define(op.result, text)


def _size(p: KernelPrinter, op: tile.Size) -> None:
    text = p.dim(op.value[0])
    p.texts[op.result] = Text(text, ATOM if text.isidentifier() or text.isdigit() else SUM)


def _axis(p: KernelPrinter, op: tile.Axis) -> None:
    start = p.operand(op.start)
    steps = f"tl.arange(0, {p.dim(op.block[0])})"
    if op.rank > 1:
        places = ["None"] * op.rank
        places[op.dim] = ":"
        steps += f"[{', '.join(places)}]"
    text = steps if start.text == "0" else f"{start.inside(SUM)} + {steps}"
    p.define(op.result, Text(text, ATOM if start.text == "0" else SUM, tile_shape(op.result.type)))


def _in_bounds(p: KernelPrinter, op: tile.InBounds) -> None:
    axis = op.axis.owner
    assert isinstance(axis, tile.Axis)
    index = p.operand(op.axis)
    p.define(op.result, Text(f"{index.text} < {p.dim(axis.bound[0])}", COMPARE, index.shape))


def _load(p: KernelPrinter, op: tile.Load) -> None:
    address, shape = p.address(op), tile_shape(op.result.type)
    pointer = address.text
    if address.shape != shape:
        pointer = f"tl.broadcast_to({pointer}, {p.shape(shape)})"
    options = ""
    if op.mask is not None:
        options = f", mask={p.operand(op.mask).text}"
        if op.other is not None:
            options += f", other={op.other}"
    text = f"tl.load({pointer}{options})"
    assert isinstance(op.buffer.type, tile.BufferType)
    if op.buffer.type.dtype.kind == "uint":
        text += f".to({p.element(tile_element(op.result.type))}, bitcast=True)"
    p.define(op.result, Text(text, ATOM, shape))


def _store(p: KernelPrinter, op: tile.Store) -> None:
    address = p.address(op)
    mask = "" if op.mask is None else f", mask={p.operand(op.mask).text}"
    value = p.operand(op.value)
    text = p.tensor(op.value) if literal(op.value) and address.shape else value.text
    p.line(f"tl.store({address.text}, {text}{mask})")


def _full(p: KernelPrinter, op: tile.Full) -> None:
    text = number(op)
    p.texts[op.result] = Text(text, ATOM if not text.startswith("-") else SUM)


def _broadcast(p: KernelPrinter, op: tile.Broadcast) -> None:
    p.texts[op.result] = p.operand(op.input)


def _reshape(p: KernelPrinter, op: tile.Reshape) -> None:
    text, shape = p.operand(op.input), tile_shape(op.result.type)
    if text.shape == shape:
        p.texts[op.result] = text
    else:
        made = f"tl.reshape({p.tensor(op.input)}, {p.shape(shape)})"
        p.define(op.result, Text(made, ATOM, shape))


def _transpose(p: KernelPrinter, op: tile.Transpose) -> None:
    shape = tile_shape(op.result.type)
    perm = ", ".join(map(str, op.perm))
    p.define(op.result, Text(f"tl.permute({p.tensor(op.input)}, [{perm}])", ATOM, shape))


def _cast(p: KernelPrinter, op: tile.Cast) -> None:
    source, goal = tile_element(op.input.type), tile_element(op.result.type)
    text = p.operand(op.input)
    if literal(op.input):
        text = Text(p.tensor(op.input), ATOM, tile_shape(op.input.type))
    if isinstance(source, IndexType) and isinstance(op.input.owner, tile.Broadcast):
        value = op.input.owner.input
        if isinstance(value.owner, tile.Size):  # a size: Python's number, or an argument
            if text.text.isdigit() and not isinstance(goal, (IntegerType, IndexType)):
                p.texts[op.result] = Text(f"{text.text}.0")
                return
            element = p.element(goal)
            p.define(op.result, Text(f"tl.full([], {text.text}, {element})", ATOM))
            return
    from_unsigned = op.unsigned and isinstance(source, IntegerType) and source.width.data > 1
    if from_unsigned:
        text = p.unsigned(text, source)
    to_unsigned = (
        op.unsigned
        and isinstance(goal, IntegerType)
        and not isinstance(source, (IntegerType, IndexType))
    )
    if to_unsigned:
        assert isinstance(goal, IntegerType)
        made = f"{text.inside(ATOM)}.to(tl.uint{goal.width.data})"
        made += f".to({p.element(goal)}, bitcast=True)"
    else:
        made = f"{text.inside(ATOM)}.to({p.element(goal)})"
    p.define(op.result, Text(made, ATOM, text.shape))


def _cmp(p: KernelPrinter, op: tile.Cmp) -> None:
    x, y = p.operand(op.x), p.operand(op.y)
    shape = broadcast_tiles(x.shape, y.shape)
    if op.predicate == "uno":
        if op.x is not op.y:
            raise Unprintable("uno of two values")
        p.define(op.result, Text(f"{x.inside(AND)} != {x.inside(AND)}", COMPARE, shape))
        return
    element = tile_element(op.x.type)
    if op.predicate in ("ult", "ule", "ugt", "uge") and not isinstance(element, IndexType):
        x, y = p.unsigned(x, element), p.unsigned(y, element)
    if literal(op.x) and literal(op.y):
        x = Text(p.tensor(op.x), ATOM, tile_shape(op.x.type))
        shape = x.shape
    symbol = PREDICATES[op.predicate]
    p.define(
        op.result, Text(f"{x.inside(COMPARE - 1)} {symbol} {y.inside(COMPARE - 1)}", COMPARE, shape)
    )


def _select(p: KernelPrinter, op: tile.Select) -> None:
    parts = [p.operand(v) for v in op.operands]
    texts = [t.text for t in parts]
    shape = broadcast_tiles(*(t.shape for t in parts))
    true = full_of(op.true)
    if true is not None and literal(op.false):  # or its type would be Triton's choice
        texts[1] = p.full(true, ())
    p.define(op.result, Text(f"tl.where({', '.join(texts)})", ATOM, shape))


_REDUCE_FLOAT = {"add": "tl.sum", "max": "nan_max", "min": "nan_min", "mul": "product"}
_REDUCE_INT = {"add": "tl.sum", "max": "tl.max", "min": "tl.min", "mul": "product"}


def _reduce(p: KernelPrinter, op: tile.Reduce) -> None:
    value, shape = p.tensor(op.input), tile_shape(op.result.type)
    keep, shape = (", keep_dims=True", shape) if len(shape) > 1 else ("", ())
    element = tile_element(op.input.type)
    if op.kind in ("or", "and"):
        function = "tl.max" if op.kind == "or" else "tl.min"
        if not value.isidentifier():
            value = f"({value})"
        text = f"{function}({value}.to(tl.int32), {op.dim}{keep}) != 0"
        p.define(op.result, Text(text, COMPARE, shape))
        return
    table = _REDUCE_INT if isinstance(element, (IntegerType, IndexType)) else _REDUCE_FLOAT
    function = table[op.kind]
    if function.startswith("tl."):
        text = f"{function}({value}, {op.dim}{keep})"
    else:
        p.helpers.add(function)
        text = f"tl.reduce({value}, {op.dim}, {function}{keep})"
    p.define(op.result, Text(text, ATOM, shape))


def _arg_reduce(p: KernelPrinter, op: tile.ArgReduce) -> None:
    value, index = p.tensor(op.input), p.tensor(op.index)
    if not value.isidentifier():
        name = p.fresh("value")
        p.line(f"{name} = {value}")
        value = name
    shape = tile_shape(op.value.type)
    keep, shape = (", keep_dims=True", shape) if len(shape) > 1 else ("", ())
    is_float = not isinstance(tile_element(op.input.type), (IntegerType, IndexType))
    best = p.fresh("best")
    if is_float:
        helper = f"nan_{op.kind}"
        p.helpers.add(helper)
        p.line(f"{best} = tl.reduce({value}, {op.dim}, {helper}, keep_dims=True)")
        same = f"({value} == {best}) | (({value} != {value}) & ({best} != {best}))"
    else:
        p.line(f"{best} = tl.{op.kind}({value}, {op.dim}, keep_dims=True)")
        same = f"{value} == {best}"
    far = "0x7FFFFFFF"
    if p.wide:
        far = "0x7FFFFFFFFFFFFFFF"
        atom = index.isidentifier() or index.startswith("tl.broadcast_to(")
        index = f"{index if atom else f'({index})'}.to(tl.int64)"
    p.texts[op.value] = Text(best, ATOM, tile_shape(op.value.type))
    text = f"tl.min(tl.where({same}, {index}, {far}), {op.dim}{keep})"
    p.define(op.at, Text(text, ATOM, shape))


def _dot(p: KernelPrinter, op: tile.Dot) -> None:
    a, b, acc = p.tensor(op.a), p.tensor(op.b), p.tensor(op.acc)
    options = f', input_precision="{op.precision}"'
    if (sums := p.element(tile_element(op.acc.type))) != "tl.float32":
        options += f", out_dtype={sums}"  # Triton up to 3.7 takes float32 for granted
    text = f"tl.dot({a}, {b}, {acc}{options})"
    p.define(op.result, Text(text, ATOM, tile_shape(op.result.type)))


def _for(p: KernelPrinter, op: scf.ForOp) -> None:
    block = op.body.block
    counter, *carried = block.args
    names = []
    for arg, value, result in zip(carried, op.iter_args, op.results, strict=True):
        name = p.fresh(result.name_hint or arg.name_hint or "acc")
        names.append(name)
        p.line(f"{name} = {p.tensor(value)}")
        p.texts[arg] = p.texts[result] = Text(name, ATOM, tile_shape(arg.type))
    index = p.fresh(counter.name_hint or "start")
    p.texts[counter] = Text(index)
    low, high, step = (p.operand(v).text for v in (op.lb, op.ub, op.step))
    p.line(f"for {index} in range({low}, {high}, {step}):")
    p.depth += 1
    p.block(block)
    end = block.last_op
    assert end is not None
    if names:
        p.line(f"{', '.join(names)} = {', '.join(p.tensor(v) for v in end.operands)}")
    p.depth -= 1


PRINTERS = {
    "tile.program_id": _program_id,
    "tile.size": _size,
    "tile.axis": _axis,
    "tile.in_bounds": _in_bounds,
    "tile.load": _load,
    "tile.store": _store,
    "tile.full": _full,
    "tile.broadcast": _broadcast,
    "tile.reshape": _reshape,
    "tile.transpose": _transpose,
    "tile.cast": _cast,
    "tile.cmp": _cmp,
    "tile.select": _select,
    "tile.reduce": _reduce,
    "tile.arg_reduce": _arg_reduce,
    "tile.dot": _dot,
    "scf.for": _for,
}
