"""Packs constant right operands of products into panels of columns, as CPUs read them.

A product walks down a few columns of its right operand at a time. In a row-major matrix each step
down is a jump by a whole row, to another page of memory; in a panel ``[K, 64]`` it goes to the next
line.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import ModuleOp, f32
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from aicc.ir import tile
from aicc.ir.constants import DenseAttr
from aicc.ir.graph import Constant
from aicc.ir.module import functions
from aicc.ir.symbols import ceildiv
from aicc.ir.tile.types import bind, tile_shape, with_shape
from aicc.passes.weights import derived_constant


@dataclass(frozen=True)
class PackWeights(ModulePass):
    """Give constants that kernels read only as right operands of dots the shape ``[P, K, width]``.

    Columns beyond the last are filled up with zeros. All launches of a kernel must have a constant
    there, and a program's columns must be whole panels.
    """

    name = "pack-weights"
    width: int = 64

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kernels = {k.sym_name: k for k in op.ops if isinstance(k, tile.Kernel)}
        launches: dict[str, list[tile.Launch]] = defaultdict(list)
        for func in functions(op).values():
            for inner in func.walk():
                if isinstance(inner, tile.Launch):
                    launches[inner.kernel].append(inner)
        packed: dict[SSAValue, Constant] = {}
        for name, kernel in kernels.items():
            for load in right_operands(kernel):
                assert isinstance(load.buffer, BlockArgument)
                i, users = load.buffer.index, launches[name]
                sources = [launch.arguments[i] for launch in users]
                if not users or not all(self.may_pack(v) for v in sources):
                    continue
                if not self.rewrite(kernel, load):
                    continue
                for launch, source in zip(users, sources, strict=True):
                    if source not in packed:
                        packed[source] = self.packed(source)
                    launch.operands[i] = packed[source].result
        for source in packed:
            if source.first_use is None and isinstance(source.owner, Constant):
                source.owner.detach()
                source.owner.erase()

    @staticmethod
    def may_pack(value: SSAValue) -> bool:
        return isinstance(value.owner, Constant) and value.owner.value.data.resolved

    def packed(self, source: SSAValue) -> Constant:
        """The constant in panels."""
        constant = source.owner
        assert isinstance(constant, Constant)
        array = constant.value.array
        rows, columns = array.shape
        count = -(-columns // self.width)
        panels = np.zeros((count, rows, self.width), array.dtype)
        whole = columns // self.width
        split = array[:, : whole * self.width].reshape(rows, whole, self.width)
        panels[:whole] = split.transpose(1, 0, 2)
        if whole < count:
            panels[whole, :, : columns - whole * self.width] = array[:, whole * self.width :]
        if (name := constant.value.resource) is not None:
            made = Constant.make(value=DenseAttr.make(panels, f"{name}.panels{self.width}"))
        else:
            made = derived_constant(source, panels)
        made.location = constant.location
        made.result.name_hint = source.name_hint
        Rewriter.insert_op(made, InsertPoint.before(constant))
        return made

    def rewrite(self, kernel: tile.Kernel, load: tile.Load) -> bool:
        """Have the kernel read panels; False if its blocks cut them."""
        assert isinstance(load.buffer.type, tile.BufferType)
        depth, columns = (d for d in load.buffer.type.shape if d is not None)
        row, column = axes_of(load)
        block = bind(column.block[0], kernel.schedule)
        if not isinstance(block, int) or block % self.width:
            return False
        made: list[Operation] = []

        def add(op: Operation) -> SSAValue:
            made.append(op)
            return op.results[0]

        shape = tile_shape(column.result.type)
        width = add(tile.Size.make(value=[self.width]))
        goal = with_shape(column.result.type, shape)
        wide = add(tile.Broadcast.make(width, result_types=[goal]))
        panel = add(arith.DivUIOp(column.result, wide))
        inside = add(arith.RemUIOp(column.result, wide))
        Rewriter.insert_op(made, InsertPoint.before(load))
        count = ceildiv(columns, self.width)
        type = tile.BufferType.of([count, depth, self.width], load.buffer.type.dtype)
        Rewriter.replace_value_with_new_type(load.buffer, type)
        new = tile.Load.make(
            load.buffer,
            load.mask,
            [panel, row.result, inside],
            strides=[depth * self.width, self.width, 1],
            other=load.other,
        )
        new.result.name_hint = load.result.name_hint
        Rewriter.replace_op(load, new)
        return True


def right_operands(kernel: tile.Kernel) -> list[tile.Load]:
    """Loads of whole row-major matrices of f32 that are right operands of dots, and no more."""
    found = []
    for op in kernel.body.walk():
        if not isinstance(op, tile.Dot) or not isinstance(op.b.owner, tile.Load):
            continue
        load = op.b.owner
        type, uses = load.buffer.type, list(load.buffer.uses)
        assert isinstance(type, tile.BufferType)
        plain = all(isinstance(s.owner, tile.Axis) for s in load.subscripts)
        masks = all(isinstance(c.owner, tile.InBounds) for c in load.conditions())
        if not plain or not masks or len(uses) != 1 or len(load.subscripts) != 2:
            continue
        if type.dtype.ir != f32 or len(type.shape) != 2 or load.offset[0] != 0:
            continue
        row, column = axes_of(load)
        strides = {s.owner: d for s, d in zip(load.subscripts, load.strides, strict=True)}
        if (row.dim, column.dim) != (0, 1) or strides[row] != type.shape[1] or strides[column] != 1:
            continue
        if (row.bound[0], column.bound[0]) == type.shape and len(list(load.result.uses)) == 1:
            found.append(load)
    return found


def axes_of(load: tile.Load) -> tuple[tile.Axis, tile.Axis]:
    """The axes of a load's subscripts, by the dim of the tile that they lie along."""
    first, second = sorted((s.owner for s in load.subscripts), key=lambda a: a.dim)  # type: ignore[union-attr]
    assert isinstance(first, tile.Axis) and isinstance(second, tile.Axis)
    return first, second
