"""In which layouts ops can work: one row an op.

An op has one layout, that of its first result. A rule says what layouts its operands then have, and
builds the op on operands that lie so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xdsl.ir import SSAValue

from aicc.ir import graph
from aicc.ir.builder import GraphBuilder
from aicc.ir.graph.folders import constant_of
from aicc.ir.graph.roles import Role, role_of
from aicc.ir.op import GraphOp
from aicc.ir.types import rank_of, shape_of

Permutation = tuple[int, ...]


def identity(rank: int) -> Permutation:
    return tuple(range(rank))


def channels_last(rank: int) -> Permutation:
    """The second dim moved to the end."""
    return (0, *range(2, rank), 1)


def composed(p: Sequence[int], q: Sequence[int]) -> Permutation:
    """``transpose(transpose(x, p), q) = transpose(x, composed(p, q))``."""
    return tuple(p[i] for i in q)


def inverse(p: Sequence[int]) -> Permutation:
    return tuple(sorted(range(len(p)), key=p.__getitem__))


REDUCTIONS = (graph.ReduceSum, graph.ReduceMean, graph.ReduceMax, graph.ReduceMin)

Build = Callable[[GraphBuilder, Any, Permutation, list[SSAValue]], SSAValue]


@dataclass(frozen=True)
class Rule:
    """How an op works in other layouts than the model's own.

    A reduction that drops dims has the layout of what it reads, and gives the dims that are left in
    the model's order.

    `allows` says whether it does, `build` makes it. Operands of the result's rank have its layout;
    those of a lower one are broadcast, and lie as the model has them.
    """

    build: Build
    allows: Callable[[Any, Permutation], bool] = lambda op, p: True


def layout_rank(op: GraphOp) -> int:
    """How many dims the op's layout has: its result's, or those of what it reduces."""
    if isinstance(op, REDUCTIONS) and not op.keepdims:
        return rank_of(op.operands[0])
    return rank_of(op.results[0])


def operand_layouts(op: GraphOp, layout: Permutation) -> list[Permutation | None]:
    """The layouts that operands have beside the op's own; None for those that have no choice."""
    if isinstance(op, (graph.Conv, graph.MaxPool, graph.AvgPool)):
        return [layout, *[None] * (len(op.operands) - 1)]
    rank = len(layout)
    return [layout if rank_of(v) == rank and rank > 1 else None for v in op.operands]


def _map_axes(axes: Sequence[int], layout: Permutation) -> list[int]:
    return [layout.index(a) for a in axes]


def _permuted(values: Sequence[Any], layout: Permutation) -> list[Any]:
    return [values[i] for i in layout]


def _again(b: GraphBuilder, op: GraphOp, operands: Sequence[SSAValue], **changed: Any) -> SSAValue:
    return b.emit(type(op), *operands, **{**op.param_values(), **changed})


def _pointwise(
    b: GraphBuilder, op: GraphOp, layout: Permutation, operands: list[SSAValue]
) -> SSAValue:
    return _again(b, op, [broadcast(b, v, layout) for v in operands])


def broadcast(b: GraphBuilder, value: SSAValue, layout: Permutation) -> SSAValue:
    """An operand of a lower rank, as it is broadcast against a tensor of the layout."""
    rank = len(layout)
    shape = shape_of(value)
    if len(shape) == rank or all(d == 1 for d in shape):
        return value
    whole = [*[1] * (rank - len(shape)), *shape]
    array = constant_of(value)
    if array is not None:
        return b.constant(array.reshape(whole).transpose(layout))
    moved = [whole[i] for i in layout]
    if sum(d != 1 for d in whole) <= 1:
        return b.reshape(value, moved)
    return b.transpose(b.reshape(value, whole), layout)


def _reduce(b: GraphBuilder, op: Any, layout: Permutation, operands: list[SSAValue]) -> SSAValue:
    return _again(b, op, operands, axes=sorted(_map_axes(op.axes, layout)))


def _along(b: GraphBuilder, op: Any, layout: Permutation, operands: list[SSAValue]) -> SSAValue:
    return _again(b, op, operands, axis=layout.index(op.axis))


def _concat(b: GraphBuilder, op: Any, layout: Permutation, operands: list[SSAValue]) -> SSAValue:
    return b.emit(graph.Concat, operands, axis=layout.index(op.axis))


def _slice(b: GraphBuilder, op: Any, layout: Permutation, operands: list[SSAValue]) -> SSAValue:
    return _again(b, op, operands, axes=_map_axes(op.axes, layout))


def _resize(b: GraphBuilder, op: Any, layout: Permutation, operands: list[SSAValue]) -> SSAValue:
    return _again(b, op, operands, axes=_map_axes(op.axes, layout))


def _pad(b: GraphBuilder, op: Any, layout: Permutation, operands: list[SSAValue]) -> SSAValue:
    low, high = (_permuted(v, layout) for v in (op.low, op.high))
    return _again(b, op, operands, low=low, high=high)


def _windowed(b: GraphBuilder, op: Any, layout: Permutation, operands: list[SSAValue]) -> SSAValue:
    return _again(b, op, operands, layout="nhwc")


def _conv(
    b: GraphBuilder, op: graph.Conv, layout: Permutation, operands: list[SSAValue]
) -> SSAValue:
    """The weight ``[M, C, *K]`` becomes ``[*K, C, M]``: rows of channels, as images have them."""
    weight = operands[1]
    order = (*range(2, rank_of(weight)), 1, 0)
    array = constant_of(weight)
    if array is None:
        operands[1] = b.transpose(weight, order)
    else:
        made = graph.Constant.make(value=renamed(weight, array.transpose(order).copy(), order))
        b._insert(made)
        operands[1] = made.result
    return _again(b, op, operands, layout="nhwc")


def renamed(source: SSAValue, array: Any, order: Sequence[int]) -> Any:
    """A constant's elements with its dims in another order, under a name of their own."""
    from aicc.passes.weights import derived_constant

    return derived_constant(source, array, ".".join(["turned", *map(str, order)])).value


def _takes_channels_last(op: Any, layout: Permutation) -> bool:
    return layout == channels_last(len(layout)) and op.layout == "nchw"


def _pool_allows(op: Any, layout: Permutation) -> bool:
    unused = not isinstance(op, graph.MaxPool) or op.indices.first_use is None
    return unused and _takes_channels_last(op, layout)


def _reduce_allows(op: Any, layout: Permutation) -> bool:
    left = [a for a in layout if a not in op.axes]
    return op.keepdims or left == sorted(left)


RULES: dict[type[GraphOp], Rule] = {
    graph.Conv: Rule(_conv, _takes_channels_last),
    graph.MaxPool: Rule(_windowed, _pool_allows),
    graph.AvgPool: Rule(_windowed, _pool_allows),
    **dict.fromkeys(REDUCTIONS, Rule(_reduce, _reduce_allows)),
    graph.Softmax: Rule(_along),
    graph.LogSoftmax: Rule(_along),
    graph.Concat: Rule(_concat),
    graph.Slice: Rule(_slice, lambda op, p: None not in (op.starts, op.limits, op.steps)),
    graph.Pad: Rule(_pad, lambda op, p: op.low is not None and op.high is not None),
    graph.Gather: Rule(_along, lambda op, p: rank_of(op.indices) == 1),
    graph.Resize: Rule(_resize, lambda op, p: op.sizes is not None and op.roi is None),
}

POINTWISE = Rule(_pointwise)


def rule_of(op: object) -> Rule | None:
    """The rule of an op; None for one that works in the model's own layout only."""
    if not isinstance(op, GraphOp) or not op.results or op.regions:
        return None
    if type(op) in RULES:
        return RULES[type(op)]
    pointwise = role_of(op) is Role.POINTWISE and not isinstance(op, graph.Iota)
    if isinstance(op, (graph.Quantize, graph.Dequantize)):
        pointwise = is_plain(op)
    return POINTWISE if pointwise else None


def is_plain(op: Any) -> bool:
    """Whether one scale serves the whole tensor."""
    return rank_of(op.scale) == 0 and not op.block_size


def allows(op: GraphOp, layout: Permutation) -> bool:
    """Whether the op can work in a layout."""
    if layout == identity(len(layout)):
        return True
    rule = rule_of(op)
    if rule is None or len(layout) != layout_rank(op):
        return False
    if any(rank_of(v) > len(layout) for v in op.operands):
        return False
    return rule.allows(op, layout)
