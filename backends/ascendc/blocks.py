"""Blocks of ops: what is copied in before them, computed in them, and copied out after them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.dialects import scf
from xdsl.ir import Block, Operation, SSAValue

from aicc.backends.ascendc.indices import is_bool, is_float
from aicc.backends.ascendc.locals import Local
from aicc.backends.ascendc.masks import TILE_OPS
from aicc.backends.ascendc.spellings import SIZES, number
from aicc.backends.ascendc.vectors import Vectors
from aicc.backends.ascendc.writer import EVENTS
from aicc.backends.c_text import Unprintable, is_plain, program_text
from aicc.backends.printing import origin_text
from aicc.ir import tile
from aicc.ir.tile.types import bind

SCALAR_OPS = (tile.ProgramId, tile.Size, tile.Full, tile.Axis, tile.InBounds)


class Blocks(Vectors):
    """Writes the ops of a kernel's body and of its loops."""

    # ------------------------------------------------------------------ blocks

    def steps(self, block: Block, where: str = "") -> None:
        """Write a block's ops: its copies are methods, called before all else and after."""
        early = [op for op in block.ops if self.is_scalar(op)]
        for op in early:
            self.named(op, self.step)
        for op in block.ops:
            if isinstance(op, scf.ForOp):
                self.plan_fixpipe(op)
        loads = [op for op in block.ops if isinstance(op, tile.Load) and self.comes_first(op)]
        with self.method(self.fresh(f"CopyIn{where}")):
            for op in loads:
                self.named(op, self.copy_early)
        for op in block.ops:
            done = op in early or op in self.in_fixpipe
            if not done and not isinstance(op, (tile.Return, scf.YieldOp)):
                self.named(op, self.step)

    def leave_block(self, where: str = "") -> None:
        """Give back what the block's loads were given, and copy out what it made."""
        self.free_arrived()
        with self.method(self.fresh(f"CopyOut{where}")):
            for op, local in self.leaving[-1]:
                self.copy_out(op, local)

    def named(self, op: Operation, write: Callable[[Any], None]) -> None:
        """Write an op; what can't be expressed is said with where it comes from."""
        try:
            write(op)
        except Unprintable as e:
            raise Unprintable(f"{e} (from {origin_text(op, self.kernel.sym_name)})") from None

    def copy_early(self, op: tile.Load) -> None:
        self.copied[op] = self.copy_in(op)

    def is_scalar(self, op: Operation) -> bool:
        """Whether an op is of the scalar unit, and of nothing that a tile holds."""
        if isinstance(op, tile.ProgramId):
            return True
        other = (*TILE_OPS, *SCALAR_OPS, tile.Store, scf.ForOp, tile.Return, scf.YieldOp)
        return not isinstance(op, other) and not is_float(op.results[0]) and self.is_known(
            *op.results)  # fmt: skip

    def comes_first(self, op: tile.Load) -> bool:
        """Whether a load's copies can be before all else in its block."""
        if (
            self.is_direct(op)
            or op in self.in_fixpipe
            or self.strips_of(op) is None
            or not self.is_known(*op.subscripts, op.mask)
        ):
            return False
        before = op.prev_op
        while before is not None:
            if isinstance(before, tile.Store) and before.buffer is op.buffer:
                return False
            before = before.prev_op
        return True

    def step(self, op: Operation) -> None:
        if isinstance(op, tile.ProgramId):
            self.program_id(op)
        elif isinstance(op, scf.ForOp):
            self.loop(op)
        elif isinstance(op, tile.Store):
            self.store(op)
        elif isinstance(op, TILE_OPS) or self.has_tile(op):
            self.compute(op)
        elif not isinstance(op, SCALAR_OPS):
            self.name_scalar(op)

    def has_tile(self, op: Operation) -> bool:
        """Whether the vector unit computes an op: numbers, and masks that come from numbers."""
        result = op.results[0]
        if isinstance(op, SCALAR_OPS) or self.constant(result) is not None:
            return False
        if not is_float(result) and not is_bool(result) and self.is_integer_tile(op):
            return True
        if isinstance(op, (tile.Broadcast, tile.Reshape, tile.Transpose)):
            return op.input in self.locals and (is_float(result) or is_bool(result))
        if is_float(result):
            return True
        if is_bool(result):
            if isinstance(op, tile.Cast):
                return is_float(op.input)
            if isinstance(op, tile.Cmp):
                return is_float(op.x)
            return any(v in self.locals or v in self.masks for v in op.operands)
        if isinstance(op, tile.Cast) and is_float(op.input) and not op.unsigned:
            return self.element_type(result) in ("int16_t", "int32_t", "int64_t")
        return isinstance(op, tile.Cast) and op.input in self.locals and is_bool(op.input)

    def name_scalar(self, op: Operation) -> None:
        """Give a scalar that is used more than once a name."""
        result = op.results[0]
        if self.shape(result) or len(list(result.uses)) < 2:
            return
        text = self.text(result)
        if is_plain(text):
            return
        name = self.fresh(result.name_hint or "index")
        type = "bool" if is_bool(result) else self.element_type(result)
        if tiles := self.locals_below(result):
            self.scalar_access(tiles, None)
            self.parameters[name] = type
            self.line(f"const {type} {name} = {text};")
        else:
            self.define(name, type, text)
        self.names[result] = name

    def program_id(self, op: tile.ProgramId) -> None:
        grid = [bind(d, self.kernel.schedule) for d in self.kernel.grid]
        text = program_text(grid, op.axis)
        if text in ("0", "program"):
            self.names[op.result] = text
            return
        name = self.fresh(op.result.name_hint or f"program{op.axis}")
        self.define(name, "int64_t", text)
        self.names[op.result] = name

    # ------------------------------------------------------------------ loops

    def loop(self, op: scf.ForOp) -> None:
        if self.whole_product(op):
            return
        block = op.body.block
        counter, *carried = block.args
        homes: list[Local | str] = []
        for arg, start, result in zip(carried, op.iter_args, op.results, strict=True):
            homes.append(self.carried(arg, start, result))
        low, high, step = (self.text(v) for v in (op.lb, op.ub, op.step))
        name = self.fresh(counter.name_hint or "start")
        self.sync("V_S", "MTE2_S")
        self.line(f"for (int64_t {name} = {low}; {name} < {high}; {name} += {step}) {{")
        self.parameters[name] = "int64_t"
        where = "".join(part.capitalize() for part in name.split("_"))
        self.depth += 1
        self.enter()
        self.arrived.append([])
        self.leaving.append([])
        names = dict(self.names)
        self.names[counter] = name
        self.mark(*EVENTS)
        end = block.last_op
        assert isinstance(end, scf.YieldOp)
        for arg, home, value in zip(carried, homes, end.operands, strict=True):
            if isinstance(home, Local):
                self.locals[arg] = home
                self.homes[value] = arg, home
                self.touch(home)
        self.steps(block, where)
        self.carry(homes, end.operands)
        self.leave_block(where)
        self.arrived.pop()
        self.leaving.pop()
        self.leave()
        self.names = names
        for arg, result, home in zip(carried, op.results, homes, strict=True):
            if isinstance(home, Local):
                self.locals[result] = home
                self.locals[arg] = home
            else:
                self.names[result] = home
        self.mark(*EVENTS)
        self.depth -= 1
        self.line("}")

    def carried(self, arg: SSAValue, start: SSAValue, result: SSAValue) -> Local | str:
        """Where a carried value lies: a tile, or a variable of the scalar unit."""
        hint = result.name_hint or arg.name_hint or "carried"
        alone = not is_float(arg) and not is_bool(arg) and not self.shape(arg)
        if alone:
            name = self.fresh(hint)
            self.parameters[name] = self.element_type(arg)
            self.line(f"{self.element_type(arg)} {name} = {self.text(start)};")
            self.names[arg] = name
            return name
        local = self.new(arg, hint)
        if (c := self.constant(start)) is not None and SIZES[local.type] in (2, 4):
            self.vector("Duplicate", local, [], number(c, local.type))
        else:
            self.copy(local, self.tile_of(start))
        return local

    def carry(self, homes: Sequence[Local | str], values: Sequence[SSAValue]) -> None:
        """What the next round begins with; tiles that change places go by way of others."""
        tiles = {h for h in homes if isinstance(h, Local)}
        late: list[tuple[Local, Local]] = []
        for home, value in zip(homes, values, strict=True):
            if isinstance(home, str):
                self.line(f"{home} = {self.text(value)};")
                continue
            source = self.tile_of(value)
            if source is home:
                continue
            if source in tiles:
                kept = self.scratch("kept", source.type, source.shape)
                self.copy(kept, source)
                source = kept
            late.append((home, source))
        for home, source in late:
            self.copy(home, source)
