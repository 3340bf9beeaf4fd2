"""Where the tiles of a kernel lie in the memory of a core."""

from __future__ import annotations

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from aicc.ir import tile
from aicc.ir.interfaces import CompileContext


class PlaceTiles(ModulePass):
    """Note on every kernel what the target puts where: queues, tiles between, products' blocks.

    The target prints kernels by these notes, which may be changed.
    """

    name = "place-tiles"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        assert isinstance(ctx, CompileContext)
        for kernel in op.ops:
            if isinstance(kernel, tile.Kernel):
                for name, places in ctx.target.place(kernel).items():
                    kernel.set_param(name, places)
