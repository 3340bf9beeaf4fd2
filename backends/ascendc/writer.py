"""Lines of a kernel, the tiles that it keeps, and what one pipe must wait for another for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from xdsl.ir import SSAValue

from aicc.backends.ascendc.indices import Indices, integer_type, is_bool, is_float
from aicc.backends.ascendc.locals import Local
from aicc.backends.ascendc.spellings import SIZES, TYPES
from aicc.backends.c_text import INDENT, RESERVED, Unprintable, bracketed, cpp_name, dim_text
from aicc.backends.printing import fresh_name
from aicc.ir import tile
from aicc.ir.dtypes import dtype_of
from aicc.ir.tile.extents import Extents
from aicc.ir.tile.types import bind, tile_element

EVENTS = ("V_S", "MTE2_S", "S_V", "V_MTE3", "MTE2_MTE3", "S_MTE3")
"""What kernels wait for by flags of their own: pipes, the one that others wait for first."""

NAME = re.compile(r"[A-Za-z_]\w*")

SCALAR_EVENTS = tuple(e for e in EVENTS if "S" in e.split("_"))
"""Those of the scalar unit."""

OWN_NAMES = {
    *(
        "pipe",
        "pool",
        "tiling",
        "program",
        "half",
        "total",
        "best",
        "given",
        "op",
        "c",
        "first",
        "found",
        "x",
        "r",
        "same",
        "Sync",
    ),
    *("Quotient", "Rest", "Larger", "Smaller", "Process", "Init", "Compute"),
    *(f"i{n}" for n in range(4)),
}


class Writer(Indices):
    """Writes instructions with the flags between pipes that they need.

    A tile lives from `start` to `end`, counted in instructions; one that a loop uses and that was
    there before lives until the loop's end.
    """

    def __init__(self, kernel: tile.Kernel):
        super().__init__(Extents(kernel))
        self.lines: list[str] = []
        self.depth = 2
        self.clock = 0
        self.pool: list[Local] = []
        self.open_loops: list[tuple[int, list[Local]]] = []
        self.scopes: list[list[SSAValue]] = [[]]
        self.taken = {*RESERVED, *OWN_NAMES, *map(cpp_name, kernel.sizes), *kernel.schedule}
        self.counts: dict[tuple, str] = {}
        self.ramps: dict[tuple, Local] = {}
        self.outer_counts: list[tuple[dict[tuple, str], dict[tuple, Local]]] = []
        self.dirty: set[str] = set()
        self.marked: set[str] = set()
        self.scalar_tiles = False
        self.grain = 8
        self.touched = self.touch
        self.definitions: dict[str, str] = {}
        self.parameters: dict[str, str] = {"program": "int64_t"}
        self.methods: list[str] = []
        self.around: tuple[list[str], int] | None = None
        for name in map(cpp_name, kernel.sizes):
            self.define(name, "int64_t", f"tiling->{name}")

    # ------------------------------------------------------------------ lines and names

    def line(self, text: str) -> None:
        self.lines.append(INDENT * self.depth + text if text else "")

    def define(self, name: str, type: str, text: str) -> None:
        """A constant of the scalar unit. Methods that use it say it again."""
        line = f"const {type} {name} = {text};"
        self.definitions[name] = line
        lines, depth = self.around or (self.lines, self.depth)
        lines.append(INDENT * depth + line)

    @contextmanager
    def method(self, name: str) -> Iterator[None]:
        """What is written goes to a method of its own, which is called from here."""
        kept = self.lines, self.depth
        self.around, (self.lines, self.depth) = kept, ([], 2)
        yield
        written = self.lines
        self.around, (self.lines, self.depth) = None, kept
        if not written:
            return
        parameters, constants = self.used_in(written)
        given = ", ".join(f"{self.parameters[p]} {p}" for p in parameters)
        lines = [f"  __aicore__ inline void {name}({given}) {{"]
        lines += [INDENT * 2 + self.definitions[c] for c in constants]
        self.methods.append("\n".join([*lines, *written, "  }"]))
        self.line(f"{name}({', '.join(parameters)});")

    def used_in(self, lines: Sequence[str]) -> tuple[list[str], list[str]]:
        """The parameters and constants that lines need."""
        needed, pending = set[str](), list(lines)
        while pending:
            for name in NAME.findall(pending.pop()):
                if name not in needed and (name in self.definitions or name in self.parameters):
                    needed.add(name)
                    pending.append(self.definitions.get(name, ""))
        return [p for p in self.parameters if p in needed], [
            d for d in self.definitions if d in needed
        ]

    def without_unused(self, lines: list[str]) -> list[str]:
        """Lines but for those of constants that no other needs."""
        counts = Counter(name for line in lines for name in NAME.findall(line))
        own = {line: name for name, line in self.definitions.items()}
        kept = [n for n in lines if counts[own.get(n.strip(), "")] != 1]
        return kept if len(kept) == len(lines) else self.without_unused(kept)

    def fresh(self, hint: str | None) -> str:
        short = (
            "_".join(hint.replace(".", "_").split("_")[-2:]) if hint and len(hint) > 24 else hint
        )
        return fresh_name(short, self.taken)

    def touch(self, local: Local) -> None:
        """Note that a tile is used now."""
        for one in (local, *local.homes):
            one.end = self.clock + 1
            for start, used in self.open_loops:
                if one.start < start:
                    used.append(one)

    # ------------------------------------------------------------------ tiles

    def new(self, value: SSAValue, hint: str, type: str | None = None) -> Local:
        kind = type or self.element_type(value)
        return self.scratch(hint, kind, self.shape(value))

    def element_type(self, value: SSAValue) -> str:
        """The element type of a value's tile: masks are 0 and 1 as half."""
        if is_bool(value):
            return "half"
        element = tile_element(value.type)
        if not is_float(value):
            return integer_type(element)
        name = dtype_of(element).name
        if name not in TYPES:
            raise Unprintable(f"elements of {name}, which the vector unit doesn't have")
        return TYPES[name]

    def scratch(self, hint: str, type: str, shape: tuple[int, ...]) -> Local:
        """A tile of its own in the pool."""
        self.clock += 1
        local = Local(self.fresh(hint), type, shape, self.grain, start=self.clock, end=self.clock)
        self.pool.append(local)
        return local

    def view(self, local: Local, shape: tuple[int, ...]) -> Local:
        """The same tile with dims of one more or fewer, or leading dims joined."""
        seen = Local(local.name, local.type, shape, local.grain, local.queue)
        seen.homes = [local, *local.homes]
        return seen

    def remember_here(self, value: SSAValue, local: Local) -> None:
        """Note the tile of a value until the present loop ends."""
        self.locals[value] = local
        self.scopes[-1].append(value)

    # ------------------------------------------------------------------ pipes

    def sync(self, *events: str) -> None:
        """Wait as events say, where there is something to wait for."""
        for event in events:
            if event in self.dirty:
                self.dirty.discard(event)
                self.line(f"Sync<HardEvent::{event}>();")

    def mark(self, *events: str) -> None:
        self.dirty.update(events)
        self.marked.update(events)

    def vector_line(self, text: str, out: Local, sources: Sequence[Local]) -> None:
        """An instruction of the vector unit."""
        self.clock += 1
        self.sync("S_V")
        for local in (out, *sources):
            self.touch(local)
        self.line(text)
        self.mark("V_S", "V_MTE3")

    def vector(
        self, call: str, out: Local, sources: Sequence[Local], *rest: str, count: int | None = None
    ) -> None:
        """An instruction over whole tiles."""
        names = [out.name, *(s.name for s in sources), *rest, str(count or out.count)]
        self.vector_line(f"{call}({', '.join(names)});", out, sources)

    def copy(self, out: Local, source: Local) -> None:
        """A tile from another of its size and type."""
        count = min(out.count, source.count)
        size = SIZES[out.type]
        if size in (2, 4):
            return self.vector_line(f"DataCopy({out.name}, {source.name}, {count});", out, [source])
        view = ".ReinterpretCast<int32_t>()" if size == 8 else ".ReinterpretCast<int16_t>()"
        count = count * 2 if size == 8 else count // 2
        text = f"DataCopy({out.name}{view}, {source.name}{view}, {count});"
        self.vector_line(text, out, [source])

    def needed(self, lines: list[str]) -> list[str]:
        """Lines but for what nothing needs: constants, and flags for a unit that has no tiles."""
        flags = () if self.scalar_tiles else SCALAR_EVENTS
        idle = {f"Sync<HardEvent::{event}>();" for event in flags}
        return self.without_unused([n for n in lines if n.strip() not in idle])

    def scalar_access(self, sources: Sequence[Local], out: Local | None) -> None:
        """Before the scalar unit reads tiles, and writes one."""
        if sources or out is not None:
            self.scalar_tiles = True
            self.mark("V_S")  # what was done for the program before this one counts, too
            self.sync("V_S", "MTE2_S")
        for local in sources:
            self.touch(local)
        if out is not None:
            self.scalar_write(out)

    def scalar_write(self, out: Local) -> None:
        self.touch(out)
        self.scalar_tiles = True
        self.mark("S_V", "S_MTE3")

    # ------------------------------------------------------------------ loops

    def count(self, value: SSAValue, dim: int) -> str:
        """How many elements along a dim count."""
        axis = self.extents.extent(value, dim)
        if axis is None:
            return str(self.shape(value)[dim])
        return self.axis_count(axis)

    def axis_count(self, axis: tile.Axis) -> str:
        schedule = self.kernel.schedule
        block, end = bind(axis.block[0], schedule), bind(axis.bound[0], schedule)
        start = self.text(axis.start)
        if start == "0" and isinstance(block, int) and isinstance(end, int):
            return str(min(block, end))
        key = (start, block, end)
        if key not in self.counts:
            name = self.fresh(f"{axis.result.name_hint or 'axis'}_count")
            rest = dim_text(end) if start == "0" else f"{dim_text(end)} - {bracketed(start)}"
            text = f"static_cast<int32_t>(Smaller<int64_t>({block}, {rest}))"
            self.define(name, "int32_t", text)
            self.counts[key] = name
        return self.counts[key]

    def sizes(self, value: SSAValue) -> list[str]:
        """How many elements along each dim count."""
        return [self.count(value, d) for d in range(len(self.shape(value)))]

    @contextmanager
    def loops(self, counts: Sequence[str]) -> Iterator[list[str]]:
        """Loops over so many rows of each dim; gives the index of each."""
        at: list[str] = []
        opened = 0
        before = set(self.dirty)
        for d, n in enumerate(counts):
            if n == "1":
                at.append("0")
                continue
            name = f"i{d}"
            self.line(f"for (int32_t {name} = 0; {name} < {n}; ++{name}) {{")
            self.depth += 1
            opened += 1
            at.append(name)
        if opened:
            self.enter()
        yield at
        self.dirty |= before
        if opened:
            self.leave()
        for _ in range(opened):
            self.depth -= 1
            self.line("}")

    def vector_loops(self, counts: Sequence[str]) -> AbstractContextManager[list[str]]:
        """Loops of which each round gives the vector unit something to do."""
        self.sync("S_V")
        return self.loops(counts)

    @contextmanager
    def when(self, *tests: str) -> Iterator[None]:
        """What is done only if all tests are true."""
        before = set(self.dirty)
        if tests:
            self.line(f"if ({' && '.join(tests)}) {{")
            self.depth += 1
        yield
        self.dirty |= before
        if tests:
            self.depth -= 1
            self.line("}")

    @contextmanager
    def elements(
        self,
        counts: Sequence[str],
        sources: Sequence[SSAValue],
        out: Local,
    ) -> Iterator[list[str]]:
        """Loops of the scalar unit over so many elements of each dim of a tile that it writes."""
        self.clock += 1
        self.scalar_access(self.locals_below(*sources), out)
        with self.loops(counts) as at:
            yield at
        self.scalar_write(out)

    def enter(self) -> None:
        self.clock += 1
        self.open_loops.append((self.clock, []))
        self.scopes.append([])
        self.outer_counts.append((dict(self.counts), dict(self.ramps)))

    def leave(self) -> None:
        self.clock += 1
        _, used = self.open_loops.pop()
        self.counts, self.ramps = self.outer_counts.pop()
        for local in used:
            local.end = max(local.end, self.clock + 1)
            for start, outer in self.open_loops:
                if local.start < start:
                    outer.append(local)
        for value in self.scopes.pop():
            self.locals.pop(value, None)
