"""Matrices in panels: how constant operands of products are stored, and read by kernels."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from aicc.ir import tile
from aicc.ir.graph import Constant
from aicc.ir.interfaces import remark
from aicc.ir.memory import aligned, empty
from aicc.ir.module import functions
from aicc.ir.symbols import Dim, product
from aicc.ir.tile.types import bind, tile_shape, with_shape
from aicc.ir.types import format_dims, shape_of
from aicc.passes.matrices import Matrix, columns, elements
from aicc.passes.weights import derived_constant

STORED = "stored: "
"""How remarks on constants in panels begin."""


@dataclass(frozen=True)
class Panels:
    """A way to store a matrix: `width` columns of it, or rows of a left operand, at a time.

    `group` elements of a column lie side by side; columns are filled up with zeros to a multiple
    of `step`, and lie in boxes of `box` rows, which changes the shape only: ``[P, K, width]``,
    ``[P, K / group, width, group]`` or ``[P, K / box, box, width]``.
    """

    width: int
    group: int = 1
    step: int = 1
    box: int = 1

    def deep(self, depth: int) -> int:
        """A depth, filled up."""
        return -(-depth // self.step) * self.step

    def shape(self, depth: int, size: int) -> list[int]:
        """The shape of a packed matrix."""
        count, deep = -(-size // self.width), self.deep(depth)
        if self.group > 1:
            return [count, deep // self.group, self.width, self.group]
        if self.box > 1:
            return [count, deep // self.box, self.box, self.width]
        return [count, deep, self.width]

    def pack(self, matrix: Matrix) -> np.ndarray:
        """A matrix ``[K, N]`` in panels."""
        depth, size = matrix.shape
        count, deep = -(-size // self.width), self.deep(depth)
        panels = empty((count, deep, self.width), matrix.dtype)
        whole = size // self.width
        panels[whole:], panels[:, depth:] = 0, 0

        def fill(i: int) -> None:
            panels[i, :depth] = columns(matrix, i * self.width, (i + 1) * self.width)

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy lets others run as it copies
            list(pool.map(fill, range(whole)))
        if whole < count:
            rest = columns(matrix, whole * self.width, size)
            panels[whole, :depth, : size - whole * self.width] = rest
        if self.group > 1:
            rows = panels.reshape(count, deep // self.group, self.group, self.width)
            panels = aligned(rows.transpose(0, 1, 3, 2))
        return panels.reshape(self.shape(depth, size))


@dataclass(frozen=True)
class Operand:
    """A matrix in memory that one dot of a kernel reads and nothing else.

    `along` is the axis that is summed over, `across` the other: that is cut into panels.
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
    def bits(self) -> int:
        """How wide an element is."""
        assert isinstance(self.load.buffer.type, tile.BufferType)
        return self.load.buffer.type.dtype.bits

    @property
    def shape(self) -> tuple[Dim, Dim]:
        """Sizes along and across."""
        return self.along.bound[0], self.across.bound[0]


def pack_constants(
    ctx: Context,
    module: ModuleOp,
    operands: Callable[[tile.Kernel], Iterable[Operand]],
    form: Callable[[Operand], Panels],
    accepts: Callable[[tile.Kernel, Operand], bool] = lambda kernel, operand: True,
) -> None:
    """Have kernels read panels where an operand is a constant in all launches.

    `form` says of which kind, `accepts` whether a kernel that reads them is taken, before it is.
    What is done is remarked.
    """
    packed: dict[tuple[SSAValue, str, Panels], Constant] = {}
    for kernel, operand, launches in list(constant_operands(module, operands)):
        panels = form(operand)
        if not fits_blocks(kernel, operand, panels) or not accepts(kernel, operand):
            continue
        read_panels(operand, panels)
        for launch in launches:
            i = operand.argument
            key = launch.arguments[i], operand.side, panels
            if key not in packed:
                packed[key] = constant_in_panels(launch.arguments[i], operand, panels)
                old, new = (format_dims(shape_of(v)) for v in (key[0], packed[key].result))
                remark(ctx, f"{STORED}[{old}] as [{new}]")
            launch.operands[i] = packed[key].result
    for source, *_ in packed:
        owner, unused = source.owner, source.first_use is None
        if unused and isinstance(owner, Constant) and owner.parent is not None:
            owner.detach()
            owner.erase()


def constant_in_panels(source: SSAValue, operand: Operand, panels: Panels) -> Constant:
    """The constant beside itself, in panels."""
    constant = source.owner
    assert isinstance(constant, Constant)
    depth, size = operand.shape
    assert isinstance(depth, int) and isinstance(size, int)
    matrix = elements(constant.value.data)
    by_columns = operand.side == "columns"
    if not by_columns or matrix.shape != (depth, size):
        array = constant.value.array
        matrix = array.reshape(depth, size) if by_columns else array.reshape(size, depth).T
    stored = panels.pack(matrix)
    made = derived_constant(source, stored, f"{operand.side}{panels.width}")
    made.location = constant.location
    made.result.name_hint = source.name_hint
    Rewriter.insert_op(made, InsertPoint.before(constant))
    return made


def fits_blocks(kernel: tile.Kernel, operand: Operand, panels: Panels) -> bool:
    """Whether what a program takes is whole panels, and whole steps of their columns."""
    depth, size = operand.shape
    block, high = (bind(a.block[0], kernel.schedule) for a in (operand.across, operand.along))
    if not all(isinstance(d, int) for d in (block, high, depth, size)):
        return False
    assert isinstance(block, int) and isinstance(size, int)
    assert isinstance(high, int) and isinstance(depth, int)
    return (block % panels.width == 0 or block >= size) and (
        high % panels.step == 0 or high >= depth
    )


def read_panels(operand: Operand, panels: Panels) -> None:
    """Have the load read a matrix in panels."""
    load, across = operand.load, operand.across
    assert isinstance(load.buffer.type, tile.BufferType)
    depth, size = operand.shape
    assert isinstance(depth, int) and isinstance(size, int)
    deep = panels.deep(depth)
    made: list[Operation] = []

    def add(op: Operation) -> SSAValue:
        made.append(op)
        return op.results[0]

    def parts(axis: tile.Axis, of: int) -> tuple[SSAValue, SSAValue]:
        number = add(tile.Size.make(value=[of]))
        goal = with_shape(axis.result.type, tile_shape(axis.result.type))
        wide = add(tile.Broadcast.make(number, result_types=[goal]))
        return add(arith.DivUIOp(axis.result, wide)), add(arith.RemUIOp(axis.result, wide))

    panel, inside = parts(across, panels.width)
    subscripts, sizes = [panel, operand.along.result, inside], [deep, panels.width]
    if panels.group > 1:
        row, within = parts(operand.along, panels.group)
        subscripts = [panel, row, inside, within]
        sizes = [deep // panels.group, panels.width, panels.group]
    Rewriter.insert_op(made, InsertPoint.before(load))
    type = tile.BufferType.of(panels.shape(depth, size), load.buffer.type.dtype)
    Rewriter.replace_value_with_new_type(load.buffer, type)
    strides = [product(sizes[i:]) for i in range(len(sizes) + 1)]
    new = tile.Load.make(load.buffer, load.mask, subscripts, strides=strides, other=load.other)
    new.result.name_hint = load.result.name_hint
    Rewriter.replace_op(load, new)


def launches_by_kernel(module: ModuleOp) -> Mapping[str, list[tile.Launch]]:
    """The launches of each kernel; none of one that isn't named."""
    found: dict[str, list[tile.Launch]] = defaultdict(list)
    for func in functions(module).values():
        for inner in func.walk():
            if isinstance(inner, tile.Launch):
                found[inner.kernel].append(inner)
    return found


def constant_operands(
    module: ModuleOp, operands: Callable[[tile.Kernel], Iterable[Operand]]
) -> Iterator[tuple[tile.Kernel, Operand, list[tile.Launch]]]:
    """Which of each kernel's `operands` are constants in all launches; those beside it."""
    launches = launches_by_kernel(module)
    for kernel in [k for k in module.ops if isinstance(k, tile.Kernel)]:
        users = launches[kernel.sym_name]
        for operand in operands(kernel):
            if users and all(is_known(launch.arguments[operand.argument]) for launch in users):
                yield kernel, operand, users


def is_known(value: SSAValue) -> bool:
    return isinstance(value.owner, Constant) and value.owner.value.data.resolved


def matrix(value: SSAValue, dim: int, types: Sequence[str]) -> Operand | None:
    """The whole row-major matrix that a dot's operand is, with nothing else that reads it.

    Its elements are of one of `types`. A right operand lies across along `dim` 1 of its tile, and
    its last dim is that of columns; a left one's first dim is that of rows. Further dims are summed
    over as one.
    """
    load = value.owner
    if not isinstance(load, tile.Load) or len(list(load.result.uses)) != 1:
        return None
    type = load.buffer.type
    assert isinstance(type, tile.BufferType)
    if type.dtype.name not in types:
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
