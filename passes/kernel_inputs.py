"""What a fused kernel reads: kernels that make it, inputs that come and go."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import Block, BlockArgument, Region, SSAValue

from aicc.ir import graph
from aicc.ir.builder import GraphBuilder
from aicc.ir.graph import Fused

VIEWS = (graph.Transpose, graph.Slice, graph.Reshape)
"""Ops by which a kernel reads what it is given in another order."""


def read_through(value: SSAValue) -> tuple[SSAValue, graph.Transpose | None]:
    """What a value is a transpose of, and that transpose; the value itself where it is none."""
    if isinstance(value.owner, graph.Transpose):
        return value.owner.input, value.owner
    return value, None


def made_before(
    fused: Fused,
    source: SSAValue,
    label: str,
    name: str,
    build: Callable[[GraphBuilder, SSAValue], SSAValue],
) -> SSAValue:
    """What `build` makes of a value, in a kernel of its own before the one that is given."""
    body = Block(arg_types=[source.type])
    body.args[0].name_hint = source.name_hint
    made = build(GraphBuilder(body), body.args[0])
    body.add_op(graph.Yield.make([made], result_types=[]))
    before = Fused.make(
        [source],
        result_types=[made.type],
        regions=[Region(body)],
        location=fused.location,
        role="pointwise",
        label=label,
    )
    before.outputs[0].name_hint = name
    block = fused.parent
    assert block is not None
    block.insert_op_before(before, fused)
    return before.outputs[0]


def add_input(fused: Fused, value: SSAValue) -> BlockArgument:
    """Have the kernel take one more value."""
    body = fused.body.block
    arg = body.insert_arg(value.type, len(body.args))
    arg.name_hint = value.name_hint
    fused.operands = [*fused.operands, value]
    return arg


def drop_unused(fused: Fused) -> None:
    """Take away views and inputs that nothing in the kernel reads."""
    for op in reversed(list(fused.ops())):
        if isinstance(op, VIEWS) and op.result.first_use is None:
            op.detach()
            op.erase()
    for arg in reversed(fused.body.block.args):
        if arg.first_use is None:
            fused.operands = [v for i, v in enumerate(fused.operands) if i != arg.index]
            fused.body.block.erase_arg(arg)
