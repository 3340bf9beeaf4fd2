"""Merges ops that compute the same thing."""

from __future__ import annotations

from typing import Any

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass
from xdsl.traits import IsTerminator, Pure

Known = dict[tuple[Any, ...], Operation]


def _key(op: Operation) -> tuple[Any, ...]:
    return (
        type(op),
        tuple(op.operands),
        tuple(sorted(op.properties.items(), key=lambda kv: kv[0])),
        tuple(op.result_types),
    )


def _merge_block(block: Block, outer: list[Known]) -> None:
    known: Known = {}
    scopes = [*outer, known]
    op = block.first_op
    while op is not None:
        following = op.next_op
        for region in op.regions:
            for inner in region.blocks:
                _merge_block(inner, scopes)
        if op.has_trait(Pure) and not op.regions and not op.has_trait(IsTerminator):
            key = _key(op)
            twin = next((s[key] for s in scopes if key in s), None)
            if twin is None:
                known[key] = op
            else:
                for old, new in zip(op.results, twin.results, strict=True):
                    old.replace_all_uses_with(new)
                op.detach()
                op.erase()
        op = following


class CommonSubexpressionElimination(ModulePass):
    """Replace a pure op by an earlier one with the same operands and parameters.

    An op in a region may be replaced by one outside, never the other way round.
    """

    name = "cse"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.ops:
            for region in function.regions:
                for block in region.blocks:
                    _merge_block(block, [])
