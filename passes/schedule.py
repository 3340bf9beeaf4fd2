"""Chooses each kernel's schedule: what was measured, else what the model ranks first."""

from __future__ import annotations

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from aicc.ir import tile
from aicc.ir.chips import chip_of
from aicc.ir.interfaces import CompileContext, Tuned
from aicc.ir.tile.identity import kernel_key
from aicc.passes.schedules import Rules, ranked


class Schedule(ModulePass):
    """Bind schedule parameters for the context's chips, of which the first decides.

    A schedule from the context's record is taken as it stands, if the kernel is right with it.
    Otherwise the roofline model ranks the candidates that all chips can run. `origin` says on the
    kernel where its schedule comes from.
    """

    name = "schedule"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if not isinstance(ctx, CompileContext) or not ctx.chips:
            return
        chips = [chip_of(name) for name in ctx.chips]
        for kernel in op.ops:
            if not isinstance(kernel, tile.Kernel) or 0 in kernel.grid or not kernel.schedule:
                continue
            known = ctx.tuned.get((kernel_key(kernel), ctx.chips[0])) if ctx.tuned else None
            if known is not None and fits(kernel, known):
                set_schedule(kernel, dict(known.schedule), f"measured on {ctx.chips[0]}")
                kernel.set_param("library", known.library)
            elif found := ranked(kernel, chips):
                set_schedule(kernel, found[0][1], f"modelled for {ctx.chips[0]}")


def fits(kernel: tile.Kernel, tuned: Tuned) -> bool:
    """Whether the kernel is right with a schedule that was measured."""
    same = tuned.schedule.keys() == kernel.schedule.keys()
    return same and Rules(kernel).allow(tuned.schedule)


def set_schedule(kernel: tile.Kernel, schedule: dict[str, int], origin: str) -> None:
    kernel.set_param("schedule", schedule)
    kernel.set_param("origin", origin)
