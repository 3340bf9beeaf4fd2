"""Loops whose number of rounds is known, without a loop."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import i64
from aicc.ir.graph.control import Loop, Yield
from aicc.ir.graph.folders import constant_of
from aicc.ir.graph.shape import Concat
from aicc.ir.types import element_type, shape_of

MOST_OPS = 20_000
"""How many ops a loop may become."""


def loop(b: GraphBuilder, op: Loop) -> Sequence[SSAValue] | None:
    """The body once for each round; None where a round decides whether there is another."""
    block, end = op.body.block, op.body.block.last_op
    assert isinstance(end, Yield)
    trips = None if op.max_trips is None else constant_of(op.max_trips)
    goes_on = [end.inputs[0], *([] if op.condition is None else [op.condition])]
    known = [constant_of(v) for v in goes_on]
    if trips is None or any(k is None or not k for k in known):
        return None
    count, carried = max(int(trips), 0), len(op.carried)
    if count * sum(1 for _ in op.body.walk()) > MOST_OPS:
        return None
    states = list(op.carried)
    rounds: list[list[SSAValue]] = [[] for _ in op.outputs[carried:]]
    for i in range(count):
        values: dict[SSAValue, SSAValue] = {block.args[0]: b.constant(i, i64)}
        values.update(zip(block.args[1:], states, strict=True))
        for inner in block.ops:
            if inner is not end:
                b._insert(inner.clone(values))
        found = [values.get(v, v) for v in end.inputs]
        states = found[1 : 1 + carried]
        for parts, value in zip(rounds, found[1 + carried :], strict=True):
            parts.append(b.unsqueeze(value, [0]))
    stacked = []
    for parts, out in zip(rounds, op.outputs[carried:], strict=True):
        if not parts and not b.is_bound(shape_of(out)):
            return None
        none = not parts and b.full(shape_of(out), 0, element_type(out))
        stacked.append(none or (b.emit(Concat, parts, axis=0) if len(parts) > 1 else parts[0]))
    return [*states, *stacked]
