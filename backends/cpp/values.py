"""The values that a nest computes: each at the loop that it varies with.

An index is kept as a scalar and a step per lane for as long as it is linear in the lane; a quotient
or a rest of one is too, where the loop is cut into segments between which it jumps.
"""

from __future__ import annotations

import math

from xdsl.dialects.builtin import IndexType, f32
from xdsl.ir import Block, Operation, SSAValue

from aicc.backends.c_text import bracketed, dim_text, is_plain, number, plus, times, type_name
from aicc.backends.cpp.expressions import TRUE, Value, broad, index_text, op_text, simplified
from aicc.backends.cpp.stages import Nest, step_cost
from aicc.backends.cpp.walks import Place, Walk
from aicc.backends.printing import PREDICATES
from aicc.ir import tile
from aicc.ir.symbols import Dim, product
from aicc.ir.tile.types import bind, tile_element

LOOPS = ("i", "h", "g", "f", "e")
"""Counters of loops around vectors; `j` counts those. Nests lie side by side: all may use them."""

MOST_ZEROS = 4096
"""Elements of the row of zeros that the runtime has, vectors of them aside."""

LONG_ROWS = 512, 65536
"""Elements of rows of which the next is fetched while one is read again: two fit a core's cache."""

LEAST_TURNED, MOST_TURNED = 8, 4096
"""Rows and columns of a block that is turned, at least, and its elements at most."""

SWAPPED = {"slt": "sgt", "sle": "sge", "sgt": "slt", "sge": "sle"}
"""Comparisons with their operands swapped."""


class NestValues(Walk):
    """Writes values into the lines before each loop's body: `before`, by depth of loops.

    `after` are lines behind a loop, `last` those that end the innermost body.
    """

    def __init__(self, kernel, nest: Nest):
        super().__init__(kernel, nest)
        self.known: dict[tuple[SSAValue, Place], Value] = {}
        self.zeroed: set[tuple[SSAValue, Place]] = set()
        self.depth = len(self.loops) + (self.segment is not None)
        self.inner = self.depth + (self.vector is not None)
        self.before: list[list[str]] = [[] for _ in range(self.inner + 1)]
        self.after: list[list[str]] = [[] for _ in range(self.inner + 1)]
        self.last: list[str] = []
        steps = sum(step_cost(op) for op, _ in self.below())
        self.unroll = 4 if steps <= 8 else 2
        self.index = dict(zip(self.loops, LOOPS, strict=False))
        self.counter, self.start = "j", "first_j"

    def define(self, hint: str | None, text: str, depth: int) -> str:
        if is_plain(text):
            return text
        name = self.kernel.fresh(hint)
        self.before[depth].append(f"const auto {name} = {text};")
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
        if isinstance(op, tile.Select) and self.reads_zeros(op, place):
            return operands[1]
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
        if isinstance(gap, int) and gap != 0 and predicate in SWAPPED:
            if gap < 0:
                x, y, gap, predicate = y, x, -gap, SWAPPED[predicate]
            room = f"{bracketed(y.text)} - {bracketed(x.text)} - {times(self.counter, gap)}"
            room += " + 1" if predicate in ("sle", "sgt") else ""
            if gap > 1:
                room = f"floordiv({room} + {gap - 1}, {gap})"
            sign = "~" if predicate in ("sgt", "sge") else ""
            return Value(f"{sign}first({room})", self.inner, True)
        sign = PREDICATES[predicate]
        if gap == 0:
            return Value(f"{bracketed(x.text)} {sign} {bracketed(y.text)}", max(x.depth, y.depth))
        x, y = self.whole(x), self.whole(y)
        text = f"{bracketed(broad(x, 'int64_t'))} {sign} {bracketed(broad(y, 'int64_t'))}"
        return Value(text, self.inner, True)

    # ------------------------------------------------------------------ elements

    def wide(self, value: SSAValue, text: str) -> Value:
        return Value(self.define(value.name_hint, text, self.inner), self.inner, True)

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
        text = op_text(op, operands, sources, element, wide)
        return Value(self.define(value.name_hint, text, depth), depth, wide)

    # ------------------------------------------------------------------ memory

    def address(self, op: tile.Access, place: Place) -> tuple[str, Value]:
        """The pointer's name, and the position as an index."""
        base, depth = [dim_text(bind(op.offset[0], self.kernel.schedule))], 0
        step: Dim = 0
        gathered: list[str] = []
        for s, stride in zip(op.subscripts, op.strides, strict=True):
            stride = bind(stride, self.kernel.schedule)
            at = self.value(s, self.operand_place(op, s, place))
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

    def pointer(self, name: str, at: Value) -> str:
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
            mask = self.value(op.mask, self.operand_place(op, op.mask, place))
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
            text = f"select({mask.text}, {broad(Value(text), type)}, "
            text += f"{broad(Value(fill), type)})"
            return Value(self.define(hint, text, self.inner), self.inner, True)
        keep = None if mask.text == "true" else broad(mask, "bool")
        if at.wide:
            text = f"gather(lanes, {name}, {at.text}{', ' + keep if keep else ''})"
        else:
            if self.may_be_zeros(op, at, mask):
                self.zeroed.add((op.result, place))
                row = self.row_or_zeros(name, at, mask)
                text = f"lanes.load({plus(row, self.counter)})"
                return Value(self.define(hint, text, self.inner), self.inner, True)
            if keep is None and (row := self.turned_row(op, place)) is not None:
                text = f"lanes.load({plus(row, self.counter)})"
                return Value(self.define(hint, text, self.inner), self.inner, True)
            pointer = self.pointer(name, at)
            if at.step != 1:
                step = dim_text(at.step)
                text = f"load_strided(lanes, {pointer}, {step}{', ' + keep if keep else ''})"
            elif keep:
                text = f"load_where(lanes, {pointer}, {keep})"
            elif distance := self.next_row(op):
                text = f"lanes.load_again({pointer}, {distance})"
            else:
                text = f"lanes.load({pointer})"
        if keep and other is not None:
            fill = broad(Value(number(other, element)), type)
            text = f"select({keep}, {text}, {fill})"
        return Value(self.define(hint, text, self.inner), self.inner, True)

    def turned_row(self, op: tile.Load, place: Place) -> str | None:
        """A row of a block whose columns lie side by side in memory, turned before the nest."""
        if len(self.loops) != 1 or self.vector is None or self.segment is not None:
            return None
        (loop,), steps = self.loops, self.access_steps(op, place)
        size = math.prod(self.nest.shape)
        few = min(self.nest.shape[d] for d in (loop, self.vector)) < LEAST_TURNED
        if steps is None or few or size > MOST_TURNED or tile_element(op.result.type) != f32:
            return None
        if steps.get(loop) != 1 or steps.get(self.vector, 0) in (0, 1):
            return None
        name, at = self.address(op, tuple(None if d == loop else d for d in place))
        if at.wide or at.depth > 0:
            return None
        block, row = self.kernel.fresh("turned"), self.nest.shape[self.vector]
        lengths = f"{self.length(loop)}, {self.length(self.vector)}"
        start = plus(name, at.text)
        self.before[0].append(f"alignas(64) float {block}[{size}];")
        self.before[0].append(f"turn({block}, {row}, {start}, {dim_text(at.step)}, {lengths});")
        return plus(block, times(self.index[loop], row))

    def may_be_zeros(self, op: tile.Load, at: Value, mask: Value) -> bool:
        """Whether a row is loaded as a whole or not at all: zeros stand for it then."""
        uniform = mask.text != "true" and not mask.wide
        if not uniform or at.step != 1 or op.other not in (None, 0) or self.vector is None:
            return False
        return self.nest.shape[self.vector] <= MOST_ZEROS

    def row_or_zeros(self, name: str, at: Value, mask: Value) -> str:
        """Where a row of a buffer begins, or one of zeros."""
        text = f"{bracketed(mask.text)} ? {plus(name, at.text)} : zeros_for({name})"
        return self.define(f"{name}_row", text, max(at.depth, mask.depth))

    def reads_zeros(self, op: tile.Select, place: Place) -> bool:
        """Whether a selection gives a row that is loaded, or the zeros that stand for it."""
        at = self.operand_place(op, op.true, place)
        fill, read = op.false.owner, op.true.owner
        zero = isinstance(fill, tile.Full) and fill.value == 0 and math.copysign(1, fill.value) > 0
        same = isinstance(read, tile.Load) and read.mask is op.condition
        return same and zero and (op.true, at) in self.zeroed

    def next_row(self, op: tile.Load) -> int:
        """How far the next program's row is, where this one's is long and read once more; else 0.

        Memory is idle then: what the next program reads first can be fetched.
        """
        again = self.nest.stage > self.stages.level[op.result] and not self.loops
        assert isinstance(op.buffer.type, tile.BufferType)
        if not again or self.vector is None or not self.length(self.vector).isdigit():
            return 0
        kernel, row = self.kernel.tile, int(self.length(self.vector))
        rows = [bind(d, kernel.schedule) for d in kernel.grid]
        held = product(d for d in op.buffer.type.shape if d is not None)
        whole = product([row, *rows]) == held
        return row if whole and LONG_ROWS[0] <= row <= LONG_ROWS[1] else 0


def same_end(a: tile.Axis, b: tile.Axis) -> bool:
    """Whether two axes end at the same place."""
    return a.start is b.start and a.bound == b.bound and a.block == b.block
