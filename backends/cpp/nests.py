"""Prints one loop nest over elements: what its sinks need, each value at the loop it varies with.

One dim is walked through in vectors, that along which most accesses lie contiguous. An index is
kept as a scalar and a step per lane for as long as it is linear in the lane; a quotient or a rest
of one is too, where the loop is cut into segments between which it jumps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import IndexType, IntegerType, i1
from xdsl.ir import Attribute, Block, Operation, SSAValue

from aicc.backends.cpp.spellings import PREDICATES, REDUCE, SPELLINGS
from aicc.backends.cpp.stages import Nest, Rows, step_cost
from aicc.backends.cpp.text import (
    Unprintable,
    bracketed,
    dim_text,
    is_plain,
    number,
    plus,
    times,
    type_name,
)
from aicc.ir import tile
from aicc.ir.symbols import Dim
from aicc.ir.tile.types import bind, tile_element

if TYPE_CHECKING:
    from aicc.backends.cpp.kernels import KernelPrinter

Place = tuple[int | None, ...]
"""For each dim of a value the dim of the nest that walks through it; None where it has one."""


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

LOOPS = ("i", "h", "g", "f", "e")
"""Counters of loops around vectors; `j` counts those. Nests lie side by side: all may use them."""


class NestPrinter:
    """Writes one nest into a kernel."""

    def __init__(self, kernel: KernelPrinter, nest: Nest):
        self.kernel, self.nest = kernel, nest
        self.stages = kernel.stages
        self.known: dict[tuple[SSAValue, Place], Value] = {}
        self.linear: dict[tuple[SSAValue, Place], dict[int, Dim] | None] = {}
        self.axes = self.clipped_axes()
        dims = [d for d, size in enumerate(nest.shape) if size != 1]
        self.loose = (
            True  # while a dim is chosen, an index that jumps now and then counts as linear
        )
        self.vector = self.vector_dim(dims) if dims else None
        self.loose = False
        self.linear.clear()
        self.loops = [d for d in dims if d != self.vector]
        self.depth = len(self.loops)
        self.segment = self.segments()
        if self.segment is not None:
            self.depth += 1
        self.inner = self.depth + (self.vector is not None)
        self.before: list[list[str]] = [[] for _ in range(self.inner + 1)]
        self.after: list[list[str]] = [[] for _ in range(self.inner + 1)]
        self.last: list[str] = []
        names = dict(enumerate(LOOPS))
        steps = sum(step_cost(op) for op, _ in self.below())
        self.unroll = 4 if steps <= 8 else 2
        self.index = {d: names[n] for n, d in enumerate(self.loops)}
        self.counter, self.start = "j", "first_j"

    # ------------------------------------------------------------------ shape of the nest

    def home(self) -> Place:
        return tuple(d if size != 1 else None for d, size in enumerate(self.nest.shape))

    def sink_places(self) -> list[tuple[SSAValue, Place]]:
        """The values that the nest needs, and their places."""
        found: list[tuple[SSAValue, Place]] = []
        for s in self.nest.sinks:
            found += [(v, self.place_of(v)) for v in self.stages.roots(s)]
        return found

    def place_of(self, value: SSAValue) -> Place:
        shape = self.stages.shape(value)
        return tuple(d if size != 1 else None for d, size in enumerate(shape))

    def clipped_axes(self) -> dict[int, tile.Axis]:
        """The axis whose end each dim of the nest goes to, where it isn't the block's own."""
        found: dict[int, tile.Axis] = {}
        for value, _ in self.sink_places():
            for d, size in enumerate(self.nest.shape):
                if size == 1 or d in found:
                    continue
                axis = self.stages.extent(value, d)
                if axis is not None and self.is_outside(axis):
                    found[d] = axis
        return found

    def is_outside(self, axis: tile.Axis) -> bool:
        """Whether the axis is known where the nest runs."""
        return axis.start in self.kernel.scalars

    def length(self, dim: int) -> str:
        if dim in self.axes:
            return self.kernel.count(self.axes[dim])
        return str(self.nest.shape[dim])

    def below(self) -> list[tuple[Operation, Place]]:
        """The ops that the nest computes, with the places of their results."""
        pending = self.sink_places()
        seen: set[tuple[SSAValue, Place]] = set()
        ops: list[tuple[Operation, Place]] = []
        while pending:
            value, place = pending.pop()
            if (value, place) in seen or not self.stages.is_tile(value):
                continue
            seen.add((value, place))
            if isinstance(value.owner, Block) or self.in_array(value):
                continue
            ops.append((value.owner, place))
            for v in value.owner.operands:
                if not isinstance(v.type, tile.BufferType):
                    pending.append((v, self.operand_place(value.owner, v, place)))
        return ops

    def operand_place(self, op: Operation, operand: SSAValue, place: Place) -> Place:
        shape = self.stages.shape(operand)
        if isinstance(op, tile.Transpose):
            moved: list[int | None] = [None] * len(shape)
            for i, p in enumerate(op.perm):
                moved[p] = place[i]
        elif isinstance(op, tile.Reshape):
            rest = [p for p, d in zip(place, self.stages.shape(op.result), strict=True) if d != 1]
            moved = [None if d == 1 else rest.pop(0) for d in shape]
        else:
            moved = list(place)
        return tuple(None if d == 1 else p for d, p in zip(shape, moved, strict=False))

    def in_array(self, value: SSAValue) -> bool:
        """Whether the value is read from its array here."""
        if value not in self.kernel.arrays:
            return False
        return value not in self.nest.sinks

    def vector_dim(self, dims: list[int]) -> int:
        """The dim to walk through in vectors: where most memory is contiguous."""
        score = {d: 0.01 * d for d in dims}
        for s in self.nest.sinks:
            if isinstance(s, tile.ArgReduce):
                score[s.dim] = 1e9
        accesses: list[tuple[tile.Access, Place]] = [
            (op, p) for op, p in self.below() if isinstance(op, tile.Load)
        ]
        accesses += [(s, self.home()) for s in self.nest.sinks if isinstance(s, tile.Store)]
        for op, place in accesses:
            steps = self.access_steps(op, place)
            for d in dims:
                step = None if steps is None else steps.get(d, 0)
                if step == 1:
                    score[d] += 2
                elif step != 0:
                    score[d] -= 1
        for d in dims:
            size = self.nest.shape[d]
            if d in self.axes and isinstance(bound := self.axes[d].bound[0], int):
                size = min(size, bound)
            if size < 8:
                score[d] -= 0.6 * len(accesses)
        return max(dims, key=lambda d: score[d])

    def access_steps(self, op: tile.Access, place: Place) -> dict[int, Dim] | None:
        """How far apart elements are along each dim; None where that isn't one number."""
        total: dict[int, Dim] = {}
        for s, stride in zip(op.subscripts, op.strides, strict=True):
            steps = self.steps_of(s, self.operand_place_of_access(s, place))
            if steps is None:
                return None
            for d, step in steps.items():
                total[d] = total.get(d, 0) + step * bind(stride, self.kernel.schedule)
        return total

    def operand_place_of_access(self, operand: SSAValue, place: Place) -> Place:
        shape = self.stages.shape(operand)
        return tuple(None if d == 1 else p for d, p in zip(shape, place, strict=False))

    def steps_of(self, value: SSAValue, place: Place) -> dict[int, Dim] | None:
        """What an index grows by along each dim; None where it isn't linear in them."""
        key = (value, place)
        if key not in self.linear:
            self.linear[key] = self.find_steps(value, place)
        return self.linear[key]

    def find_steps(self, value: SSAValue, place: Place) -> dict[int, Dim] | None:
        if not self.stages.is_tile(value):
            return {}
        op = value.owner
        if isinstance(op, Block) or value in self.kernel.arrays:
            return None
        if isinstance(op, tile.Axis):
            dim = place[op.dim]
            return {dim: 1} if dim is not None else {}
        operands = [v for v in op.operands if not isinstance(v.type, tile.BufferType)]
        parts = [self.steps_of(v, self.operand_place(op, v, place)) for v in operands]
        if isinstance(op, (tile.Broadcast, tile.Reshape, tile.Transpose)):
            return parts[0]
        if any(p is None for p in parts):
            return None
        if self.loose and op.name in ("arith.divui", "arith.remui"):
            return parts[0] if op.name == "arith.remui" else {}
        if op.name in ("arith.addi", "arith.subi"):
            x, y = parts
            assert x is not None and y is not None
            sign = 1 if op.name == "arith.addi" else -1
            return {d: x.get(d, 0) + sign * y.get(d, 0) for d in {**x, **y}}
        if op.name == "arith.muli":
            for one, factor in ((0, 1), (1, 0)):
                size = self.stages.size_of(operands[factor])
                if not parts[factor] and size is not None:
                    return {d: s * size for d, s in (parts[one] or {}).items()}
        return {} if not any(parts) else None

    def segments(self) -> tuple[SSAValue, int] | None:
        """An index along the vector dim whose quotients and rests by multiples of a number occur.

        The loop is cut where the index passes a multiple of that number.
        """
        found: dict[SSAValue, list[int]] = {}
        if self.vector is None:
            return None
        for op, place in self.below():
            if op.name not in ("arith.divui", "arith.remui"):
                continue
            root = self.stripped(op.operands[0])
            steps = self.steps_of(op.operands[0], self.operand_place(op, op.operands[0], place))
            by = self.stages.size_of(op.operands[1])
            if steps and steps.get(self.vector) == 1 and isinstance(by, int) and by > 0:
                found.setdefault(root, []).append(by)
        for root, numbers in found.items():
            least = min(numbers)
            if least > 1 and all(n % least == 0 for n in numbers):
                return root, least
        return None

    @staticmethod
    def stripped(value: SSAValue) -> SSAValue:
        while isinstance(value.owner, (tile.Broadcast, tile.Reshape)):
            value = value.owner.input
        return value

    # ------------------------------------------------------------------ writing

    def write(self) -> None:
        """Print the nest at the kernel's current place."""
        for s in self.nest.sinks:
            if isinstance(s, tile.Store):
                self.store(s)
            elif isinstance(s, tile.Reduce):
                self.reduce(s)
            elif isinstance(s, tile.ArgReduce):
                self.arg_reduce(s)
            elif isinstance(s, Rows):
                self.rows(s)
            else:
                assert isinstance(s, SSAValue)
                self.keep(s)
        if self.segment is not None:
            root = self.segment[0]
            self.value(root, self.place_of(root))
        p = self.kernel
        lengths = {d: self.length(d) for d, size in enumerate(self.nest.shape) if size != 1}
        p.lines_of(self.before[0])
        for depth, d in enumerate(self.loops, 1):
            i = self.index[d]
            p.line(f"for (int64_t {i} = 0; {i} < {lengths[d]}; ++{i}) {{")
            p.depth += 1
            p.lines_of(self.before[depth])
        if self.segment is not None:
            self.open_segment(lengths)
        if self.vector is not None:
            count = "length" if self.segment is not None else lengths[self.vector]
            name, more = "sweep", ""
            if any("_lanes[u]" in line for line in self.last):
                name, more = f"sweep_unrolled<{self.unroll}>", ", auto u"
            p.line(f"{name}({count}, [&](auto lanes, int64_t {self.counter}{more}) AICC_FLAT {{")
            p.depth += 1
            p.lines_of(self.before[self.inner])
        p.lines_of(self.last)
        if self.vector is not None:
            p.depth -= 1
            p.line("});")
        if self.segment is not None:
            p.lines_of(self.after[self.depth])
            p.line(f"{self.start} += length;")
            p.depth -= 1
            p.line("}")
        for depth in range(len(self.loops), 0, -1):
            p.lines_of(self.after[depth])
            p.depth -= 1
            p.line("}")
        p.lines_of(self.after[0])

    def open_segment(self, lengths: dict[int, str]) -> None:
        assert self.segment is not None and self.vector is not None
        p, (root, by) = self.kernel, self.segment
        count = lengths[self.vector]
        p.line(f"for (int64_t {self.start} = 0; {self.start} < {count};) {{")
        p.depth += 1
        p.lines_of(self.before[self.depth])
        at = self.known[(root, self.place_of(root))]
        p.line(
            f"const int64_t length = std::min<int64_t>({by} - {bracketed(at.text)} % {by}, "
            f"{count} - {self.start});"
        )

    def define(self, hint: str | None, text: str, depth: int, type: str = "const auto") -> str:
        if is_plain(text):
            return text
        name = self.kernel.fresh(hint)
        self.before[depth].append(f"{type} {name} = {text};")
        return name

    # ------------------------------------------------------------------ values

    def value(self, value: SSAValue, place: Place) -> Value:
        """The value at a place; ops that it takes are written on the way."""
        pending = [(value, place)]
        while pending:
            v, at = pending[-1]
            if (v, at) in self.known:
                pending.pop()
                continue
            missing = [(o, q) for o, q in self.needs(v, at) if (o, q) not in self.known]
            if missing:
                pending += missing
                continue
            self.known[(v, at)] = self.computed(v, at)
            pending.pop()
        return self.known[(value, place)]

    def needs(self, value: SSAValue, place: Place) -> list[tuple[SSAValue, Place]]:
        op = value.owner
        if not self.stages.is_tile(value) or isinstance(op, Block) or self.in_array(value):
            return []
        return [
            (v, self.operand_place(op, v, place))
            for v in op.operands
            if not isinstance(v.type, tile.BufferType)
        ]

    def computed(self, value: SSAValue, place: Place) -> Value:
        if not self.stages.is_tile(value):
            return Value(self.kernel.scalar(value))
        op = value.owner
        if isinstance(op, Block) or self.in_array(value):
            return self.array_element(value, place)
        operands = [
            self.known[(v, self.operand_place(op, v, place))]
            for v in op.operands
            if not isinstance(v.type, tile.BufferType)
        ]
        if isinstance(op, tile.Axis):
            return self.axis(op, place)
        if isinstance(op, tile.InBounds):
            return self.in_bounds(op, operands[0], place)
        if isinstance(op, tile.Full):
            return Value(number(op.value, tile_element(value.type)))
        if isinstance(op, (tile.Broadcast, tile.Reshape, tile.Transpose)):
            return operands[0]
        if isinstance(op, tile.Load):
            return self.load(op, place)
        if isinstance(tile_element(value.type), IndexType):
            return self.index_op(op, operands, value)
        return self.element_op(op, operands, value)

    def depth_of(self, place: Place) -> int:
        """The depth of the innermost loop that a place lies in."""
        found = 0
        for p in place:
            if p is None:
                continue
            found = max(found, self.inner if p == self.vector else self.loops.index(p) + 1)
        return found

    def axis(self, op: tile.Axis, place: Place) -> Value:
        start = self.kernel.scalar(op.start)
        dim = place[op.dim]
        if dim is None:
            return Value(start)
        if dim == self.vector:
            if self.segment is None:
                return Value(start, 0, False, 1)
            return Value(plus(bracketed(start), self.start), self.depth, False, 1)
        return Value(plus(bracketed(start), self.index[dim]), self.depth_of(place))

    def in_bounds(self, op: tile.InBounds, at: Value, place: Place) -> Value:
        axis = op.axis.owner
        assert isinstance(axis, tile.Axis)
        dim = place[axis.dim]
        if dim is not None and dim in self.axes and same_end(self.axes[dim], axis):
            return TRUE
        bound = dim_text(bind(axis.bound[0], self.kernel.schedule))
        return self.compared("slt", at, Value(bound))

    def array_element(self, value: SSAValue, place: Place) -> Value:
        array = self.kernel.arrays[value]
        at, step = self.array_place(array.pitches, place)
        depth = self.depth_of(place)
        if step == 0:
            return Value(f"{array.name}[{at}]", depth)
        text = plus(array.name, at, times(self.counter, step))
        call = f"lanes.load({text})" if step == 1 else f"load_strided(lanes, {text}, {step})"
        return Value(self.define(value.name_hint, call, self.inner), self.inner, True)

    def array_place(self, pitches: tuple[int, ...], place: Place) -> tuple[str, int]:
        """The position in an array at lane 0 of the first vector, and the step of lanes."""
        terms, step = [], 0
        for p, pitch in zip(place, pitches, strict=True):
            if p is None:
                continue
            if p == self.vector:
                step = pitch
                if self.segment is not None:
                    terms.append(times(self.start, pitch))
            else:
                terms.append(times(self.index[p], pitch))
        return plus(*terms), step

    # ------------------------------------------------------------------ indices

    def index_op(self, op: Operation, operands: list[Value], value: SSAValue) -> Value:
        depth = max((v.depth for v in operands), default=0)
        if isinstance(op, tile.Cast):
            (x,) = operands
            if not x.wide:
                return Value(f"convert<int64_t>({x.text})", x.depth)
            text = x.text
            if op.unsigned:
                text = f"as_unsigned({text})"
            return self.wide(value, f"convert<int64_t>({text})")
        if isinstance(op, tile.Select):
            return self.element_op(op, [self.whole(v) for v in operands], value)
        if any(v.wide for v in operands):
            return self.element_op(op, [self.whole(v) for v in operands], value)
        x, y = operands
        if op.name in ("arith.addi", "arith.subi"):
            sign = "+" if op.name == "arith.addi" else "-"
            step = x.step + y.step if sign == "+" else x.step - y.step
            text = f"{x.text} {sign} {bracketed(y.text)}"
            if x.text == "0" and sign == "+":
                text = y.text
            elif y.text == "0":
                text = x.text
            return Value(self.define(value.name_hint, text, depth), depth, False, step)
        if op.name == "arith.muli" and 0 in (x.step, y.step):
            one, many = (x, y) if x.step == 0 else (y, x)
            factor = self.stages.size_of(op.operands[0] if one is x else op.operands[1])
            if many.step == 0 or factor is not None:
                text = f"{bracketed(many.text)} * {bracketed(one.text)}"
                step = many.step * factor if factor is not None else 0
                return Value(self.define(value.name_hint, text, depth), depth, False, step)
        jumps = op.name in ("arith.divui", "arith.remui") and self.jumps(op, x)
        if jumps or (x.step == 0 and y.step == 0):
            text = self.define(value.name_hint, index_text(op.name, x.text, y.text), depth)
            return Value(text, depth, False, int(jumps and op.name == "arith.remui"))
        return self.element_op(op, [self.whole(v) for v in operands], value)

    def jumps(self, op: Operation, x: Value) -> bool:
        """Whether a quotient or a rest is constant, or linear, inside each segment."""
        if self.segment is None or x.step != 1:
            return False
        root, least = self.segment
        numerator = self.stripped(op.operands[0])
        by = self.stages.size_of(op.operands[1])
        if not isinstance(by, int) or by % least:
            return False
        while isinstance(numerator.owner, Operation) and numerator.owner.name == "arith.remui":
            inner = self.stages.size_of(numerator.owner.operands[1])
            if not isinstance(inner, int) or inner % least:
                return False
            numerator = self.stripped(numerator.owner.operands[0])
        return numerator is root

    def whole(self, v: Value) -> Value:
        """An index as a vector where it varies from lane to lane."""
        if v.wide or v.step == 0:
            return v
        start = plus(v.text, times(self.counter, v.step))
        text = f"iota<int64_t>({start}, {dim_text(v.step)})"
        return Value(text, self.inner, True)

    def compared(self, predicate: str, x: Value, y: Value) -> Value:
        """A comparison of indices."""
        gap = x.step - y.step if not (x.wide or y.wide) else None
        if gap in (1, -1) and predicate in ("slt", "sle", "sgt", "sge"):
            if gap == -1:
                x, y = y, x
                predicate = {"slt": "sgt", "sle": "sge", "sgt": "slt", "sge": "sle"}[predicate]
            room = f"{bracketed(y.text)} - {bracketed(x.text)} - {self.counter}"
            if predicate in ("sle", "sgt"):
                room += " + 1"
            text = f"first({room})"
            return Value("~" + text if predicate in ("sgt", "sge") else text, self.inner, True)
        if isinstance(gap, int) and gap != 0 and predicate in ("slt", "sle", "sgt", "sge"):
            if gap < 0:
                x, y, gap = y, x, -gap
                predicate = {"slt": "sgt", "sle": "sge", "sgt": "slt", "sge": "sle"}[predicate]
            steps = times(self.counter, gap)
            room = f"{bracketed(y.text)} - {bracketed(x.text)} - {steps}"
            room += " + 1" if predicate in ("sle", "sgt") else ""
            text = f"first(floordiv({room} + {gap - 1}, {gap}))"
            return Value("~" + text if predicate in ("sgt", "sge") else text, self.inner, True)
        sign = PREDICATES[predicate]
        if gap == 0:
            return Value(f"{bracketed(x.text)} {sign} {bracketed(y.text)}", max(x.depth, y.depth))
        x, y = self.whole(x), self.whole(y)
        text = f"{bracketed(self.broad(x, 'int64_t'))} {sign} {bracketed(self.broad(y, 'int64_t'))}"
        return Value(text, self.inner, True)

    # ------------------------------------------------------------------ elements

    def wide(self, value: SSAValue, text: str) -> Value:
        return Value(self.define(value.name_hint, text, self.inner), self.inner, True)

    def broad(self, v: Value, type: str) -> str:
        """The text of a value as a vector, or a mask."""
        if v.wide:
            return v.text
        if type == "bool":
            return f"mask({v.text})"
        return f"vec<{type}>({v.text})"

    def element_op(self, op: Operation, operands: list[Value], value: SSAValue) -> Value:
        element = tile_element(value.type)
        sources = [tile_element(v.type) for v in op.operands]
        depth = max((v.depth for v in operands), default=0)
        wide = any(v.wide for v in operands)
        if isinstance(op, tile.Cmp) and isinstance(sources[0], IndexType):
            found = self.compared(op.predicate, *operands)
            if found.text in ("true", "false"):
                return found
            return Value(self.define(value.name_hint, found.text, found.depth), found.depth,
                         found.wide)  # fmt: skip
        if any(not v.wide and v.step != 0 for v in operands):
            operands = [self.whole(v) for v in operands]
            wide, depth = True, self.inner
        simple = simplified(op, operands)
        if simple is not None:
            return simple
        text = op_text(self, op, operands, sources, element, wide)
        return Value(self.define(value.name_hint, text, depth), depth, wide)

    # ------------------------------------------------------------------ memory

    def address(self, op: tile.Access, place: Place) -> tuple[str, Value]:
        """The pointer's name, and the position as an index."""
        base, depth = [dim_text(bind(op.offset[0], self.kernel.schedule))], 0
        step: Dim = 0
        gathered: list[str] = []
        for s, stride in zip(op.subscripts, op.strides, strict=True):
            stride = bind(stride, self.kernel.schedule)
            at = self.value(s, self.operand_place_of_access(s, place))
            if at.wide:
                gathered.append(times(at.text, stride) if stride != 1 else at.text)
                continue
            base.append(times(at.text, stride))
            step = step + at.step * stride
            depth = max(depth, at.depth)
        position = plus(*base)
        name = self.kernel.buffer(op.buffer)
        if gathered:
            if step != 0:
                position = plus(position, times(self.counter, step))
                gathered.append(f"iota<int64_t>(0, {dim_text(step)})")
            text = " + ".join([*gathered, *([f"int64_t({position})"] if position != "0" else [])])
            return name, Value(text, self.inner, True)
        return name, Value(position, depth, False, step)

    def pointer(self, name: str, at: Value, constant: bool) -> str:
        """The address of lane 0."""
        text = plus(name, at.text)
        if at.step == 0:
            return text
        if not is_plain(text):
            text = self.define(f"{name}_row", text, at.depth)
        return plus(text, times(self.counter, at.step))

    def load(self, op: tile.Load, place: Place) -> Value:
        assert isinstance(op.buffer.type, tile.BufferType)
        element = tile_element(op.result.type)
        type = type_name(element)
        mask = TRUE
        if op.mask is not None:
            mask = self.value(op.mask, self.operand_place_of_access(op.mask, place))
        name, at = self.address(op, place)
        other = op.other if op.other not in (None, 0) else None
        hint = op.result.name_hint
        if not at.wide and at.step == 0:
            text = f"{name}[{at.text}]"
            if mask.text == "true":
                depth = max(at.depth, mask.depth)
                return Value(self.define(hint, text, depth), depth)
            fill = number(op.other or 0, element)
            if not mask.wide:
                depth = max(at.depth, mask.depth)
                text = f"{bracketed(mask.text)} ? {text} : {fill}"
                return Value(self.define(hint, text, depth), depth)
            text = f"any({mask.text}) ? {text} : {fill}"
            text = f"select({mask.text}, {self.broad(Value(text), type)}, "
            text += f"{self.broad(Value(fill), type)})"
            return Value(self.define(hint, text, self.inner), self.inner, True)
        keep = None if mask.text == "true" else self.broad(mask, "bool")
        if at.wide:
            text = f"gather(lanes, {name}, {at.text}{', ' + keep if keep else ''})"
        else:
            pointer = self.pointer(name, at, True)
            if at.step != 1:
                step = dim_text(at.step)
                text = f"load_strided(lanes, {pointer}, {step}{', ' + keep if keep else ''})"
            elif keep:
                text = f"load_where(lanes, {pointer}, {keep})"
            else:
                text = f"lanes.load({pointer})"
        if keep and other is not None:
            fill = self.broad(Value(number(other, element)), type)
            text = f"select({keep}, {text}, {fill})"
        return Value(self.define(hint, text, self.inner), self.inner, True)

    def store(self, op: tile.Store) -> None:
        element = tile_element(op.value.type)
        type = type_name(element)
        place = self.home()
        v = self.value(op.value, self.operand_place_of_access(op.value, place))
        v = self.whole(v)
        mask = TRUE
        if op.mask is not None:
            mask = self.value(op.mask, self.operand_place_of_access(op.mask, place))
        name, at = self.address(op, place)
        if self.vector is None or (not at.wide and at.step == 0 and not v.wide):
            guard = "" if mask.text == "true" else f"if ({mask.text}) "
            if mask.wide:
                guard = f"if (any({mask.text})) "
            self.last.append(f"{guard}{name}[{at.text}] = {v.text};")
            return
        keep = None if mask.text == "true" else self.broad(mask, "bool")
        value = self.broad(v, type)
        if at.wide:
            self.last.append(f"scatter(lanes, {name}, {at.text}, {value}{_and(keep)});")
            return
        pointer = self.pointer(name, at, False)
        if at.step != 1:
            step = dim_text(at.step)
            self.last.append(f"store_strided(lanes, {pointer}, {step}, {value}{_and(keep)});")
        elif keep:
            self.last.append(f"store_where(lanes, {pointer}, {value}, {keep});")
        else:
            self.last.append(f"lanes.store({pointer}, {value});")

    # ------------------------------------------------------------------ arrays and reductions

    def keep(self, value: SSAValue) -> None:
        """Write a value to its array."""
        self.moved(value, self.whole(self.value(value, self.home())), self.home())

    def moved(self, value: SSAValue, v: Value, place: Place) -> None:
        """Write what was computed to the array of a value."""
        array = self.kernel.array(value)
        at, step = self.array_place(array.pitches, place)
        if step == 0:
            self.last.append(f"{array.name}[{at}] = {v.text};")
            return
        text = plus(array.name, at, times(self.counter, step))
        made = self.broad(v, array.type)
        if step == 1:
            self.last.append(f"lanes.store({text}, {made});")
        else:
            self.last.append(f"store_strided(lanes, {text}, {step}, {made});")

    def rows(self, rows: Rows) -> None:
        """Write where the rows of a load lie."""
        name = self.kernel.row_list(rows.load)
        place = self.home()
        total: Value | None = None
        for s, stride in rows.subscripts:
            at = self.value(s, self.operand_place_of_access(s, place))
            by = bind(stride, self.kernel.schedule)
            if at.wide:
                part = Value(times(at.text, by), at.depth, True)
            else:
                part = Value(times(at.text, by), at.depth, False, at.step * by)
            if total is None:
                total = part
            elif total.wide or part.wide:
                x, y = (bracketed(self.broad(self.whole(v), "int64_t")) for v in (total, part))
                total = Value(f"{x} + {y}", self.inner, True)
            else:
                text = plus(total.text, part.text)
                total = Value(text, max(total.depth, part.depth), False, total.step + part.step)
        assert total is not None
        value = self.broad(self.whole(total), "int64_t")
        at, step = self.array_place((1, 0), place)
        self.last.append(f"lanes.store({plus(name, at, times(self.counter, step))}, {value});")

    def reduce(self, op: tile.Reduce) -> None:
        place = self.place_of(op.input)
        x = self.whole(self.value(op.input, place))
        combine, finish, _ = REDUCE[op.kind]
        element = tile_element(op.input.type)
        type = type_name(element)
        bools = type == "bool"
        neutral = neutral_text(op.kind, element)
        result_place = tuple(None if i == op.dim else p for i, p in enumerate(place))
        if place[op.dim] is None:
            self.moved(op.result, x, result_place)
            return
        if place[op.dim] != self.vector:
            self.reduce_in_array(op, x, combine, neutral, result_place)
            return
        wide = "mask" if bools else f"vec<{type}>"
        name = self.kernel.fresh(op.result.name_hint or op.kind)
        outer = len(self.loops)
        total = f"{name}_lanes[u]"
        self.before[outer].append(f"accumulators<{wide}, {self.unroll}> {name}_lanes({neutral});")
        made = combine.format(total, self.broad(x, type))
        self.last.append(f"{total} = lanes.keep({made}, {total});")
        joined = combine.format("a", "b")
        text = f"{name}_lanes.joined([](auto a, auto b) {{ return {joined}; }})"
        self.reduced(op.result, name, f"{finish}({text})", result_place)

    def reduced(self, result: SSAValue, name: str, text: str, place: Place) -> None:
        """Put what a loop along lanes came to where later stages find it."""
        outer = len(self.loops)
        if self.stages.is_tile(result):
            array = self.kernel.array(result)
            at, _ = self.array_place(array.pitches, place)
            self.after[outer].append(f"{array.name}[{at}] = {text};")
        else:
            self.after[outer].append(f"const auto {name} = {text};")
            self.kernel.scalars[result] = name

    def reduce_in_array(
        self, op: tile.Reduce, x: Value, combine: str, neutral: str, place: Place
    ) -> None:
        if self.vector is None or not self.stages.is_tile(op.result):
            raise Unprintable(f"a reduction along dim {op.dim} of {self.nest.shape}")
        array = self.kernel.array(op.result)
        self.before[0].append(f"std::fill_n({array.name}, {array.size}, {neutral});")
        at, step = self.array_place(array.pitches, place)
        text = plus(array.name, at, times(self.counter, step))
        made = combine.format(f"lanes.load({text})", self.broad(x, array.type))
        self.last.append(f"lanes.store({text}, {made});")

    def arg_reduce(self, op: tile.ArgReduce) -> None:
        place = self.place_of(op.input)
        if place[op.dim] is None:
            for result, source in ((op.value, op.input), (op.at, op.index)):
                if result.first_use is not None:
                    self.moved(result, self.whole(self.value(source, place)), place)
            return
        if place[op.dim] != self.vector:
            raise Unprintable(f"the place of an extreme along dim {op.dim} of {self.nest.shape}")
        element = tile_element(op.input.type)
        type = type_name(element)
        x = self.broad(self.value(op.input, place), type)
        at = self.broad(self.whole(self.value(op.index, place)), "int64_t")
        name = self.kernel.fresh("best")
        outer = len(self.loops)
        self.before[outer].append(f"extreme<{type}> {name};")
        flags = f"{str(op.kind == 'max').lower()}, {str(op.last).lower()}"
        self.last.append(f"{name}.template look<{flags}>(lanes, {x}, {at});")
        rest = tuple(None if i == op.dim else p for i, p in enumerate(place))
        for result, text in ((op.value, "value"), (op.at, "at")):
            if result.first_use is not None:
                self.reduced(result, f"{name}_{text}", f"{name}.{text}", rest)


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


def _and(keep: str | None) -> str:
    return f", {keep}" if keep else ""


def same_end(a: tile.Axis, b: tile.Axis) -> bool:
    """Whether two axes end at the same place."""
    return a.start is b.start and a.bound == b.bound and a.block == b.block


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
    nest: NestPrinter,
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
        parts = [nest.broad(c, "bool"), *(nest.broad(v, types[1]) for v in (x, y))]
        return f"select({', '.join(parts)})"
    if isinstance(op, tile.Cast):
        return cast_text(op, operands[0].text, sources[0], element)
    if isinstance(op, tile.Cmp):
        return compare_text(nest, op, operands, types[0])
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
            text = nest.broad(v, type)
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


def compare_text(nest: NestPrinter, op: tile.Cmp, operands: list[Value], type: str) -> str:
    x, y = operands
    wide = x.wide or y.wide
    texts = [nest.broad(v, type) if wide and type == "bool" else v.text for v in operands]
    if op.predicate == "uno":
        x_text, y_text = map(bracketed, texts)
        if op.x is op.y:
            return f"{x_text} != {x_text}"
        return f"({x_text} != {x_text}) | ({y_text} != {y_text})"
    if op.predicate in ("ult", "ule", "ugt", "uge"):
        texts = [nest.broad(v, type) if wide else v.text for v in operands]
        if type == "bool":
            convert = "convert<int8_t>({})"
            texts = [convert.format(t) for t in texts]
        else:
            texts = [f"as_unsigned({t})" for t in texts]
    x_text, y_text = map(bracketed, texts)
    return f"{x_text} {PREDICATES[op.predicate]} {y_text}"
