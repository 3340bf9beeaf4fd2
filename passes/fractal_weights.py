"""Stores constant operands of products in fractals, as cube units read them.

A cube unit multiplies boxes of 16 rows of 32 bytes. In the format FRACTAL_NZ of Ascend's chips the
boxes of a matrix ``[K, N]`` lie one below another, column of boxes by column, and each by rows:
``[N / C0, K / 16, 16, C0]`` with C0 elements in 32 bytes. One that lies by rows is turned into that
on its way into the chip, slowly where rows aren't multiples of 256 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from aicc.ir import tile
from aicc.ir.interfaces import CompileContext
from aicc.passes.panels import Operand, Panels, matrix, pack_constants, read_panels

BOX = 16
"""Rows of a fractal."""

BYTES = 32
"""Bytes of a row of a fractal."""

ELEMENTS = ("f16", "bf16", "i8")
"""What is stored in fractals."""


class FractalWeights(ModulePass):
    """Give constants that are right operands of dots the shape ``[N / C0, K / 16, 16, C0]``.

    Rows and columns beyond the last are zeros. All launches of a kernel must have a constant there,
    what a program takes must be whole columns of fractals, and the target must read it as such.
    """

    name = "fractal-weights"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        def is_read(kernel: tile.Kernel, operand: Operand) -> bool:
            """Whether the target reads fractals there, tried on a copy of the kernel."""
            copy = kernel.clone()
            twin = next(o for o in right_operands(copy) if o.argument == operand.argument)
            read_panels(twin, fractals(twin))
            return isinstance(ctx, CompileContext) and ctx.target.reads_fractals(copy)

        pack_constants(ctx, op, right_operands, fractals, is_read)


def right_operands(kernel: tile.Kernel) -> Iterator[Operand]:
    """The matrices that dots of a kernel have on the right."""
    for dot in [op for op in kernel.body.walk() if isinstance(op, tile.Dot)]:
        if (found := matrix(dot.b, 1, ELEMENTS)) is not None:
            yield found


def fractals(operand: Operand) -> Panels:
    """Panels of 32 bytes, filled up to whole fractals; of bytes, to whole squares of them."""
    width = BYTES * 8 // operand.bits
    return Panels(width, step=max(BOX, width), box=BOX)
