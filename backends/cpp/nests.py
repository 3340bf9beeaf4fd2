"""Prints one loop nest over elements: the loops, and what they are run for."""

from __future__ import annotations

from xdsl.dialects.builtin import f32
from xdsl.ir import SSAValue

from aicc.backends.c_spellings import REDUCE
from aicc.backends.c_text import Unprintable, bracketed, dim_text, plus, times, type_name
from aicc.backends.cpp.expressions import TRUE, Value, broad, neutral_text
from aicc.backends.cpp.stages import Distances
from aicc.backends.cpp.values import NestValues
from aicc.backends.cpp.walks import Place
from aicc.ir import tile
from aicc.ir.tile.types import bind, tile_element


class NestPrinter(NestValues):
    """Writes one nest into a kernel."""

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
            elif isinstance(s, Distances):
                self.distances(s)
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
            count = self.count_of(lengths)
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
            if self.even is None:
                p.line(f"{self.start} += length;")
            p.depth -= 1
            p.line("}")
        for depth in range(len(self.loops), 0, -1):
            p.lines_of(self.after[depth])
            p.depth -= 1
            p.line("}")
        p.lines_of(self.after[0])

    def count_of(self, lengths: dict[int, str]) -> str:
        """Over how many elements the vectors of the innermost loop go."""
        assert self.vector is not None
        if self.segment is None:
            return lengths[self.vector]
        return "length" if self.even is None else str(self.even)

    def open_segment(self, lengths: dict[int, str]) -> None:
        assert self.segment is not None and self.vector is not None
        p, (root, by) = self.kernel, self.segment
        count = lengths[self.vector]
        step = f" {self.start} += {self.even}" if self.even is not None else ""
        p.line(f"for (int64_t {self.start} = 0; {self.start} < {count};{step}) {{")
        p.depth += 1
        p.lines_of(self.before[self.depth])
        if self.even is not None:
            return
        at = self.known[(root, self.place_of(root))]
        p.line(
            f"const int64_t length = minimum<int64_t>({by} - {bracketed(at.text)} % {by}, "
            f"{count} - {self.start});"
        )

    def store(self, op: tile.Store) -> None:
        element = tile_element(op.value.type)
        type = type_name(element)
        place = self.home()
        v = self.value(op.value, self.operand_place(op, op.value, place))
        v = self.whole(v)
        mask = TRUE
        if op.mask is not None:
            mask = self.value(op.mask, self.operand_place(op, op.mask, place))
        name, at = self.address(op, place)
        if self.vector is None or (not at.wide and at.step == 0 and not v.wide):
            guard = "" if mask.text == "true" else f"if ({mask.text}) "
            if mask.wide:
                guard = f"if (any({mask.text})) "
            self.last.append(f"{guard}{name}[{at.text}] = {v.text};")
            return
        keep = None if mask.text == "true" else broad(mask, "bool")
        value = broad(v, type)
        if at.wide:
            self.last.append(f"scatter(lanes, {name}, {at.text}, {value}{_and(keep)});")
            return
        pointer = self.pointer(name, at)
        if at.step != 1:
            step = dim_text(at.step)
            self.last.append(f"store_strided(lanes, {pointer}, {step}, {value}{_and(keep)});")
        elif keep:
            self.last.append(f"store_where(lanes, {pointer}, {value}, {keep});")
        else:
            self.last.append(f"lanes.store({pointer}, {value});")

    # ------------------------------------------------------------------ arrays and reductions

    def keep(self, value: SSAValue) -> None:
        """Write a value to its array; column by column if made so, and products don't mind."""
        dots = [o for o in (use.operation for use in value.uses) if isinstance(o, tile.Dot)]
        minded = any(o.b is not value or tile_element(value.type) != f32 for o in dots)
        if not minded and self.vector == 0 and self.loops == [1]:
            self.kernel.array(value, turned=True)
        self.moved(value, self.whole(self.value(value, self.home())), self.home())

    def moved(self, value: SSAValue, v: Value, place: Place) -> None:
        """Write what was computed to the array of a value."""
        array = self.kernel.array(value)
        at, step = self.array_place(array.pitches, place)
        if step == 0:
            self.last.append(f"{array.name}[{at}] = {v.text};")
            return
        text = plus(array.name, at, times(self.counter, step))
        made = broad(v, array.type)
        if step == 1:
            self.last.append(f"lanes.store({text}, {made});")
        else:
            self.last.append(f"store_strided(lanes, {text}, {step}, {made});")

    def distances(self, sink: Distances) -> None:
        """Write where the rows or columns of a load lie."""
        name = self.kernel.distances(sink)
        place = self.home()
        total = Value("0")
        for s, stride in sink.subscripts:
            at = self.value(s, self.operand_place(sink.load, s, place))
            by = bind(stride, self.kernel.schedule)
            if at.wide:
                part = Value(times(at.text, by), at.depth, True)
            else:
                part = Value(times(at.text, by), at.depth, False, at.step * by)
            if total.wide or part.wide:
                x, y = (bracketed(broad(self.whole(v), "int64_t")) for v in (total, part))
                total = Value(f"{x} + {y}", self.inner, True)
            else:
                text = plus(total.text, part.text)
                total = Value(text, max(total.depth, part.depth), False, total.step + part.step)
        value = broad(self.whole(total), "int64_t")
        at, step = self.array_place((1, 1), place)
        if step == 0:
            self.last.append(f"{name}[{at}] = {total.text};")
        else:
            self.last.append(f"lanes.store({plus(name, at, times(self.counter, step))}, {value});")

    def reduce(self, op: tile.Reduce) -> None:
        place = self.place_of(op.input)
        x = self.whole(self.value(op.input, place))
        combine, finish = REDUCE[op.kind]
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
        made = combine.format(total, broad(x, type))
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
        self.before[0].append(f"fill({array.name}, {array.size}, {neutral});")
        at, step = self.array_place(array.pitches, place)
        text = plus(array.name, at, times(self.counter, step))
        made = combine.format(f"lanes.load({text})", broad(x, array.type))
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
        x = broad(self.value(op.input, place), type)
        at = broad(self.whole(self.value(op.index, place)), "int64_t")
        name = self.kernel.fresh("best")
        outer = len(self.loops)
        most = str(op.kind == "max").lower()
        self.before[outer].append(f"extreme<{type}, {most}> {name};")
        self.last.append(f"{name}.look(lanes, {x}, {at});")
        rest = tuple(None if i == op.dim else p for i, p in enumerate(place))
        for result, text in ((op.value, "value"), (op.at, "at")):
            if result.first_use is not None:
                self.reduced(result, f"{name}_{text}", f"{name}.{text}()", rest)


def _and(keep: str | None) -> str:
    return f", {keep}" if keep else ""
