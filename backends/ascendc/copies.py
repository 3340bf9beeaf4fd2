"""Copies between device memory and the unified buffer: strips, and stores of tiles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from xdsl.dialects import scf
from xdsl.ir import Operation, SSAValue

from aicc.backends.ascendc.indices import integer_type, is_bool, is_float
from aicc.backends.ascendc.locals import BLOCK, Local
from aicc.backends.ascendc.spellings import SIZES
from aicc.backends.ascendc.strips import StripPlans, Strips, joined
from aicc.backends.c_text import bracketed, dim_text
from aicc.ir import tile
from aicc.ir.symbols import Dim
from aicc.ir.tile.types import bind, tile_element

MOST_ROWS = 4095
"""Rows that one copy takes."""


class Copies(StripPlans, ABC):
    """Writes loads and stores. Queues hold the tiles of each, two at a time."""

    def __init__(self, kernel: tile.Kernel):
        super().__init__(kernel)
        self.queues: dict[str, Local] = {}
        self.homes: dict[SSAValue, tuple[SSAValue, Local]] = {}
        self.queue_names: dict[tile.Access, str] = {}
        self.masks: dict[SSAValue, Local] = {}
        self.buffers: dict[SSAValue, str] = {}
        self.leaving: list[list[tuple[tile.Store, Local]]] = [[]]

    def gm(self, buffer: SSAValue) -> str:
        return f"{self.buffers[buffer]}Gm"

    # ------------------------------------------------------------------ results

    def result(self, value: SSAValue, apart: bool = False) -> Local:
        """The tile of an op's result: that of a queue where all that is left is to store it.

        `apart` says that it may not lie where an operand ends.
        """
        store = self.only_store(value)
        if (home := self.home_of(value, apart)) is not None:
            local = home
        elif store is not None:
            local = self.outgoing(store, self.shape(value))
        else:
            if not apart:
                self.clock -= 1  # may begin where an operand ends
            local = self.new(value, value.name_hint or value.owner.name.split(".")[-1])  # type: ignore[union-attr]
            if not apart:
                self.clock += 1
        self.locals[value] = local
        return local

    def home_of(self, value: SSAValue, apart: bool) -> Local | None:
        """The tile that a loop carries, if all that is left is to carry the value on in it."""
        owner = value.owner
        if value not in self.homes or not isinstance(owner, Operation) or len(list(value.uses)) > 1:
            return None
        arg, home = self.homes[value]
        for use in arg.uses:
            later: Operation | None = use.operation
            while later is not None and later.parent is not owner.parent:
                later = later.parent_op()
            if later is None or (
                not later.is_before_in_block(owner) and (apart or later is not owner)
            ):
                return None
        return home if home.type == self.element_type(value) else None

    def only_store(self, value: SSAValue) -> tile.Store | None:
        uses = list(value.uses)
        if len(uses) != 1 or not isinstance(uses[0].operation, tile.Store):
            return None
        store = uses[0].operation
        owner = value.owner
        here = isinstance(owner, Operation) and owner.parent is store.parent
        same = self.stored_type(store) == self.element_type(value) and not is_bool(value)
        return store if here and same and self.rows_of(store) is not None else None

    def outgoing(self, store: tile.Store, shape: tuple[int, ...]) -> Local:
        """A free tile of the queue of a store."""
        name, type = self.queue_name(store), self.stored_type(store)
        hint = f"{self.buffers[store.buffer]}_tile"
        local = Local(self.fresh(hint), type, shape, self.grain, name)
        self.queues.setdefault(name, local)
        self.line(f"LocalTensor<{type}> {local.name} = {name}.AllocTensor<{type}>();")
        return local

    def queue_name(self, op: tile.Access) -> str:
        if op not in self.queue_names:
            base = "".join(p.capitalize() for p in self.buffers[op.buffer].split("_"))
            kind = "out" if isinstance(op, tile.Store) else "in"
            self.queue_names[op] = self.fresh(f"{kind}{base}")
        return self.queue_names[op]

    # ------------------------------------------------------------------ strips

    def strip_copies(self, op: tile.Access, local: Local, strips: Strips, start: str = "0") -> None:
        """Copies of strips, as many at a time as lie evenly in device memory.

        They begin at an index of the last dim.
        """
        *rows, n = strips.counts
        if "0" in self.access_counts(op):
            return
        size, rank = SIZES[local.type], len(self.access_shape(op))
        step = self.address_step(op, strips.order[-2]) if rows and rows[-1] != "1" else None
        if isinstance(step, int) and step < self.longest(op, strips):
            step = None
        even = step is not None and strips.shape[-2] <= MOST_ROWS and not strips.guards
        even = even and strips.runs is None
        length = (
            str(int(n) * size) if n.isdigit() else f"static_cast<uint32_t>({bracketed(n)} * {size})"
        )
        with self.loops(rows[:-1] if even else rows) as at:
            far, near, count = "0", "0", "1"
            if even:
                assert step is not None
                far, near = self.gaps(local, n, step, size)
                count = rows[-1] if rows[-1].isdigit() else f"static_cast<uint16_t>({rows[-1]})"
            elif strips.runs is not None:
                run, apart = strips.runs
                far, length = str((apart - run) * size), str(run * size)
                count = str(int(n) // run) if n.isdigit() else (
                    f"static_cast<uint16_t>({bracketed(n)} / {run})")  # fmt: skip
            place = joined([*at, *(["0"] if even else []), start], strips.order, rank)
            near_text = local.part([*at, *(["0"] if even else []), "0"])
            memory = f"{self.gm(op.buffer)}[{self.address(op, place)}]"
            self.clock += 1
            with self.when(*(self.text(c, self.fitted(c, place)) for c in strips.guards)):
                if isinstance(op, tile.Load):
                    pad = f"DataCopyPadExtParams<{local.type}>{{false, 0, 0, 0}}"
                    extra = f"{{{count}, {length}, {far}, {near}, 0}}"
                    self.line(f"DataCopyPad({near_text}, {memory}, {extra}, {pad});")
                else:
                    extra = f"{{{count}, {length}, {near}, {far}, 0}}"
                    self.line(f"DataCopyPad({memory}, {near_text}, {extra});")

    def longest(self, op: tile.Access, strips: Strips) -> int:
        """The most elements that a strip has."""
        if strips.counts[-1].isdigit():
            return int(strips.counts[-1])
        limits = [strips.shape[-1]]
        for c in op.conditions():
            axis = c.owner.operands[0].owner if isinstance(c.owner, tile.InBounds) else None
            if isinstance(axis, tile.Axis) and axis.dim == strips.order[-1] and strips.is_tile:
                bound = bind(axis.bound[0], self.kernel.schedule)
                limits += [bound] if isinstance(bound, int) else []
        return min(limits)

    @staticmethod
    def gaps(local: Local, n: str, step: Dim, size: int) -> tuple[str, str]:
        """From a strip of `n` to the next: bytes in device memory, and blocks in the tile."""
        whole, stride = local.pitch * size // BLOCK, dim_text(step)
        if n.isdigit():
            near = str(whole - -(-int(n) * size // BLOCK))
        else:
            near = f"static_cast<uint32_t>({whole} - ({bracketed(n)} * {size} + 31) / 32)"
        if n.isdigit() and isinstance(step, int):
            return str((step - int(n)) * size), near
        far = f"static_cast<uint32_t>(({bracketed(stride)} - {bracketed(n)}) * {size})"
        return "0" if stride == n else far, near

    # ------------------------------------------------------------------ stores

    def store(self, op: tile.Store) -> None:
        shape = self.access_shape(op)
        value = self.value_to_store(op, shape)
        if self.rows_of(op) is None:
            return self.store_elements(op, value, shape)
        local = value
        name = self.queue_name(op)
        if value.queue != name:
            local = self.outgoing(op, shape)
            self.copy(local, value)
        self.line(f"{name}.EnQue({local.name});")
        if self.locals_below(*op.subscripts, op.mask):
            self.copy_out(op, local)
        else:
            self.leaving[-1].append((op, local))

    def copy_out(self, op: tile.Store, local: Local) -> None:
        """Copy to device memory what was put into a store's queue."""
        strips, name = self.rows_of(op), self.queue_name(op)
        assert strips is not None
        self.scalar_access(self.locals_below(*op.subscripts, op.mask), None)
        hint = self.fresh(f"{self.buffers[op.buffer]}_out")
        done = Local(hint, local.type, local.shape, self.grain, name)
        self.line(f"LocalTensor<{done.type}> {hint} = {name}.DeQue<{done.type}>();")
        self.strip_copies(op, done, strips)
        self.line(f"{name}.FreeTensor({hint});")

    def value_to_store(self, op: tile.Store, shape: tuple[int, ...]) -> Local:
        """The tile that is stored: of the store's shape, in the type of memory."""
        stored = self.stored_type(op)
        value = op.value
        if is_bool(value) or (not is_float(value) and value not in self.locals):
            local = self.bytes_of(value, stored)
        else:
            local = self.tile_of(value)
        if local.type != stored:
            out = self.scratch("stored", stored, local.shape)
            self.convert(out, local)
            local = out
        if [d for d in local.shape if d != 1] != [d for d in shape if d != 1]:
            out = self.scratch("spread", stored, shape)
            self.spread(out, local, self.access_counts(op))
            return out
        return self.view(local, shape)

    def bytes_of(self, value: SSAValue, stored: str) -> Local:
        """A mask as bytes, or integers in the type of memory."""
        if is_bool(value) and value in self.locals:
            flags = self.locals[value]
            out = self.scratch("flags", stored, flags.shape)
            self.vector("Cast", out, [flags], "RoundMode::CAST_RINT")
            return out
        return self.by_elements(value, stored)

    def by_elements(
        self, value: SSAValue, type: str, result: SSAValue | None = None, unsigned: bool = False
    ) -> Local:
        """What the scalar unit computes, element by element, as a tile of a type.

        It is the tile of `result`, if that is another value; `unsigned` integers are taken as such.
        """
        result = value if result is None else result
        local = self.new(result, result.name_hint or "made", type)
        whole = [str(d) for d in self.shape(value)]  # a loop carries what axes end before, too
        counts = whole if carries_on(result) else self.sizes(value)
        with self.elements(counts, [value], local) as at:
            text = self.text(value, at)
            if is_bool(value):
                text = f"{text} ? 1 : 0"
            elif unsigned:
                text = f"static_cast<{integer_type(tile_element(value.type), True)}>({text})"
            self.line(f"{local.name}.SetValue({local.position(at)}, static_cast<{type}>({text}));")
        return local

    def store_elements(self, op: tile.Store, value: Local, shape: tuple[int, ...]) -> None:
        """Element by element: each from a block of its own, as copies need it."""
        name = self.queue_name(op)
        slots = value.block
        slot = Local(self.fresh("slot"), value.type, (slots,), slots, name)
        self.queues.setdefault(name, slot)
        counts = self.access_counts(op)
        conditions = [c for c in op.conditions() if not isinstance(c.owner, tile.InBounds)]
        self.scalar_access([value, *self.locals_below(*op.subscripts, *conditions)], None)
        with self.loops(counts) as at:
            tests = [self.text(c, self.fitted(c, at)) for c in conditions]
            with self.when(*tests):
                self.store_element(op, value, slot, at)

    def store_element(self, op: tile.Store, value: Local, slot: Local, at: Sequence[str]) -> None:
        """One element, by way of a block of its own."""
        name, size = self.queue_name(op), SIZES[value.type]
        self.line(f"LocalTensor<{value.type}> {slot.name} = {name}.AllocTensor<{value.type}>();")
        self.touched(value)
        element = f"{value.name}.GetValue({value.position(at)})"
        if size in (2, 4):
            self.vector_line(f"Duplicate({slot.name}, {element}, {slot.block});", value, [])
        else:
            self.line("Sync<HardEvent::MTE3_S>();")
            self.line(f"{slot.name}.SetValue(0, {element});")
            self.line("Sync<HardEvent::S_MTE3>();")
        self.line(f"{name}.EnQue({slot.name});")
        done = f"{slot.name}_done"
        self.line(f"LocalTensor<{value.type}> {done} = {name}.DeQue<{value.type}>();")
        memory = f"{self.gm(op.buffer)}[{self.address(op, at)}]"
        self.line(f"DataCopyPad({memory}, {done}, {{1, {size}, 0, 0, 0}});")
        self.line(f"{name}.FreeTensor({done});")
        self.clock += 1

    # ------------------------------------------------------------------ given below

    @abstractmethod
    def tile_of(self, value: SSAValue) -> Local:
        """The tile of a value; made if the value has none."""

    @abstractmethod
    def spread(self, out: Local, source: Local, counts: Sequence[str]) -> None:
        """A tile at more places than it has elements; so many of them count."""

    @abstractmethod
    def convert(self, out: Local, x: Local) -> None:
        """A tile in another type."""


def carries_on(value: SSAValue) -> bool:
    """Whether a loop carries what is made of a value place by place, all of the tile."""
    pending, seen = [value], set[SSAValue]()
    while pending:
        v = pending.pop()
        if v in seen:
            continue
        seen.add(v)
        for use in v.uses:
            if isinstance(use.operation, scf.YieldOp):
                return True
            if not isinstance(use.operation, (tile.Reduce, tile.Dot, tile.Store)):
                pending += use.operation.results
    return False
