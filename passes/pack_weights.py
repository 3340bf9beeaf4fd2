"""Packs constant operands of products into panels, as CPUs read them.

A product walks down a few columns of its right operand at a time. In a row-major matrix each step
down is a jump by a whole row, to another page of memory; in a panel ``[K, 64]`` it goes to the next
line. A convolution's weight stands on the left: there a panel holds 64 rows, column by column, and
the image on the right is read element by element.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, f32
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from aicc.ir import tile
from aicc.ir.symbols import Dim
from aicc.ir.tile.types import tile_shape
from aicc.passes.panels import Operand, Panels, matrix, pack_constants

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
class PackWeights(ModulePass):
    """Give constants that kernels read only as operands of dots the shape ``[P, K, width]``.

    Rows or columns beyond the last are filled up with zeros. Of elements of 16 or 8 bits, as many
    of a column as fill 32 bits lie side by side, ``[P, K / G, width, G]``: chips multiply and sum
    them at once. There, K is filled up to 64 bytes of a column.

    All launches of a kernel must have a constant there, and what a program takes must be whole
    panels. What a library is called for stays as it is.
    """

    name = "pack-weights"
    width: int = 64

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        pack_constants(ctx, op, operands, self.form, lambda kernel, _: not kernel.library)

    def form(self, operand: Operand) -> Panels:
        group = max(32 // operand.bits, 1)
        return Panels(self.width, group, ROW_BYTES * group // 4 if group > 1 else 1)


def operands(kernel: tile.Kernel) -> list[Operand]:
    """What of a kernel is worth packing, should it be constant."""
    found = []
    for dot in [op for op in kernel.body.walk() if isinstance(op, tile.Dot)]:
        if (right := matrix(dot.b, 1, PACKED)) is not None:
            found.append(right)
            continue
        left = matrix(dot.a, 0, PACKED[:1]) if has_places(dot) else None
        if left is not None and (not evenly_spaced(dot.b) or is_worth_packing(*left.shape)):
            found.append(left)
    return found


def is_worth_packing(depth: Dim, rows: Dim) -> bool:
    """Whether a left operand that could stay where it is gains by being packed."""
    if not isinstance(depth, int) or not isinstance(rows, int):
        return False
    return depth >= LEAST_DEPTH and rows >= LEAST_FILLED * (-(-rows // 16) * 16)


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
