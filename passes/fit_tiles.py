"""Schedules whose tiles have room in a chip's on-chip memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from aicc.ir import tile
from aicc.ir.interfaces import CompileContext
from aicc.ir.tile.types import bind as bind_dim
from aicc.ir.types import typical
from aicc.passes.schedules import Rules, extent

ORIGIN = "fits the chip's memory"

LEAST_DOT = 16
"""The smallest block of a product."""


FIRST = {"BLOCK": 8192, "BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64, "BLOCK_T": 128}
"""The longest block that is tried of each kind: few, long copies are fastest without caches."""

LEAST = {"BLOCK": 512, "BLOCK_M": 8, "BLOCK_N": 32}
"""The shortest that is taken to have work for more cores."""


@dataclass(frozen=True)
class FitTiles(ModulePass):
    """Take the longest blocks with which a kernel's tiles fit and all cores have programs.

    Blocks begin long, and are halved, the longest first: those that make more programs until there
    is one for every core, then any until the target says that the tiles fit.
    """

    name = "fit-tiles"
    cores: int = 40

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        assert isinstance(ctx, CompileContext)
        for kernel in op.ops:
            if not isinstance(kernel, tile.Kernel) or 0 in kernel.grid:
                continue
            for name in kernel.schedule:
                bind(kernel, {**kernel.schedule, name: longest(kernel, name)})
            while programs(kernel, kernel.schedule) < self.cores:
                more = [s for s in halved(kernel, LEAST) if programs(kernel, s) > programs(
                    kernel, kernel.schedule)]  # fmt: skip
                if not more:
                    break
                bind(kernel, more[0])
            while not ctx.target.fits(kernel):
                smaller = next(halved(kernel), None)
                if smaller is None:
                    break
                bind(kernel, smaller)


def bind(kernel: tile.Kernel, schedule: dict[str, int]) -> None:
    if Rules(kernel).stays_inside(schedule):
        kernel.set_param("schedule", schedule)
        kernel.set_param("origin", ORIGIN)


def longest(kernel: tile.Kernel, name: str) -> int:
    """The block that is tried first: all of what it walks through, where that is short."""
    size = extent(kernel, name)
    if name not in FIRST or size == 0:
        return kernel.schedule[name]
    whole = 1 << (size - 1).bit_length()
    return min(FIRST[name], max(whole, least_of(kernel)))


def programs(kernel: tile.Kernel, schedule: Mapping[str, int]) -> int:
    """Programs of a kernel under a schedule."""
    return math.prod(typical(bind_dim(d, schedule)) for d in kernel.grid)


def least_of(kernel: tile.Kernel) -> int:
    return LEAST_DOT if any(isinstance(o, tile.Dot) for o in kernel.body.walk()) else 1


def halved(kernel: tile.Kernel, least: Mapping[str, int] = {}) -> Iterator[dict[str, int]]:
    """Schedules with one block of half its size, the largest block first."""
    rules, floor = Rules(kernel), least_of(kernel)
    blocks = [
        (v, k)
        for k, v in kernel.schedule.items()
        if k.startswith("BLOCK") and v > max(floor, least.get(k, floor))
    ]
    for size, name in sorted(blocks, reverse=True):
        schedule = {**kernel.schedule, name: size // 2}
        if rules.stays_inside(schedule):
            yield schedule
