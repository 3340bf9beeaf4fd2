"""Replaces composite ops by primitives where the target doesn't keep them."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
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
            if not self.all and (target is None or target.keeps(inner)):
                continue
            made: list[GraphOp] = []
            b = GraphBuilder.before(inner)
            insert = b._insert

            def remember(new, insert=insert, made=made):
                insert(new)
                made.append(new)

            b._insert = remember
            values = DECOMPOSITIONS[type(inner)](b, inner)
            for old, new in zip(inner.results, values, strict=True):
                if new is not None:
                    new._type = old.type
                    old.replace_all_uses_with(new)
            inner.detach()
            inner.erase()
            pending += made
