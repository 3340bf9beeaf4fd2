"""Copies between device memory and the unified buffer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from xdsl.ir import Operation, SSAValue

from aicc.backends.ascendc.indices import integer_type, is_bool, is_float
from aicc.backends.ascendc.locals import BLOCK, Local, row_dim
from aicc.backends.ascendc.spellings import SIZES, memory_type
from aicc.backends.ascendc.writer import Writer
from aicc.backends.c_text import bracketed, dim_text
from aicc.ir import tile
from aicc.ir.tile.types import tile_element

MOST_ROWS = 4095
"""Rows that one copy takes."""


class Copies(Writer, ABC):
    """Writes loads and stores. Queues hold the tiles of each, two at a time."""

    def __init__(self, kernel: tile.Kernel):
        super().__init__(kernel)
        self.queues: dict[str, Local] = {}
        self.queue_names: dict[tile.Access, str] = {}
        self.masks: dict[SSAValue, Local] = {}
        self.matmuls: dict[tuple, str] = {}
        self.buffers: dict[SSAValue, str] = {}
        self.copied: dict[tile.Load, Local] = {}
        self.arrived: list[list[Local]] = [[]]
        self.leaving: list[list[tuple[tile.Store, Local]]] = [[]]

    def gm(self, buffer: SSAValue) -> str:
        return f"{self.buffers[buffer]}Gm"

    @staticmethod
    def stored_type(op: tile.Access) -> str:
        """The element type in device memory."""
        assert isinstance(op.buffer.type, tile.BufferType)
        return memory_type(op.buffer.type.dtype)

    # ------------------------------------------------------------------ results

    def result(self, value: SSAValue, apart: bool = False) -> Local:
        """The tile of an op's result: that of a queue where all that is left is to store it.

        `apart` says that it may not lie where an operand ends.
        """
        store = self.only_store(value)
        if store is not None:
            local = self.outgoing(store, self.shape(value))
        else:
            if not apart:
                self.clock -= 1  # may begin where an operand ends
            local = self.new(value, value.name_hint or value.owner.name.split(".")[-1])  # type: ignore[union-attr]
            if not apart:
                self.clock += 1
        self.locals[value] = local
        return local

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

    # ------------------------------------------------------------------ rows

    def rows_of(self, op: tile.Access) -> list[str] | None:
        """How many elements of each dim are copied, row by row; None where rows aren't contiguous.

        Then masks say no more than where axes end.
        """
        shape = self.access_shape(op)
        if not shape:
            shape = (1,)
        if not op.only_ends():
            return None
        last = row_dim(shape)
        if shape[last] != 1 and self.address_step(op, last) != 1:
            return None
        if any(not isinstance(c.owner.operands[0].owner, tile.Axis) for c in op.conditions()):  # type: ignore[union-attr]
            return None
        return self.access_counts(op, shape)

    def access_counts(self, op: tile.Access, shape: Sequence[int]) -> list[str]:
        """How many elements of each dim an access goes to, by the ends that its mask says."""
        axes: dict[int, tile.Axis] = {}
        for c in op.conditions():
            if isinstance(c.owner, tile.InBounds) and isinstance(c.owner.axis.owner, tile.Axis):
                axes[c.owner.axis.owner.dim] = c.owner.axis.owner
        return [self.axis_count(axes[d]) if d in axes else str(n) for d, n in enumerate(shape)]

    def access_shape(self, op: tile.Access) -> tuple[int, ...]:
        """The shape that an access goes over."""
        value = op.result if isinstance(op, tile.Load) else op.value  # type: ignore[attr-defined]
        shapes = [self.shape(v) for v in (*op.subscripts, value)]
        rank = max(map(len, shapes))
        return tuple(max(s[i] for s in shapes if s) for i in range(rank))

    def row_copies(self, op: tile.Access, local: Local, counts: Sequence[str], load: bool) -> None:
        """Copies of whole rows, as many at a time as lie evenly in device memory."""
        if "0" in counts:
            return
        size = SIZES[local.type]
        last, rest = row_dim(local.shape), ["0"] * (len(counts) - 1 - row_dim(local.shape))
        n = counts[last]
        step = self.address_step(op, last - 1) if last >= 1 else None
        known = n.isdigit()
        even = step is not None and last >= 1 and counts[last - 1] != "1"
        if even and isinstance(step, int):
            even = step >= int(n) if known else step >= self.access_shape(op)[last]
        if even and self.access_shape(op)[last - 1] > MOST_ROWS:
            even = False
        outer = list(counts[: last - 1] if even else counts[:last])
        length = str(int(n) * size) if known else f"{bracketed(n)} * {size}"
        line = -(-int(n) * size // BLOCK) if known else f"({bracketed(n)} * {size} + 31) / 32"
        whole = local.pitch * size // BLOCK
        gap = str(whole - line) if isinstance(line, int) else f"{whole} - {line}"
        with self.loops(outer) as at:
            place = [*at, *(["0", "0"] if even else ["0"]), *rest]
            there = local.position(place)
            tile_text = local.name if there == "0" else f"{local.name}[{there}]"
            address = self.address(op, place)
            memory = f"{self.gm(op.buffer)}[{address}]"
            rows, far, near = "1", "0", "0"
            if even:
                assert step is not None
                rows, near = counts[last - 1], gap
                stride = dim_text(step)
                far = f"({bracketed(stride)} - {bracketed(n)}) * {size}"
                if stride == n:
                    far = "0"
                elif known and isinstance(step, int):
                    far = str((step - int(n)) * size)

            def narrow(text: str, kind: str) -> str:
                return text if text.isdigit() else f"static_cast<{kind}>({text})"

            rows = narrow(rows, "uint16_t")
            length_text, far, near = (narrow(t, "uint32_t") for t in (length, far, near))
            self.clock += 1
            if load:
                extra = f"{{{rows}, {length_text}, {far}, {near}, 0}}"
                pad = f"DataCopyPadExtParams<{local.type}>{{false, 0, 0, 0}}"
                self.line(f"DataCopyPad({tile_text}, {memory}, {extra}, {pad});")
            else:
                extra = f"{{{rows}, {length_text}, {near}, {far}, 0}}"
                self.line(f"DataCopyPad({memory}, {tile_text}, {extra});")

    # ------------------------------------------------------------------ loads

    def load(self, op: tile.Load) -> None:
        if self.rows_of(op) is None:
            return self.load_elements(op)
        local = self.copied.get(op) or self.copy_in(op)
        self.line(f"LocalTensor<{local.type}> {local.name} = {local.queue}.DeQue<{local.type}>();")
        self.mark("MTE2_S", "MTE2_MTE3")
        self.arrived[-1].append(local)
        self.loaded(op, local)

    def copy_in(self, op: tile.Load) -> Local:
        """Copy what a load reads to its queue. Gives the tile that is going to arrive."""
        counts = self.rows_of(op)
        assert counts is not None
        stored, name, shape = self.stored_type(op), self.queue_name(op), self.shape(op.result)
        hint = op.result.name_hint or self.buffers[op.buffer]
        local = Local(self.fresh(hint), stored, shape, self.grain, name)
        self.scalar_access(self.locals_below(*op.subscripts, op.mask), None)
        self.queues.setdefault(name, local)
        filled = Local(self.fresh(f"{hint}_in"), stored, shape, self.grain, name)
        self.line(f"LocalTensor<{stored}> {filled.name} = {name}.AllocTensor<{stored}>();")
        self.row_copies(op, filled, counts, True)
        self.line(f"{name}.EnQue({filled.name});")
        return local

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
        counts = self.access_counts(op, shape)
        conditions = [c for c in op.conditions() if not isinstance(c.owner, tile.InBounds)]
        with self.elements(counts, [*op.subscripts, *conditions], local) as at:
            value = f"{self.gm(op.buffer)}.GetValue({self.address(op, at)})"
            tests = [self.text(c, self.fitted(c, at)) for c in conditions]
            if tests:
                other = op.other if op.other is not None else 0
                fill = (
                    f"static_cast<{stored}>({float(other) if is_float(op.result) else int(other)})"
                )
                value = f"{' && '.join(tests)} ? {value} : {fill}"
            self.line(f"{local.name}.SetValue({local.position(at)}, {value});")
        self.loaded(op, local)

    def free_arrived(self) -> None:
        """Give back the tiles of this block's loads."""
        for local in self.arrived[-1]:
            self.line(f"{local.queue}.FreeTensor({local.name});")

    # ------------------------------------------------------------------ stores

    def store(self, op: tile.Store) -> None:
        shape = self.access_shape(op) or (1,)
        counts = self.rows_of(op)
        value = self.value_to_store(op, shape)
        if counts is None:
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
        counts, name = self.rows_of(op), self.queue_name(op)
        assert counts is not None
        self.scalar_access(self.locals_below(*op.subscripts, op.mask), None)
        hint = self.fresh(f"{self.buffers[op.buffer]}_out")
        done = Local(hint, local.type, local.shape, self.grain, name)
        self.line(f"LocalTensor<{done.type}> {hint} = {name}.DeQue<{done.type}>();")
        self.row_copies(op, done, counts, False)
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
            self.spread(out, local, self.access_counts(op, shape))
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
        with self.elements(self.sizes(value), [value], local) as at:
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
        size = SIZES[value.type]
        slots = BLOCK // size
        slot = Local(self.fresh("slot"), value.type, (slots,), slots, name)
        self.queues.setdefault(name, slot)
        counts = self.access_counts(op, shape)
        conditions = [c for c in op.conditions() if not isinstance(c.owner, tile.InBounds)]
        self.scalar_access([value, *self.locals_below(*op.subscripts, *conditions)], None)
        with self.loops(counts) as at:
            tests = [self.text(c, self.fitted(c, at)) for c in conditions]
            if tests:
                self.line(f"if (!({' && '.join(tests)})) continue;")
            self.line(
                f"LocalTensor<{value.type}> {slot.name} = {name}.AllocTensor<{value.type}>();"
            )
            self.touched(value)
            element = f"{value.name}.GetValue({value.position(at)})"
            fill = f"{element}, {slots}"
            if size in (2, 4):
                self.vector_line(f"Duplicate({slot.name}, {fill});", value, [])
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
