"""Recurrent layers as loops over time steps: what frontends have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.ir import Block, Region, SSAValue

from aicc.ir import graph
from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import i1, i64
from aicc.ir.types import element_type, shape_of, tensor

Step = Callable[[GraphBuilder, SSAValue, list[SSAValue]], list[SSAValue]]
"""New states from a step's input and the old ones; the first is what the layer gives."""


def run_steps(
    b: GraphBuilder,
    sequence: SSAValue,
    states: Sequence[SSAValue],
    step: Step,
    reverse: bool = False,
    lengths: SSAValue | None = None,
) -> tuple[SSAValue, list[SSAValue]]:
    """The first state at each step, [T, …], and the states after the last one.

    `sequence` [T, N, …] is read from its end with `reverse`, and results stand where their inputs
    do. Beyond `lengths` [N] states stay and results are 0.
    """
    count = b.size(sequence, 0)
    block = Block(arg_types=[tensor((), i64), *(s.type for s in states)])
    inside = b.in_block(block)
    index = block.args[0]
    if reverse:
        last = inside.emit(graph.Sub, inside.size(sequence, 0), inside.constant(1, i64))
        index = inside.emit(graph.Sub, last, index)
    old: list[SSAValue] = list(block.args[1:])
    new = step(inside, inside.emit(graph.Gather, sequence, index, axis=0), old)
    shown = new[0]
    if lengths is not None:
        limits = inside.cast(inside.unsqueeze(lengths, [1]), i64)
        alive = inside.emit(graph.Lt, index, limits)
        new = [inside.emit(graph.Select, alive, n, o) for n, o in zip(new, old, strict=True)]
        shown = inside.emit(graph.Select, alive, shown, inside.scalar_like(0, shown))
    results = [inside.constant(True, i1), *new, shown]
    block.add_op(graph.Yield.make(results, result_types=[]))
    steps = tensor((shape_of(sequence)[0], *shape_of(shown)), element_type(shown))
    made = b.build(
        graph.Loop,
        count,
        None,
        list(states),
        result_types=[*(s.type for s in states), steps],
        regions=[Region(block)],
    ).results
    outputs = made[-1]
    if reverse:
        outputs = b.emit(
            graph.Slice, outputs, axes=[0], starts=[-1], limits=[-(2**63) + 1], steps=[-1]
        )
    return outputs, list(made[:-1])
