"""Removes ops whose results nobody uses."""

from __future__ import annotations

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass
from xdsl.traits import IsTerminator, Pure, RecursiveMemoryEffect


def is_removable(op: Operation) -> bool:
    """Whether running the op does nothing but produce its results."""
    if op.has_trait(Pure) and not op.regions:
        return not op.has_trait(IsTerminator)
    if not op.has_trait(RecursiveMemoryEffect):
        return False
    return all(
        is_removable(inner) or inner.has_trait(IsTerminator)
        for region in op.regions
        for block in region.blocks
        for inner in block.ops
    )


def _clean_block(block: Block) -> None:
    op = block.last_op
    while op is not None:
        previous = op.prev_op
        unused = all(r.first_use is None for r in op.results)
        if op.results and unused and is_removable(op):
            op.detach()
            op.erase()
        else:
            for region in op.regions:
                for inner in region.blocks:
                    _clean_block(inner)
        op = previous


def eliminate_dead_code(module: ModuleOp) -> None:
    """One backward walk: an op that dies frees those before it."""
    for block in module.body.blocks:
        _clean_block(block)


class DeadCodeElimination(ModulePass):
    """Remove ops without side effects whose results have no use."""

    name = "dce"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        eliminate_dead_code(op)
