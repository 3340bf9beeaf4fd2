"""Prints a tile kernel as a C++ function over raw buffers.

Programs of the grid are shared out over threads; inside one, the block's stages follow one another:
scalars, loop nests over tiles, products of tiles, and the kernel's own loops.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects import scf
from xdsl.dialects.builtin import IndexType
from xdsl.ir import Block, Operation, SSAValue

from aicc.backends.c_text import (
    INDENT,
    RESERVED,
    Unprintable,
    bracketed,
    cpp_name,
    dim_text,
    is_plain,
    kernel_name,
    number,
    plus,
    program_text,
    times,
    type_name,
)
from aicc.backends.cpp.expressions import Value, index_text, op_text
from aicc.backends.cpp.nests import NestPrinter
from aicc.backends.cpp.stages import PANEL, Distances, Nest, Stages
from aicc.backends.cpp.thin import ThinProduct
from aicc.backends.printing import fresh_name, origin_text
from aicc.ir import tile
from aicc.ir.symbols import total
from aicc.ir.tile.types import bind, tile_element
from aicc.ir.types import format_dims

MOST_BYTES = 2 << 20
"""What the arrays of one program may take: they lie on a thread's stack."""

LANES = 16
"""Rows of arrays are padded to so many elements."""


@dataclass(frozen=True)
class Array:
    """Where a tile's elements are kept: a position grows by `pitches` along each dim."""

    name: str
    type: str
    pitches: tuple[int, ...]
    size: int


class KernelPrinter:
    """Writes one kernel."""

    def __init__(self, kernel: tile.Kernel):
        self.tile, self.schedule = kernel, kernel.schedule
        self.stages = Stages(kernel)
        self.lines: list[str] = []
        self.depth = 1
        self.scalars: dict[SSAValue, str] = {}
        self.arrays: dict[SSAValue, Array] = {}
        self.begun: dict[SSAValue, Array] = {}
        self.buffers: dict[SSAValue, str] = {}
        self.lists: dict[Distances, str] = {}
        self.fresh_sums: dict[tile.Dot, str] = {}
        self.counts: dict[tuple, str] = {}
        self.sizes = kernel.sizes
        self.taken = {*RESERVED, *map(cpp_name, self.sizes), *kernel.schedule}
        self.bytes = 0

    # ------------------------------------------------------------------ names and lines

    def line(self, text: str) -> None:
        self.lines.append(INDENT * self.depth + text if text else "")

    def lines_of(self, texts: Sequence[str]) -> None:
        for t in texts:
            self.line(t)

    def fresh(self, hint: str | None) -> str:
        if hint is not None and len(hint) > 24:
            hint = "_".join(re.split(r"[._]+", hint)[-2:])
        # two underscores in a row are the compiler's own names
        return fresh_name(re.sub(r"[^0-9A-Za-z]+", "_", hint or "v"), self.taken)

    def buffer(self, value: SSAValue) -> str:
        return self.buffers[value]

    def scalar(self, value: SSAValue) -> str:
        """The text of a value of one element."""
        if value not in self.scalars:
            owner = value.owner
            if isinstance(owner, Operation) and owner.name in ("tile.full", "tile.size"):
                self.scalar_op(owner)
        return self.scalars[value]

    def count(self, axis: tile.Axis) -> str:
        """How many indices of an axis are in bounds."""
        key = (axis.start, axis.block, axis.bound)
        if key not in self.counts:
            block = bind(axis.block[0], self.schedule)
            end = bind(axis.bound[0], self.schedule)
            start, bound = self.scalars[axis.start], dim_text(end)
            if start == "0" and isinstance(block, int) and isinstance(end, int):
                return str(min(block, end))
            name = self.fresh(f"{axis.result.name_hint or 'axis'}_count")
            rest = bound if start == "0" else f"{bound} - {bracketed(start)}"
            text = f"minimum<int64_t>({block}, {rest})"
            self.line(f"const int64_t {name} = {text};")
            self.counts[key] = name
        return self.counts[key]

    # ------------------------------------------------------------------ the function

    def source(self) -> str:
        """The function ``void NAME(void* const* buffers, const int64_t* sizes)``."""
        kernel = self.tile
        block = kernel.body.block
        body = self.prologue(block)
        grid = [dim_text(bind(d, kernel.schedule)) for d in kernel.grid]
        programs = " * ".join(bracketed(g) for g in grid if g != "1") or "1"
        self.line(f"run_programs({programs}, {self.work()}, [&](int64_t program) {{")
        self.depth += 1
        self.block(block)
        self.depth -= 1
        self.line("});")
        head = f'extern "C" void {kernel_name(kernel.sym_name)}'
        head += "(void* const* buffers, const int64_t* sizes) {"
        unused = [] if self.sizes else [INDENT + "(void)sizes;"]
        if self.bytes > MOST_BYTES:
            raise Unprintable(f"arrays of {self.bytes} bytes in one program")
        body += self.library_call()
        return "\n".join([*self.comment(), head, *body, *unused, *self.lines, "}"]) + "\n"

    def library_call(self) -> list[str]:
        """A library's product, where it was measured to be faster; without one, what follows."""
        if not self.tile.library:
            return []
        a, b, c = (self.buffers[arg] for arg in self.tile.body.block.args)
        types = [arg.type for arg in self.tile.body.block.args]
        (m, k), (_, n) = (t.shape for t in types[:2])  # type: ignore[attr-defined]
        sizes = ", ".join(map(dim_text, (m, n, k)))
        return [f"{INDENT}if ({self.tile.library}({c}, {a}, {b}, {sizes})) return;"]

    def prologue(self, block: Block) -> list[str]:
        """Buffers and sizes by name."""
        rows = []
        for i, name in enumerate(self.sizes):
            rows.append(f"{INDENT}const int64_t {cpp_name(name)} = sizes[{i}];")
        for i, arg in enumerate(block.args):
            assert isinstance(arg.type, tile.BufferType)
            written = i >= self.tile.inputs
            name = self.fresh(arg.name_hint or ("out" if written else "x"))
            self.buffers[arg] = name
            type = type_name(arg.type.dtype.ir)
            pointer = f"{type}*" if written else f"const {type}*"
            shape = f"  // {arg.type.dtype}[{format_dims(arg.type.shape)}]"
            rows.append(f"{INDENT}{pointer} {name} = ({pointer})buffers[{i}];{shape}")
        return rows

    def comment(self) -> list[str]:
        schedule = ", ".join(
            f"{k} = {v}" for k, v in self.schedule.items() if not k.startswith("num_")
        )
        return [
            f"// {origin_text(self.tile, self.tile.sym_name)}",
            *([f"// {schedule}"] if schedule else []),
        ]

    def work(self) -> str:
        """About how many nanoseconds of one thread the kernel takes."""
        # Sizes that only operands have, of which little is read, are none of the kernel's own.
        found = [d for d in (*self.tile.work, *self.tile.moved) if not isinstance(d, int)]
        alien = {s: 1 for d in found for s in d.symbols() if s not in self.sizes}
        flops, moved = (bind(total(d), alien) for d in (self.tile.work, self.tile.moved))
        terms = []
        for d, rate in ((moved, 16), (flops, 32)):
            terms.append(str(d / rate) if isinstance(d, int) else f"double({dim_text(d)}) / {rate}")
        if all(isinstance(d, int) for d in (flops, moved)):
            return f"{sum(map(float, terms)):.0f}"
        return " + ".join(terms)

    # ------------------------------------------------------------------ blocks

    def block(self, block: Block) -> None:
        for step in self.stages.blocks[block]:
            if isinstance(step, Nest):
                NestPrinter(self, step).write()
            elif isinstance(step, tile.Dot):
                self.dot(step)
            elif isinstance(step, scf.ForOp):
                self.loop(step)
            else:
                self.scalar_op(step)

    def define(self, value: SSAValue, text: str) -> None:
        if is_plain(text) or (value.first_use is None):
            self.scalars[value] = text
            return
        name = self.fresh(value.name_hint)
        self.line(f"const auto {name} = {text};")
        self.scalars[value] = name

    def scalar_op(self, op: Operation) -> None:
        if isinstance(op, tile.ProgramId):
            self.program_id(op)
        elif isinstance(op, tile.Size):
            self.scalars[op.result] = dim_text(bind(op.value[0], self.schedule))
        elif isinstance(op, tile.Full):
            self.scalars[op.result] = number(op.value, tile_element(op.result.type))
        elif isinstance(op, tile.Axis):
            self.scalars[op.result] = self.scalar(op.start)
        elif isinstance(op, tile.InBounds):
            axis = op.axis.owner
            assert isinstance(axis, tile.Axis)
            bound = dim_text(bind(axis.bound[0], self.schedule))
            self.define(op.result, f"{bracketed(self.scalar(op.axis))} < {bracketed(bound)}")
        elif isinstance(op, (tile.Broadcast, tile.Reshape, tile.Transpose, tile.Reduce)):
            self.scalars[op.results[0]] = self.scalar(op.operands[0])
        elif isinstance(op, tile.ArgReduce):
            self.scalars[op.value], self.scalars[op.at] = map(self.scalar, op.operands)
        elif isinstance(op, tile.Load):
            self.scalar_load(op)
        else:
            operands = [Value(self.scalar(v)) for v in op.operands]
            self.define(op.results[0], self.scalar_text(op, operands))

    def scalar_text(self, op: Operation, operands: list[Value]) -> str:
        sources = [tile_element(v.type) for v in op.operands]
        element = tile_element(op.results[0].type)
        if isinstance(element, IndexType) and len(operands) == 2:
            return index_text(op.name, *(v.text for v in operands))
        return op_text(op, operands, sources, element, False)

    def scalar_load(self, op: tile.Load) -> None:
        terms = [dim_text(bind(op.offset[0], self.schedule))]
        for s, stride in zip(op.subscripts, op.strides, strict=True):
            terms.append(times(self.scalar(s), bind(stride, self.schedule)))
        text = f"{self.buffer(op.buffer)}[{plus(*terms)}]"
        if op.mask is not None:
            fill = number(op.other or 0, tile_element(op.result.type))
            text = f"{bracketed(self.scalar(op.mask))} ? {text} : {fill}"
        self.define(op.result, text)

    def program_id(self, op: tile.ProgramId) -> None:
        grid = [bind(d, self.schedule) for d in self.tile.grid]
        self.define(op.result, program_text(grid, op.axis))

    # ------------------------------------------------------------------ arrays

    def array(self, value: SSAValue, turned: bool = False) -> Array:
        """The array of a value: its own, or that of the carried tile whose place it takes.

        Where it is made now, a `turned` one has columns side by side, not rows.
        """
        if value not in self.arrays:
            base = self.stages.inplace.get(value)
            if base is not None and base in self.arrays:
                self.arrays[value] = self.arrays[base]
            else:
                begun = self.begun.get(value)
                self.arrays[value] = begun or self.new_array(value, value.name_hint, turned)
        return self.arrays[value]

    def new_array(self, value: SSAValue, hint: str | None, turned: bool = False) -> Array:
        shape = self.stages.shape(value)
        type = type_name(tile_element(value.type))
        pitches = [0] * len(shape)
        step = 1
        dims = list(range(len(shape)))
        for d in dims if turned else reversed(dims):
            if shape[d] == 1:
                continue
            pitches[d] = step
            size = shape[d]
            if step == 1:
                size = -(-size // LANES) * LANES
                if math.prod(shape) > shape[d] and size // LANES % 2 == 0:
                    size += LANES  # rows apart by even numbers of lines share sets of the cache
            step *= size
        bits = {"double": 8, "int64_t": 8, "f16": 2, "bf16": 2, "int16_t": 2}
        width = bits.get(type, 1 if type in ("bool", "int8_t", "f8e4m3", "f8e5m2") else 4)
        self.bytes += step * width
        name = self.fresh(hint or "kept")
        self.line(f"alignas(64) {type} {name}[{step}];")
        return Array(name, type, tuple(pitches), step)

    def distances(self, sink: Distances) -> str:
        """The array that says where a load's rows or columns lie."""
        if sink not in self.lists:
            size = -(-self.stages.shape(sink.load.result)[sink.dim] // LANES) * LANES
            self.bytes += 8 * size
            self.lists[sink] = self.fresh(("rows", "columns")[sink.dim])
            self.line(f"alignas(64) int64_t {self.lists[sink]}[{size}];")
        return self.lists[sink]

    # ------------------------------------------------------------------ dots and loops

    def extent(self, value: SSAValue, dim: int) -> str:
        axis = self.stages.extent(value, dim)
        if axis is not None and axis.start in self.scalars:
            return self.count(axis)
        return str(self.stages.shape(value)[dim])

    def matrix(self, value: SSAValue) -> str:
        """An operand of a dot: in memory as the model has it, or in an array."""
        type = type_name(tile_element(value.type))
        if value in self.arrays:
            array = self.arrays[value]
            row, column = array.pitches
            return f"matrix<{type}>{{{array.name}, {row}, {column or 1}}}"
        load = self.stages.loaded(value)
        assert load is not None
        if (at := [self.lists.get(Distances(load, dim)) for dim in (0, 1)]) != [None, None]:
            pointer = plus(self.buffer(load.buffer), dim_text(bind(load.offset[0], self.schedule)))
            return f"places<{type}>{{{pointer}, {at[0]}, {at[1]}}}"
        strides = self.stages.direct(load)
        assert strides is not None
        found = self.stages.panel(load, 0) or self.stages.panel(load, 1)
        if found is not None:
            along, across, panel = found
            first = [self.scalar(a.start) for a in (across, along)]
            at = [times(f"({first[0]}) / {PANEL}", panel), times(first[1], PANEL)]
            pointer = plus(self.buffer(load.buffer), *(t for t in at))
            return f"panels<{type}>{{{pointer}, {dim_text(panel)}}}"
        terms = [dim_text(bind(load.offset[0], self.schedule))]
        for s, stride in zip(load.subscripts, load.strides, strict=True):
            at = s.owner.start if isinstance(s.owner, tile.Axis) else s
            terms.append(times(self.scalar(at), bind(stride, self.schedule)))
        row, column = (dim_text(bind(d, self.schedule)) for d in strides)
        pointer = plus(self.buffer(load.buffer), *terms)
        return f"matrix<{type}>{{{pointer}, {row}, {column}}}"

    def dot(self, op: tile.Dot) -> None:
        add = not self.stages.is_zero(op.acc)
        if add:
            source = self.arrays[op.acc]
            inplace = self.stages.inplace.get(op.result)
            alone = len(list(op.acc.uses)) == 1
            if alone and (inplace is not None or isinstance(op.acc.owner, Operation)):
                self.arrays[op.result] = source
            else:
                made = self.new_array(op.result, op.result.name_hint)
                self.line(f"copy({source.name}, {source.size}, {made.name});")
                self.arrays[op.result] = made
        acc = self.array(op.result)
        row = acc.pitches[0] or acc.size
        adds = self.fresh_sums.get(op, "true") if add else "false"
        if op in self.stages.thin:
            ThinProduct(self, op).write(acc.name, row, acc.size, adds)
            return
        a, b = self.matrix(op.a), self.matrix(op.b)
        sizes = [self.extent(op.a, 0), self.extent(op.b, 1), self.extent(op.b, 0)]
        self.line(f"dot({acc.name}, {row}, {a}, {b}, {', '.join(sizes)}, {adds});")

    def loop(self, op: scf.ForOp) -> None:
        block = op.body.block
        counter, *carried = block.args
        starts: list[tuple[tile.Dot, str]] = []
        for arg, value, result in zip(carried, op.iter_args, op.results, strict=True):
            if self.stages.is_tile(arg):
                array = self.new_array(arg, result.name_hint or arg.name_hint or "carried")
                self.arrays[arg] = self.arrays[result] = array
                low, high = self.scalar(op.lb), self.scalar(op.ub)
                if (first := self.first_sum(op, arg, value)) is not None:
                    starts.append((first, low))
                    if not (low.isdigit() and high.isdigit() and int(low) < int(high)):
                        fill = f"fill({array.name}, {array.size}, 0);"
                        self.line(f"if ({high} <= {low}) {fill}")
                elif isinstance(value.owner, tile.Full):
                    fill = number(value.owner.value, tile_element(value.type))
                    self.line(f"fill({array.name}, {array.size}, {fill});")
                else:
                    self.line(f"copy({self.arrays[value].name}, {array.size}, {array.name});")
            else:
                name = self.fresh(result.name_hint or arg.name_hint or "carried")
                type = type_name(tile_element(arg.type))
                self.line(f"{type} {name} = {self.scalar(value)};")
                self.scalars[arg] = self.scalars[result] = name
        end = block.last_op
        assert end is not None
        self.keep_what_is_beyond(carried, end.operands)
        low, high, step = (self.scalar(v) for v in (op.lb, op.ub, op.step))
        index = self.fresh(counter.name_hint or "start")
        self.scalars[counter] = index
        self.fresh_sums.update({dot: f"{index} > {low}" for dot, low in starts})
        self.line(f"for (int64_t {index} = {low}; {index} < {high}; {index} += {step}) {{")
        self.depth += 1
        counts, known = dict(self.counts), dict(self.scalars)
        self.block(block)
        self.carry(carried, end.operands)
        self.counts, self.scalars = counts, known
        self.depth -= 1
        self.line("}")

    def keep_what_is_beyond(self, carried: Sequence[SSAValue], values: Sequence[SSAValue]) -> None:
        """Begin arrays of the next round with what this one has, where only a part is computed.

        The last block of an axis ends early: elements behind its end stay.
        """
        for arg, value in zip(carried, values, strict=True):
            if value not in self.stages.kept or value in self.stages.inplace:
                continue
            dims = range(len(self.stages.shape(value)))
            if all(self.stages.sink_end(value, d) is None for d in dims):
                continue
            made = self.begun[value] = self.new_array(value, value.name_hint)
            self.line(f"copy({self.arrays[arg].name}, {made.size}, {made.name});")

    def first_sum(self, loop: scf.ForOp, arg: SSAValue, start: SSAValue) -> tile.Dot | None:
        """The dot that a carried tile of zeros is only added to: it can begin without them."""
        uses = list(arg.uses)
        if not self.stages.is_zero(start) or len(uses) != 1:
            return None
        dot = uses[0].operation
        taken = isinstance(dot, tile.Dot) and self.stages.inplace.get(dot.result) is arg
        return (
            dot if taken and isinstance(dot, tile.Dot) and dot.parent is loop.body.block else None
        )

    def carry(self, carried: Sequence[SSAValue], values: Sequence[SSAValue]) -> None:
        """What the next round of a loop begins with."""
        late: list[str] = []
        for arg, value in zip(carried, values, strict=True):
            if not self.stages.is_tile(arg):
                name = self.fresh("next")
                self.line(f"const auto {name} = {self.scalar(value)};")
                late.append(f"{self.scalars[arg]} = {name};")
                continue
            array = self.arrays[arg]
            if isinstance(value.owner, tile.Full):
                fill = number(value.owner.value, tile_element(value.type))
                late.append(f"fill({array.name}, {array.size}, {fill});")
            elif self.arrays[value] != array:
                late.append(f"copy({self.arrays[value].name}, {array.size}, {array.name});")
        self.lines_of(late)


def kernel_source(kernel: tile.Kernel) -> str:
    """A kernel as a C++ function. Raises Unprintable."""
    return KernelPrinter(kernel).source()
