"""Schedules whose tiles have room in a chip's on-chip memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from aicc.ir import tile
from aicc.ir.interfaces import CompileContext
from aicc.passes.schedules import Rules

ORIGIN = "fits the chip's memory"

LEAST_DOT = 16
"""The smallest block of a product."""


@dataclass(frozen=True)
class FitTiles(ModulePass):
    """Halve blocks, the largest first, until the target says that a kernel's tiles fit.

    A pointwise kernel begins with blocks of `elements`: few, long copies are what a chip without
    caches is fastest with.
    """

    name = "fit-tiles"
    elements: int = 8192

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        assert isinstance(ctx, CompileContext)
        for kernel in op.ops:
            if not isinstance(kernel, tile.Kernel) or 0 in kernel.grid:
                continue
            if kernel.schedule.keys() & {"BLOCK"} and "BLOCK_M" not in kernel.schedule:
                bind(kernel, {**kernel.schedule, "BLOCK": self.elements})
            while not ctx.target.fits(kernel):
                smaller = next(halved(kernel), None)
                if smaller is None:
                    break
                bind(kernel, smaller)


def bind(kernel: tile.Kernel, schedule: dict[str, int]) -> None:
    if Rules(kernel).stays_inside(schedule):
        kernel.set_param("schedule", schedule)
        kernel.set_param("origin", ORIGIN)


def halved(kernel: tile.Kernel) -> Iterator[dict[str, int]]:
    """Schedules with one block of half its size, the largest block first."""
    rules = Rules(kernel)
    least = LEAST_DOT if any(isinstance(o, tile.Dot) for o in kernel.body.walk()) else 1
    blocks = [(v, k) for k, v in kernel.schedule.items() if k.startswith("BLOCK") and v > least]
    for size, name in sorted(blocks, reverse=True):
        schedule = {**kernel.schedule, name: size // 2}
        if rules.stays_inside(schedule):
            yield schedule
