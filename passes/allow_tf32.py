"""Lets products of f32 round their operands to TF32, which matrix units of GPUs multiply."""

from __future__ import annotations

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from aicc.ir import tile
from aicc.ir.dtypes import dtype_of, f32
from aicc.ir.tile.types import tile_element


class AllowTf32(ModulePass):
    """Write ``precision = "tf32"`` on every `tile.dot` of f32.

    TF32 keeps 10 of the 23 bits behind the point (NVIDIA A100 whitepaper): a product is about
    2⁻¹¹ off, and several times as fast where the chip has units for it. Sums stay f32.
    """

    name = "allow-tf32"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for inner in op.walk():
            if isinstance(inner, tile.Dot) and dtype_of(tile_element(inner.a.type)) == f32:
                inner.set_param("precision", "tf32")
