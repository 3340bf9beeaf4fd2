"""Which values share memory, and where each is used last."""

from __future__ import annotations

from xdsl.ir import Block, Operation, SSAValue

from aicc.backends.numpy.table import MAY_ALIAS
from aicc.ir import graph, tile


def alias_root(value: SSAValue) -> SSAValue:
    """The value whose memory a value may share, through ops that give views."""
    while True:
        owner = value.owner
        if isinstance(owner, Block):
            fused = owner.parent_op()
            if not isinstance(fused, graph.Fused):
                return value
            value = fused.inputs[owner.args.index(value)]
            continue
        if isinstance(owner, graph.Fused):
            value = owner.yielded().inputs[owner.outputs.index(value)]
            continue
        if type(owner) not in MAY_ALIAS or not owner.operands:
            return value
        value = owner.operands[0]


def last_uses_of(block: Block) -> dict[Operation, list[SSAValue]]:
    """For each op of the block, the values of the block that no later op uses."""
    found: dict[Operation, list[SSAValue]] = {}
    seen: set[SSAValue] = set()
    for op in reversed(list(block.ops)):
        used = {o for inner in op.walk() for o in inner.operands} if op.regions else op.operands
        for v in dict.fromkeys(used):
            if v in seen or _block_of(v) is not block:
                continue
            seen.add(v)
            found.setdefault(op, []).append(v)
        for r in op.results:
            if r not in seen and (
                len(op.results) == 1 or isinstance(op, (graph.If, graph.Fused, tile.Launch))
            ):
                seen.add(r)
                found.setdefault(op, []).append(r)
    last = block.last_op
    if last is not None:
        found.pop(last, None)
    for op in list(found):
        found[op] = [v for v in found[op] if not isinstance(v.owner, graph.Constant)]
    return found


def _block_of(value: SSAValue) -> Block | None:
    owner = value.owner
    return owner.parent if isinstance(owner, Operation) else owner
