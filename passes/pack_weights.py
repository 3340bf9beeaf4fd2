"""Packs constant operands of products into panels, as CPUs read them.

A product walks down a few columns of its right operand at a time. In a row-major matrix each step
down is a jump by a whole row, to another page of memory; in a panel ``[K, 64]`` it goes to the next
line. A convolution's weight stands on the left: there a panel holds 64 rows, column by column, and
the image on the right is read element by element.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import ModuleOp, f32
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from aicc.ir import tile
from aicc.ir.constants import DenseAttr
from aicc.ir.graph import Constant
from aicc.ir.memory import aligned, empty
from aicc.ir.module import functions
from aicc.ir.symbols import Dim, ceildiv, product
from aicc.ir.tile.types import bind, tile_shape, with_shape
from aicc.passes.weights import derived_constant

LEAST_FILLED = 0.7
"""Of the lanes of vectors of rows, so many must hold one for a left operand to be packed that could
stay where it is."""


ROW_BYTES = 64
"""Bytes of a column that are multiplied at once, where elements are narrower than 32 bits."""

LEAST_DEPTH = 32
"""Products over less spend more on turning their sums than on summing."""


PACKED = ("f32", "bf16", "i8")
"""Elements that products take from panels."""


@dataclass(frozen=True)
class Operand:
    """A matrix in memory that one dot of a kernel reads and nothing else.

    `along` is the axis that is summed over, `across` the other: packed are 64 of it at a time.
    """

    load: tile.Load
    along: tile.Axis
    across: tile.Axis

    @property
    def side(self) -> str:
        return "columns" if self.across.dim == 1 else "rows"

    @property
    def argument(self) -> int:
        """Which of the kernel's buffers it is."""
        assert isinstance(self.load.buffer, BlockArgument)
        return self.load.buffer.index

    @property
    def shape(self) -> tuple[Dim, Dim]:
        """Sizes along and across."""
        return self.along.bound[0], self.across.bound[0]

    @property
    def group(self) -> int:
        """How many elements along lie side by side."""
        assert isinstance(self.load.buffer.type, tile.BufferType)
        return max(32 // self.load.buffer.type.dtype.bits, 1)

    @property
    def step(self) -> int:
        """What the size along is filled up to a multiple of."""
        return ROW_BYTES * self.group // 4 if self.group > 1 else 1

    @property
    def deep(self) -> int:
        """The size along, filled up."""
        depth = self.shape[0]
        assert isinstance(depth, int)
        return -(-depth // self.step) * self.step


@dataclass(frozen=True)
class PackWeights(ModulePass):
    """Give constants that kernels read only as operands of dots the shape ``[P, K, width]``.

    Rows or columns beyond the last are filled up with zeros. Of elements of 16 or 8 bits, as many
    of a column as fill 32 bits lie side by side, ``[P, K / G, width, G]``: chips multiply and sum
    them at once. There, K is filled up to 64 bytes of a column.

    All launches of a kernel must have a constant there, and what a program takes must be whole
    panels.
    """

    name = "pack-weights"
    width: int = 64

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        packed: dict[tuple[SSAValue, str], Constant] = {}
        for kernel, operand, launches in constant_operands(op):
            if not self.rewrite(kernel, operand):
                continue
            for launch in launches:
                i = operand.argument
                key = launch.arguments[i], operand.side
                if key not in packed:
                    packed[key] = self.packed(launch.arguments[i], operand)
                launch.operands[i] = packed[key].result
        for source, _ in packed:
            owner, unused = source.owner, source.first_use is None
            if unused and isinstance(owner, Constant) and owner.parent is not None:
                owner.detach()
                owner.erase()

    def packed(self, source: SSAValue, operand: Operand) -> Constant:
        """The constant in panels."""
        constant = source.owner
        assert isinstance(constant, Constant)
        depth, size = operand.shape
        assert isinstance(depth, int) and isinstance(size, int)
        array = constant.value.array
        columns = operand.side == "columns"
        matrix = array.reshape(depth, size) if columns else array.reshape(size, depth).T
        count, deep, group = -(-size // self.width), operand.deep, operand.group
        panels = empty((count, deep, self.width), array.dtype)
        panels.fill(0)
        whole = size // self.width
        split = matrix[:, : whole * self.width].reshape(depth, whole, self.width)
        panels[:whole, :depth] = split.transpose(1, 0, 2)
        if whole < count:
            panels[whole, :depth, : size - whole * self.width] = matrix[:, whole * self.width :]
        if group > 1:
            rows = panels.reshape(count, deep // group, group, self.width)
            panels = aligned(rows.transpose(0, 1, 3, 2))
        if (name := constant.value.resource) is not None:
            name = f"{name}.{operand.side}{self.width}"
            made = Constant.make(value=DenseAttr.make(panels, name))
        else:
            made = derived_constant(source, panels)
        made.location = constant.location
        made.result.name_hint = source.name_hint
        Rewriter.insert_op(made, InsertPoint.before(constant))
        return made

    def rewrite(self, kernel: tile.Kernel, operand: Operand) -> bool:
        """Have the kernel read panels; False if its blocks cut them."""
        load, across = operand.load, operand.across
        assert isinstance(load.buffer.type, tile.BufferType)
        (depth, size), deep, group = operand.shape, operand.deep, operand.group
        block, high = (bind(a.block[0], kernel.schedule) for a in (across, operand.along))
        if not all(isinstance(d, int) for d in (block, high, depth, size)):
            return False
        assert isinstance(block, int) and isinstance(size, int)
        assert isinstance(high, int) and isinstance(depth, int)
        if block % self.width and block < size:
            return False
        if high % operand.step and high < depth:
            return False
        made: list[Operation] = []

        def add(op: Operation) -> SSAValue:
            made.append(op)
            return op.results[0]

        def parts(axis: tile.Axis, of: int) -> tuple[SSAValue, SSAValue]:
            number = add(tile.Size.make(value=[of]))
            goal = with_shape(axis.result.type, tile_shape(axis.result.type))
            wide = add(tile.Broadcast.make(number, result_types=[goal]))
            return add(arith.DivUIOp(axis.result, wide)), add(arith.RemUIOp(axis.result, wide))

        panel, inside = parts(across, self.width)
        subscripts, sizes = [panel, operand.along.result, inside], [deep, self.width]
        if group > 1:
            row, within = parts(operand.along, group)
            subscripts, sizes = [panel, row, inside, within], [deep // group, self.width, group]
        Rewriter.insert_op(made, InsertPoint.before(load))
        type = tile.BufferType.of([ceildiv(size, self.width), *sizes], load.buffer.type.dtype)
        Rewriter.replace_value_with_new_type(load.buffer, type)
        strides = [product(sizes[i:]) for i in range(len(sizes) + 1)]
        new = tile.Load.make(load.buffer, load.mask, subscripts, strides=strides, other=load.other)
        new.result.name_hint = load.result.name_hint
        Rewriter.replace_op(load, new)
        return True


def constant_operands(
    module: ModuleOp,
) -> Iterator[tuple[tile.Kernel, Operand, list[tile.Launch]]]:
    """What of each kernel can be packed, as it is a constant in all launches: those beside it."""
    launches: dict[str, list[tile.Launch]] = defaultdict(list)
    for func in functions(module).values():
        for inner in func.walk():
            if isinstance(inner, tile.Launch):
                launches[inner.kernel].append(inner)
    for kernel in [k for k in module.ops if isinstance(k, tile.Kernel)]:
        users = launches[kernel.sym_name]
        for operand in operands(kernel):
            if users and all(is_known(launch.arguments[operand.argument]) for launch in users):
                yield kernel, operand, users


def is_known(value: SSAValue) -> bool:
    return isinstance(value.owner, Constant) and value.owner.value.data.resolved


def operands(kernel: tile.Kernel) -> list[Operand]:
    """What of a kernel is worth packing, should it be constant."""
    found = []
    for dot in [op for op in kernel.body.walk() if isinstance(op, tile.Dot)]:
        if (right := matrix(dot.b, 1)) is not None:
            found.append(right)
            continue
        left = matrix(dot.a, 0) if has_places(dot) else None
        if left is not None and (not evenly_spaced(dot.b) or is_worth_packing(*left.shape)):
            found.append(left)
    return found


def is_worth_packing(depth: Dim, rows: Dim) -> bool:
    """Whether a left operand that could stay where it is gains by being packed."""
    if not isinstance(depth, int) or not isinstance(rows, int):
        return False
    return depth >= LEAST_DEPTH and rows >= LEAST_FILLED * (-(-rows // 16) * 16)


def matrix(value: SSAValue, dim: int) -> Operand | None:
    """The whole row-major matrix that a dot's operand is, with nothing else that reads it.

    It is of f32; a right operand may be of bf16 or i8 as well. A right operand lies across along
    `dim` 1 of its tile, and its last dim is that of columns; a left one's first dim is that of
    rows. Further dims are summed over as one.
    """
    load = value.owner
    if not isinstance(load, tile.Load) or len(list(load.result.uses)) != 1:
        return None
    type = load.buffer.type
    assert isinstance(type, tile.BufferType)
    if type.dtype.name not in (PACKED if dim == 1 else PACKED[:1]):
        return None
    if len(type.shape) < 2 or load.offset[0] != 0:
        return None
    axes = [s.owner for s in load.subscripts]
    if not load.only_ends() or len(axes) != 2 or len(list(load.buffer.uses)) != 1:
        return None
    first, second = sorted(zip(load.strides, axes, strict=True), key=lambda p: p[0] == 1)
    row, column = first[1], second[1]
    if not isinstance(row, tile.Axis) or not isinstance(column, tile.Axis):
        return None
    cut = len(type.shape) - 1 if dim == 1 else 1
    rows, columns = (
        product(d for d in part if d is not None) for part in (type.shape[:cut], type.shape[cut:])
    )
    whole = (row.bound[0], column.bound[0]) == (rows, columns)
    if (row.dim, column.dim) != (0, 1) or not whole or (first[0], second[0]) != (columns, 1):
        return None
    return Operand(load, row, column) if dim == 1 else Operand(load, column, row)


def has_places(dot: tile.Dot) -> bool:
    """Whether the place of each element of a dot's right operand is that of a row plus a column."""
    load = dot.b.owner
    if not isinstance(load, tile.Load) or tile_shape(load.result.type) == ():
        return False
    type = load.buffer.type
    assert isinstance(type, tile.BufferType)
    return type.dtype.ir == f32 and load.only_ends() and load.by_dims() is not None


def evenly_spaced(value: SSAValue) -> bool:
    """Whether the rows and columns of a load are each evenly spaced in memory."""
    load = value.owner
    assert isinstance(load, tile.Load)
    return all(
        isinstance(s.owner, tile.Axis) or all(d == 1 for d in tile_shape(s.type))
        for s in load.subscripts
    )
