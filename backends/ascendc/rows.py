"""Ops along rows of tiles: reductions, and tiles spread over more places.

A tile of one number a row holds these one after the other. `Brcb` fills a block with each, from
where a copy that doesn't step along the row takes it to all of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from aicc.backends.ascendc.indices import is_bool, is_float
from aicc.backends.ascendc.locals import Local, up
from aicc.backends.ascendc.masks import Masks
from aicc.backends.ascendc.spellings import REDUCTIONS, SIZES
from aicc.backends.c_text import bracketed, plus
from aicc.ir import tile

MOST_REPEATS = 240
"""Rows that one instruction takes: of the 255 that it may, as many as are whole blocks."""

FARTHEST = 255
"""Blocks from a repeat to the next."""


class Rows(Masks):
    """Writes reductions and broadcasts."""

    # ------------------------------------------------------------------ reductions

    def reduce(self, op: tile.Reduce) -> None:
        if self.count(op.input, op.dim) == "0":
            return self.nothing_to_reduce(op)
        if not is_float(op.input) and not is_bool(op.input):
            return self.reduce_integers(op)
        x = self.tile_of(op.input)
        if op.dim >= len(x.dims):
            self.locals[op.result] = self.view(x, self.shape(op.result))
        elif op.dim < len(x.dims) - 1:
            self.reduce_across(op, x)
        elif op.kind == "mul":
            self.reduce_integers(op)
        elif x.pitch // x.block > FARTHEST:
            self.reduce_row_by_row(op, x)
        else:
            self.reduce_rows(op, x)

    def reduce_across(self, op: tile.Reduce, x: Local) -> None:
        """Along a dim whose elements lie apart: as many at a time as lie side by side."""
        _, pair = REDUCTIONS[op.kind]
        out = self.result(op.result, apart=True)
        length, side = self.count(op.input, op.dim), x.pitch * math.prod(x.dims[op.dim + 1 : -1])
        rest = ["0"] * (len(x.shape) - 1 - op.dim)
        with self.vector_loops([self.count(op.input, d) for d in range(op.dim)]) as at:
            to, first = out.part([*at, "0", *rest]), x.part([*at, "0", *rest])
            self.vector_line(f"DataCopy({to}, {first}, {side});", out, [x])
            with self.loop_of("r", "1", length):
                row = x.part([*at, "r", *rest])
                self.vector_line(f"{pair}({to}, {to}, {row}, {side});", out, [x, out])

    def reduce_row_by_row(self, op: tile.Reduce, x: Local) -> None:
        """Rows that are too long for one step from each to the next."""
        out = self.result(op.result, apart=True)
        work = self.scratch("work", x.type, (x.pitch,))
        *counts, length = (self.count(op.input, d) for d in range(op.dim + 1))
        rest = ["0"] * (len(x.shape) - 1 - op.dim)
        call, _ = REDUCTIONS[op.kind]
        with self.vector_loops(counts) as at:
            to, row = out.part([*at, "0", *rest]), x.part([*at, "0", *rest])
            self.vector_line(f"{call}({to}, {row}, {work.name}, {length});", out, [x, work])

    def reduce_rows(self, op: tile.Reduce, x: Local) -> None:
        """Many rows at once: longer ones than a repeat are first reduced to one."""
        call, pair = REDUCTIONS[op.kind]
        order = "" if op.kind == "add" else ", ReduceOrder::ORDER_ONLY_VALUE"
        *counts, length = (self.count(op.input, d) for d in range(op.dim + 1))
        rest = ["0"] * (len(x.shape) - 1 - op.dim)
        wide, reach, far = x.pitch > x.repeat, smaller(x.repeat, length), x.pitch // x.block
        folded = self.scratch("folded", x.type, (*x.dims[:-1], x.repeat)) if wide else x
        near = folded.pitch // x.block
        out = self.result(op.result, apart=True)
        with self.vector_loops(counts[:-1]) as outer, self.row_chunks(counts[-1:], x) as (rows, n):
            at = [*outer, *rows, "0", *rest]
            source = folded.part(at)
            if wide:
                text = f"Copy({source}, {x.part(at)}, {reach}, {n}, {{1, 1, {near}, {far}}});"
                self.vector_line(text, folded, [x])
                with self.loop_of("c", str(x.repeat), length, x.repeat):
                    more = f"{x.name}[{plus(x.position(at), 'c')}]"
                    mask = smaller(x.repeat, f"{length} - c")
                    steps = f"{{1, 1, 1, {near}, {near}, {far}}}"
                    text = f"{pair}({source}, {source}, {more}, {mask}, {n}, {steps});"
                    self.vector_line(text, folded, [x, folded])
            text = f"Whole{call}({out.part(at)}, {source}, {reach}, {n}, 1, 1, {near}{order});"
            self.vector_line(text, out, [folded])

    @contextmanager
    def row_chunks(self, count: Sequence[str], x: Local) -> Iterator[tuple[list[str], str]]:
        """Gives the first row, and how many one instruction takes; a loop where that isn't all."""
        if not count:
            yield [], "1"
        elif x.dims[-2] <= MOST_REPEATS:
            yield ["0"], count[0]
        else:
            with self.loop_of("first", "0", count[0], MOST_REPEATS):
                yield ["first"], smaller(MOST_REPEATS, f"{count[0]} - first")

    @contextmanager
    def loop_of(self, name: str, low: str, high: str, step: int = 1) -> Iterator[None]:
        """A loop from low to high, or nothing where that is known to be nothing."""
        if low.isdigit() and high.isdigit() and int(low) >= int(high):
            kept = len(self.lines)
            yield
            del self.lines[kept:]
            return
        up = f"++{name}" if step == 1 else f"{name} += {step}"
        self.line(f"for (int32_t {name} = {low}; {name} < {high}; {up}) {{")
        self.depth += 1
        self.enter()
        yield
        self.leave()
        self.depth -= 1
        self.line("}")

    def nothing_to_reduce(self, op: tile.Reduce) -> None:
        """What a reduction of no elements is."""
        kind = self.element_type(op.result)
        low, high = -math.inf, math.inf
        if not is_float(op.result) and not is_bool(op.result):
            bits = 8 * SIZES[kind] - 1
            low, high = -(2**bits), 2**bits - 1
        start = {"add": 0, "or": 0, "mul": 1, "and": 1, "max": low, "min": high}[op.kind]
        self.locals[op.result] = self.filled(op.result, op.kind, start)

    def kept_counts(self, op: tile.Reduce | tile.ArgReduce) -> list[str]:
        """How many results there are along each dim."""
        dims = range(len(self.shape(op.input)))
        return ["1" if d == op.dim else self.count(op.input, d) for d in dims]

    def reduce_integers(self, op: tile.Reduce) -> None:
        """Element by element on the scalar unit: integers, and products along a row."""
        kind = self.element_type(op.result)
        local = self.new(op.result, op.result.name_hint or op.kind, kind)
        counts = self.kept_counts(op)
        length = self.count(op.input, op.dim)
        with self.elements(counts, [op.input], local) as at:
            place = [*at]
            place[op.dim] = "0"
            self.line(f"{kind} total = {self.text(op.input, place)};")
            self.line(f"for (int32_t r = 1; r < {length}; ++r) {{")
            place[op.dim] = "r"
            x = self.text(op.input, place)
            step = {"add": f"total + {x}", "mul": f"total * {x}"}.get(op.kind)
            if step is None:
                helper = {"max": "Larger", "min": "Smaller"}[op.kind]
                step = f"{helper}<{kind}>(total, {x})"
            self.line(f"  total = static_cast<{kind}>({step});")
            self.line("}")
            self.line(f"{local.name}.SetValue({local.position(at)}, total);")
        self.locals[op.result] = local

    # ------------------------------------------------------------------ broadcasts

    def broadcast(self, op: tile.Broadcast) -> None:
        source = self.tile_of(op.input)
        out = self.result(op.result, apart=True)
        self.spread(out, source, self.sizes(op.result))

    def spread(self, out: Local, source: Local, counts: Sequence[str]) -> None:
        """A tile at more places than it has elements; so many of them count."""
        own = (1,) * (len(out.shape) - len(source.shape)) + source.shape
        seen = self.view(source, own)
        last = len(out.dims) - 1
        if own == out.shape:
            self.copy(out, source)
        elif SIZES[out.type] not in (2, 4):
            self.spread_elements(out, seen, counts)
        elif own[last] != out.dims[last]:
            self.spread_numbers(out, seen, counts)
        elif last == 0 or own[last - 1] != 1:
            self.spread_rows(out, seen, counts)
        else:
            self.repeat_copies(out, seen, counts, lambda at, c: seen.part(at, c), "1", "0")

    def spread_elements(self, out: Local, source: Local, counts: Sequence[str]) -> None:
        """Element by element, on the scalar unit: types that the vector unit doesn't copy."""
        self.scalar_access([source], out)
        with self.loops(counts) as at:
            there = source.position(at)
            self.touched(source)
            self.line(f"{out.name}.SetValue({out.position(at)}, {source.name}.GetValue({there}));")
        self.scalar_write(out)

    def spread_rows(self, out: Local, source: Local, counts: Sequence[str]) -> None:
        """Rows that lie side by side, again for each index of the dims before."""
        last = len(out.dims) - 1
        rows = out.dims[last - 1] if last else 1
        rest = ["0"] * (len(out.shape) - max(last - 1, 0))
        with self.vector_loops(counts[: max(last - 1, 0)]) as at:
            to, there = out.part([*at, *rest]), source.part([*at, *rest])
            self.vector_line(f"DataCopy({to}, {there}, {rows * out.pitch});", out, [source])

    def spread_numbers(self, out: Local, source: Local, counts: Sequence[str]) -> None:
        """A number along each row, by way of a block of it."""
        total = source.rows * source.pitch
        blocks = self.scratch("blocks", out.type, (up(total, 8), out.block))
        apart = blocks.pitch // out.block
        for first in range(0, total, 8 * FARTHEST):
            n = min(FARTHEST, -(-(total - first) // 8))
            to, there = (
                f"{t.name}[{k}]" if k else t.name
                for t, k in ((blocks, first * blocks.pitch), (source, first))
            )
            self.vector_line(
                f"Brcb({to}, {there}, {n}, {{{apart}, {8 * apart}}});", blocks, [source]
            )
        last = len(out.dims) - 1
        moves = last > 0 and source.shape[last - 1] != 1

        def block_at(at: Sequence[str], column: str) -> str:
            place = source.position(at)
            return f"{blocks.name}[{bracketed(place)} * {blocks.pitch}]" if place != "0" else (
                blocks.name)  # fmt: skip

        self.repeat_copies(out, blocks, counts, block_at, "0", str(apart) if moves else "0")

    def repeat_copies(
        self,
        out: Local,
        source: Local,
        counts: Sequence[str],
        there: Callable[[Sequence[str], str], str],
        block_step: str,
        row_step: str,
    ) -> None:
        """All columns of all rows, a repeat of each at a time, from `there`."""
        last = len(out.dims) - 1
        rest = ["0"] * (len(out.shape) - last)
        rows = [str(out.dims[last - 1])] if last else []
        far = out.pitch // out.block
        with (
            self.vector_loops(counts[: max(last - 1, 0)]) as outer,
            self.row_chunks(rows, out) as (row, n),
        ):
            at = [*outer, *row, *rest]
            with self.columns(out) as (c, mask):
                to = out.part(at, c)
                steps = f"{{1, {block_step}, {far}, {row_step}}}"
                text = f"Copy({to}, {there(at, c)}, {mask}, {n}, {steps});"
                self.vector_line(text, out, [source])

    @contextmanager
    def columns(self, x: Local) -> Iterator[tuple[str, str]]:
        """Gives the first column of each repeat of a row, and how many there are in it."""
        if x.pitch <= x.repeat:
            yield "0", str(x.pitch)
            return
        with self.loop_of("c", "0", str(x.pitch), x.repeat):
            even = x.pitch % x.repeat == 0
            yield "c", str(x.repeat) if even else smaller(x.repeat, f"{x.pitch} - c")


def smaller(limit: int, count: str) -> str:
    """The smaller of a number and a count."""
    if count.isdigit():
        return str(min(limit, int(count)))
    return f"Smaller<int32_t>({limit}, {count})"
