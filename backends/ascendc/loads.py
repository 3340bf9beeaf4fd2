"""Loads of tiles: what is copied early, and how elements are taken out of what has arrived."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import replace

from aicc.backends.ascendc.copies import Copies
from aicc.backends.ascendc.indices import is_bool
from aicc.backends.ascendc.locals import Local, row_dim
from aicc.backends.ascendc.spellings import SIZES, number
from aicc.backends.ascendc.strips import Strips, joined
from aicc.backends.c_text import bracketed, plus
from aicc.ir import tile


class Loads(Copies, ABC):
    """Writes loads."""

    def __init__(self, kernel: tile.Kernel):
        super().__init__(kernel)
        self.copied: dict[tile.Load, tuple[Local, Strips]] = {}
        self.arrived: list[list[Local]] = [[]]

    def load(self, op: tile.Load) -> None:
        if self.strips_of(op) is None:
            return self.load_elements(op)
        local, strips = self.copied.get(op) or self.copy_in(op)
        self.line(f"LocalTensor<{local.type}> {local.name} = {local.queue}.DeQue<{local.type}>();")
        self.mark("MTE2_S", "MTE2_MTE3")
        self.arrived[-1].append(local)
        if not strips.is_tile:
            local = self.gathered(op, local, strips)
        elif strips.guards:
            self.fill_rows(op, local, strips)
        self.loaded(op, local)

    def copy_in(self, op: tile.Load) -> tuple[Local, Strips]:
        """Copy what a load reads to its queue. Gives the tile that is going to arrive."""
        strips = self.strips_of(op)
        assert strips is not None
        stored, name = self.stored_type(op), self.queue_name(op)
        hint = op.result.name_hint or self.buffers[op.buffer]
        hint = hint if strips.is_tile else f"{hint}_strips"
        local = Local(self.fresh(hint), stored, strips.shape, self.grain, name)
        self.scalar_access(self.locals_below(*op.subscripts, op.mask), None)
        self.queues.setdefault(name, local)
        filled = Local(self.fresh(f"{hint}_in"), stored, strips.shape, self.grain, name)
        self.line(f"LocalTensor<{stored}> {filled.name} = {name}.AllocTensor<{stored}>();")
        if strips.checks:
            low, high = self.checked(op, strips)
            last = strips.order[-1]
            far = self.distance(op, last, f"{high} - 1")
            length = f"{far} - {bracketed(self.distance(op, last, low))} + 1"
            found = replace(strips, counts=(*strips.counts[:-1], length))
            with self.when(f"{low} < {high}"):
                self.strip_copies(op, filled, found, low)
        else:
            self.strip_copies(op, filled, strips)
        self.line(f"{name}.EnQue({filled.name});")
        if strips.is_tile:
            local = self.view(local, self.shape(op.result))
        return local, strips

    def checked(self, op: tile.Load, strips: Strips) -> tuple[str, str]:
        """Between which indices along the last dim a mask is true: variables found here."""
        count, last = self.access_counts(op)[strips.order[-1]], strips.order[-1]

        def test(index: str) -> str:
            at = [index if d == last else "0" for d in range(len(self.access_shape(op)))]
            return " && ".join(self.text(c, self.fitted(c, at)) for c in strips.checks)

        low, high = self.fresh("low"), self.fresh("high")
        self.line(f"int32_t {low} = 0, {high} = {count};")
        self.line(f"while ({low} < {high} && !({test(low)})) ++{low};")
        self.line(f"while ({low} < {high} && !({test(f'{high} - 1')})) --{high};")
        return low, high

    def fill_of(self, op: tile.Load) -> str:
        """What a masked load gives where it doesn't load."""
        other = op.other if op.other is not None else 0
        return number(other, self.stored_type(op))

    def fill_rows(self, op: tile.Load, local: Local, strips: Strips) -> None:
        """Rows that a mask keeps from being loaded."""
        with self.vector_loops(strips.counts[:-1]) as at:
            place = joined([*at, "0"], strips.order, len(self.access_shape(op)))
            to = local.part(place)
            with self.when(f"!({self.guard_text(strips, place)})"):
                self.vector_line(f"Duplicate({to}, {self.fill_of(op)}, {local.pitch});", local, [])

    def guard_text(self, strips: Strips, place: Sequence[str]) -> str:
        return " && ".join(self.text(c, self.fitted(c, place)) for c in strips.guards)

    def offsets_of(self, op: tile.Load, strips: Strips) -> Local:
        """How many bytes from the beginning of a strip each element of a row is."""
        shape, hint = self.access_shape(op), op.result.name_hint or self.buffers[op.buffer]
        last, size = row_dim(shape), SIZES[self.stored_type(op)]
        if strips.step:
            key = ("offsets", shape[last], strips.step * size)
            if key not in self.ramps:
                made = self.scratch("offsets", "int32_t", (shape[last],))
                text = f"ArithProgression({made.name}, 0, {strips.step * size}, {made.count});"
                self.vector_line(text, made, [])
                self.ramps[key] = made
            return self.ramps[key]
        offsets = self.scratch(f"{hint}_offsets", "int32_t", (shape[last],))
        low = self.checked(op, strips)[0] if strips.checks else "0"
        first = bracketed(self.distance(op, last, low))
        counts = ["1"] * last + [self.access_counts(op)[last]]
        with self.elements(counts, [], offsets) as at:
            place = [*at, *["0"] * (len(shape) - len(at))]
            value = f"({self.distance(op, last, at[last])} - {first}) * {size}"
            if strips.checks:
                test = " && ".join(self.text(c, self.fitted(c, place)) for c in strips.checks)
                value = f"{test} ? {value} : {strips.fill_at * size}"
            value = f"static_cast<int32_t>({value})"
            self.line(f"{offsets.name}.SetValue({at[last]}, {value});")
        return offsets

    def gathered(self, op: tile.Load, source: Local, strips: Strips) -> Local:
        """The elements of a tile out of strips that have them, and others."""
        stored, shape = self.stored_type(op), self.access_shape(op)
        last, fill = row_dim(shape), self.fill_of(op)
        counts, side = self.access_counts(op), strips.order[-1]
        crossed = side != last
        low = self.checked(op, strips)[0] if crossed and strips.checks else "0"
        offsets = self.offsets_of(op, strips)
        out = self.scratch(op.result.name_hint or self.buffers[op.buffer], stored, shape)
        kind = "int16_t" if stored == "bfloat16_t" else stored
        view = "" if kind == stored else f".ReinterpretCast<{kind}>()"
        rows = replace(strips, guards=(*strips.guards, *(strips.checks if crossed else ())))
        with self.vector_loops(counts[:last]) as at:
            place = [*at, *["0"] * (len(shape) - len(at))]
            base = self.base_of(op, strips, place, low)
            start = ["0" if d in (last, side) else place[d] for d in strips.order]
            to, there = out.part(place), source.part(start)
            if rows.guards:
                with self.when(f"!({self.guard_text(rows, place)})"):
                    self.vector_line(f"Duplicate({to}, {fill}, {out.pitch});", out, [])
            with self.when(*([self.guard_text(rows, place)] if rows.guards else [])):
                if strips.checks and not crossed:
                    beyond = source.part(start, str(strips.fill_at))
                    text = f"Duplicate({beyond}, {fill}, {source.block});"
                    self.vector_line(text, source, [])
                self.vector_line(
                    f"Gather({to}{view}, {there}{view}, {offsets.name}"
                    f".ReinterpretCast<uint32_t>(), {base}, {counts[last]});",
                    out,
                    [source, offsets],
                )
        return self.view(out, self.shape(op.result))

    def base_of(self, op: tile.Load, strips: Strips, place: Sequence[str], low: str) -> str:
        """Bytes from the beginning of what is copied for a row, to its first element."""
        last, side = row_dim(self.access_shape(op)), strips.order[-1]
        if strips.whole:
            far = plus(*(self.apart(op, d, i) for d, i in enumerate(place) if d != last))
        elif side != last:
            far = place[side] if low == "0" else f"{place[side]} - {low}"
        else:
            far = "0"
        return "0" if far == "0" else f"{bracketed(far)} * {SIZES[self.stored_type(op)]}"

    def loaded(self, op: tile.Load, local: Local) -> None:
        """What a loaded tile is to the ops that follow: masks are made numbers."""
        if not is_bool(op.result):
            self.locals[op.result] = local
            return
        flags = self.scratch(f"{local.name}_flags", "half", local.shape)
        self.vector("Cast", flags, [local], "RoundMode::CAST_NONE")
        self.locals[op.result] = flags

    def load_elements(self, op: tile.Load) -> None:
        """Element by element through the scalar unit: places that no copy takes in one go."""
        stored = self.stored_type(op)
        shape = self.shape(op.result)
        local = self.scratch(op.result.name_hint or self.buffers[op.buffer], stored, shape)
        counts = self.access_counts(op)
        conditions = [c for c in op.conditions() if not isinstance(c.owner, tile.InBounds)]
        with self.elements(counts, [*op.subscripts, *conditions], local) as at:
            value = f"{self.gm(op.buffer)}.GetValue({self.address(op, at)})"
            tests = [self.text(c, self.fitted(c, at)) for c in conditions]
            if tests:
                value = f"{' && '.join(tests)} ? {value} : {self.fill_of(op)}"
            self.line(f"{local.name}.SetValue({local.position(at)}, {value});")
        self.loaded(op, local)

    def free_arrived(self) -> None:
        """Give back the tiles of this block's loads."""
        for local in self.arrived[-1]:
            self.line(f"{local.queue}.FreeTensor({local.name});")
