"""Replaces composite ops by primitives where the target doesn't keep them."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from aicc.ir.builder import GraphBuilder
from aicc.ir.graph.decompositions import DECOMPOSITIONS
from aicc.ir.interfaces import CompileContext
from aicc.ir.op import GraphOp


@dataclass(frozen=True)
class Decompose(ModulePass):
    """Decompose ops that the target doesn't implement; with `all`, every composite."""

    name = "decompose"
    all: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        target = ctx.target if isinstance(ctx, CompileContext) else None
        pending = [o for o in op.walk() if isinstance(o, GraphOp)]
        while pending:
            inner = pending.pop()
            if type(inner) not in DECOMPOSITIONS:
                continue
            if self.all or (target is not None and not target.keeps(inner)):
                pending += decomposed(inner)


def decomposed(op: GraphOp) -> list[GraphOp]:
    """Put an op's decomposition in its place, if it has one; the ops that were made."""
    made: list[GraphOp] = []
    b = GraphBuilder.before(op)
    insert = b._insert

    def remember(operation: Operation) -> None:
        insert(operation)
        if isinstance(operation, GraphOp):
            made.append(operation)

    b._insert = remember
    values = DECOMPOSITIONS[type(op)](b, op)
    if values is None:
        return []
    for old, new in zip(op.results, values, strict=True):
        if new is not None:
            if new.owner in made:
                new._type = old.type
            old.replace_all_uses_with(new)
    op.detach()
    op.erase()
    return made
