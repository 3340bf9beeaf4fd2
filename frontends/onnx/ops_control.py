"""Control flow, sequences and optionals.

Sequences and optionals have no IR type: their structure is known while importing, so a sequence is
a list of values. Loops over them are unrolled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Block, Region, SSAValue

from aicc.frontends.onnx.context import NodeContext, Optional_, Sequence_
from aicc.frontends.onnx.errors import ImportError_, Unavailable, UnavailableBody
from aicc.frontends.onnx.table import onnx_op
from aicc.ir import graph
from aicc.ir.dtypes import i1, i64
from aicc.ir.symbols import Dim, SymExpr
from aicc.ir.types import element_type, rank_of, same_dim, shape_of, symbols_of, tensor

MAX_UNROLL = 10_000


def run_inline(c: NodeContext, body: onnx.GraphProto, inputs: Sequence[Any]) -> list[Any]:
    """Import a subgraph in place, its inputs bound to values."""
    child = c.importer.child()
    for info, value in zip(body.input, inputs, strict=False):
        child.scope[info.name] = value
    return child.run(body)


def run_in_block(
    c: NodeContext, body: onnx.GraphProto, block: Block, inputs: Sequence[Any]
) -> list[Any]:
    child = c.importer.child(block=block)
    for info, value in zip(body.input, inputs, strict=False):
        child.scope[info.name] = value
    results = child.run(body)
    if any(isinstance(v, Unavailable) for v in results):
        raise UnavailableBody
    return results


def end_block(block: Block, values: Sequence[SSAValue]) -> None:
    block.add_op(graph.Yield.make(list(values), result_types=[]))


def discard(block: Block) -> None:
    """Throw away a block that was imported on trial."""
    for op in reversed(list(block.ops)):
        op.detach()
        op.erase(safe_erase=False)


def unify(a: TensorType, b: TensorType, what: str) -> TensorType:
    """The type of a value that is one or the other; dims that differ become unknown."""
    if element_type(a) != element_type(b) or rank_of(a) != rank_of(b):
        raise ImportError_(f"{what} is {a} on one path and {b} on another")
    dims = [x if same_dim(x, y) else None for x, y in zip(shape_of(a), shape_of(b), strict=True)]
    return tensor(dims, element_type(a))


def tensor_type(value: SSAValue) -> TensorType:
    """The value's type, which is a tensor's."""
    assert isinstance(value.type, TensorType)
    return value.type


def outside_only(c: NodeContext, type: TensorType) -> TensorType:
    """The type with dims forgotten whose symbols are local to a region."""
    known = c.b.scope.bound
    dims: list[Dim | None] = [
        d if not isinstance(d, SymExpr) or symbols_of([d]) <= known else None
        for d in shape_of(type)
    ]
    return tensor(dims, element_type(type))


@onnx_op("If")
def if_(c: NodeContext):
    branches = [c.attr("then_branch"), c.attr("else_branch")]
    known = c.array(0)
    if known is not None:
        return run_inline(c, branches[0 if bool(np.ravel(known)[0]) else 1], [])
    blocks = [Block(), Block()]
    results = [run_in_block(c, g, b, []) for g, b in zip(branches, blocks, strict=True)]
    tensors = all(isinstance(v, SSAValue) for r in results for v in r)
    same_rank = tensors and all(
        rank_of(a) == rank_of(b) and element_type(a) == element_type(b)
        for a, b in zip(*results, strict=True)
    )
    if not tensors or not same_rank:
        for b in blocks:
            discard(b)
        condition = c.require_array(0, "condition")
        return run_inline(c, branches[0 if bool(np.ravel(condition)[0]) else 1], [])
    types = [
        outside_only(c, unify(tensor_type(a), tensor_type(b), f"output {i}"))
        for i, (a, b) in enumerate(zip(*results, strict=True))
    ]
    for block, values in zip(blocks, results, strict=True):
        end_block(block, values)
    condition = c.b.reshape(c[0], [])
    return c.b.build(
        graph.If, condition, result_types=types, regions=[Region(b) for b in blocks]
    ).results


@onnx_op("Loop")
def loop(c: NodeContext):
    body = c.attr("body")
    carried = [c.optional(i) for i in range(2, len(c))]
    if any(not isinstance(v, SSAValue) for v in carried) or _scans_sequences(body, len(carried)):
        return _unrolled_loop(c, body, carried)
    trips = c.b.cast(c.b.reshape(c[0], []), i64) if c.has(0) else None
    condition = c.b.reshape(c[1], []) if c.has(1) else None
    initial: list[SSAValue] = list(carried)
    types = [tensor_type(v) for v in initial]
    for _ in range(4):
        block = Block(arg_types=[tensor((), i64), *types])
        inputs = [block.args[0], None, *block.args[1:]]
        inside = c.b.in_block(block)
        inputs[1] = inside.constant(True, i1)
        results = run_in_block(c, body, block, inputs)
        if not all(isinstance(v, SSAValue) for v in results):
            discard(block)
            return _unrolled_loop(c, body, carried)
        new = [
            outside_only(c, unify(t, tensor_type(r), f"carried value {i}"))
            for i, (t, r) in enumerate(zip(types, results[1:], strict=False))
        ]
        named = [_name_dims(c, t) for t in new]
        if [shape_of(a) for a in new] == [shape_of(t) for t in types] or _stable(types, results):
            break
        discard(block)
        types = named
    else:
        raise ImportError_("the shapes of the carried values never settle")
    n = len(initial)
    results[0] = inside.reshape(results[0], [])
    end_block(block, results)
    outs = [outside_only(c, t) for t in types]
    count = c.b.values.all_known(trips) if trips is not None and condition is None else None
    first = count[0] if count is not None and c.b.is_bound(count) else None
    for r in results[1 + n :]:
        inner = outside_only(c, tensor_type(r))
        outs.append(tensor((first, *shape_of(inner)), element_type(inner)))
    return c.b.build(
        graph.Loop,
        trips,
        condition,
        initial,
        result_types=outs,
        regions=[Region(block)],
    ).results


def _stable(types: Sequence[TensorType], results: Sequence[SSAValue]) -> bool:
    return all(
        all(isinstance(d, SymExpr) or d == e for d, e in zip(shape_of(t), shape_of(r), strict=True))
        for t, r in zip(types, results[1:], strict=False)
    )


def _name_dims(c: NodeContext, t: TensorType) -> TensorType:
    return tensor([c.b.scope.fresh() if d is None else d for d in shape_of(t)], element_type(t))


def _scans_sequences(body: onnx.GraphProto, carried: int) -> bool:
    return any(o.type.HasField("sequence_type") for o in body.output[1 + carried :])


def _unrolled_loop(c: NodeContext, body: onnx.GraphProto, carried: list[Any]) -> list[Any]:
    limit = int(c.require_array(0, "trip count").reshape(-1)[0]) if c.has(0) else MAX_UNROLL
    going = c.require_array(1, "condition") if c.has(1) else True
    scans: list[list[SSAValue]] = [[] for _ in range(len(body.output) - 1 - len(carried))]
    i = 0
    while i < limit and bool(np.ravel(going)[0]):
        if i >= MAX_UNROLL:
            raise ImportError_(f"a loop over a sequence takes more than {MAX_UNROLL} trips")
        results = run_inline(c, body, [c.b.constant(i, i64), c.b.constant(True, i1), *carried])
        condition = NodeContext(c.importer, c.node, [results[0]], c.version)
        going = condition.require_array(0, "condition of the loop")
        carried = results[1 : 1 + len(carried)]
        for out, v in zip(scans, results[1 + len(carried) :], strict=True):
            out.append(v)
        i += 1
    stacked = []
    for out in scans:
        if not out:
            raise ImportError_("a loop that never runs has scan outputs of unknown shape")
        parts = [c.b.unsqueeze(v, [0]) for v in out]
        stacked.append(c.emit(graph.Concat, parts, axis=0) if len(parts) > 1 else parts[0])
    return [*carried, *stacked]


@onnx_op("Scan", since=9)
def scan(c: NodeContext):
    body = c.attr("body")
    k = c.attr("num_scan_inputs")
    states = [c[i] for i in range(len(c) - k)]
    scanned = [c[i] for i in range(len(c) - k, len(c))]
    axes = c.attr("scan_input_axes", [0] * k)
    axes = [c.normalize(a, rank_of(x)) for a, x in zip(axes, scanned, strict=True)]
    back = c.attr("scan_input_directions", [0] * k)
    return scan_of(c, body, states, scanned, axes, back)


def scan_of(
    c: NodeContext,
    body: onnx.GraphProto,
    states: list[SSAValue],
    scanned: list[SSAValue],
    axes: Sequence[int],
    back: Sequence[int],
) -> list[SSAValue]:
    trips = c.b.size(scanned[0], axes[0])
    types = [tensor_type(s) for s in states]
    block = Block(arg_types=[tensor((), i64), *types])
    inside = c.b.in_block(block)
    inside.location = c.b.location
    step = block.args[0]
    slices = []
    for x, axis, reverse in zip(scanned, axes, back, strict=True):
        index = step
        if reverse:
            last = inside.emit(graph.Sub, inside.size(x, axis), inside.constant(1, i64))
            index = inside.emit(graph.Sub, last, step)
        slices.append(inside.emit(graph.Gather, x, index, axis=axis))
    results = run_in_block(c, body, block, [*block.args[1:], *slices])
    n = len(states)
    end_block(block, [inside.constant(True, i1), *results])
    size = shape_of(scanned[0])[axes[0]]
    outs = [outside_only(c, t) for t in types]
    for r in results[n:]:
        inner = outside_only(c, tensor_type(r))
        outs.append(tensor((size, *shape_of(inner)), element_type(inner)))
    made = c.b.build(
        graph.Loop, trips, None, states, result_types=outs, regions=[Region(block)]
    ).results
    finals: list[SSAValue] = list(made[:n])
    stacks: list[SSAValue] = list(made[n:])
    out_axes = c.attr("scan_output_axes", [0] * len(stacks))
    out_back = c.attr("scan_output_directions", [0] * len(stacks))
    for i, (axis, reverse) in enumerate(zip(out_axes, out_back, strict=True)):
        v = stacks[i]
        if reverse:
            v = c.emit(graph.Slice, v, axes=[0], starts=[-1], limits=[-(2**63) + 1], steps=[-1])
        axis = c.normalize(axis, rank_of(v))
        order = list(range(1, rank_of(v)))
        order.insert(axis, 0)
        stacks[i] = c.b.transpose(v, order)
    return finals + stacks


@onnx_op("Scan", until=9)
def scan_8(c: NodeContext):
    """Opset 8 has a batch dim in front of everything: run one batch entry after another."""
    body = c.attr("body")
    k = c.attr("num_scan_inputs")
    if c.has(0):
        raise ImportError_("sequence_lens of Scan 8 is not supported")
    values = [c[i] for i in range(1, len(c))]
    states, scanned = values[: len(values) - k], values[len(values) - k :]
    batch = shape_of(values[0])[0]
    if not isinstance(batch, int):
        raise ImportError_("the batch size must be known")
    back = c.attr("directions", [0] * k)
    per_entry = []
    for i in range(batch):
        pick = [c.b.squeeze(c.b.slice(v, 0, i, i + 1), [0]) for v in states + scanned]
        per_entry.append(scan_of(c, body, pick[: len(states)], pick[len(states) :], [0] * k, back))
    return [
        c.emit(graph.Concat, [c.b.unsqueeze(v, [0]) for v in column], axis=0)
        for column in zip(*per_entry, strict=True)
    ]


# ---------------------------------------------------------------------- sequences


def _sequence(c: NodeContext, i: int = 0) -> Sequence_:
    value = c.optional(i)
    if isinstance(value, Optional_):
        value = value.value
    if not isinstance(value, Sequence_):
        raise ImportError_(f"input {i} is no sequence")
    return value


def _position(c: NodeContext, i: int, length: int, extra: int = 0) -> int:
    position = c.ints(i, "position")[0]
    if not -length <= position < length + extra:
        raise ImportError_(f"position {position} is outside a sequence of {length}")
    return position % length if position < 0 else position


@onnx_op("SequenceEmpty")
def sequence_empty(c: NodeContext):
    return Sequence_()


@onnx_op("SequenceConstruct")
def sequence_construct(c: NodeContext):
    return Sequence_(c.tensors())


@onnx_op("SequenceInsert")
def sequence_insert(c: NodeContext):
    items = Sequence_(_sequence(c))
    at = _position(c, 2, len(items), 1) if c.has(2) else len(items)
    items.insert(at, c[1])
    return items


@onnx_op("SequenceErase")
def sequence_erase(c: NodeContext):
    items = Sequence_(_sequence(c))
    del items[_position(c, 1, len(items)) if c.has(1) else -1]
    return items


@onnx_op("SequenceAt")
def sequence_at(c: NodeContext):
    items = _sequence(c)
    return items[_position(c, 1, len(items))]


@onnx_op("SequenceLength")
def sequence_length(c: NodeContext):
    return c.b.constant(len(_sequence(c)), i64)


@onnx_op("ConcatFromSequence")
def concat_from_sequence(c: NodeContext):
    items = list(_sequence(c))
    axis = c.attr("axis")
    if c.attr("new_axis", 0):
        axis = c.normalize(axis, rank_of(items[0]) + 1)
        items = [c.b.unsqueeze(v, [axis]) for v in items]
    return c.emit(graph.Concat, items, axis=c.normalize(axis, rank_of(items[0])))


@onnx_op("SplitToSequence")
def split_to_sequence(c: NodeContext):
    axis = c.axis(0)
    size = c.shape()[axis]
    if not isinstance(size, int):
        raise ImportError_(f"dim {axis} must be known to split it")
    if not c.has(1) or rank_of(c[1]) == 0:
        each = c.ints(1, "split")[0] if c.has(1) else 1
        if each < 1 or size // each > MAX_UNROLL:
            raise ImportError_(f"{size} elements in parts of {each}")
        sizes = [each] * (size // each) + ([size % each] if size % each else [])
    else:
        sizes = c.ints(1, "split")
    out, start = Sequence_(), 0
    for s in sizes:
        part = c.b.slice(c[0], axis, start, start + s)
        if not c.has(1) and not c.attr("keepdims", 1):
            part = c.b.squeeze(part, [axis])
        out.append(part)
        start += s
    return out


@onnx_op("SequenceMap")
def sequence_map(c: NodeContext):
    body = c.attr("body")
    first = _sequence(c)
    columns: list[Sequence_] = [Sequence_() for _ in body.output]
    for i in range(len(first)):
        inputs = [v[i] if isinstance(v, Sequence_) else v for v in c.inputs]
        for column, value in zip(columns, run_inline(c, body, inputs), strict=True):
            column.append(value)
    return columns


# ---------------------------------------------------------------------- optionals


@onnx_op("Optional")
def optional(c: NodeContext):
    return Optional_(c.optional(0))


@onnx_op("OptionalHasElement")
def optional_has_element(c: NodeContext):
    value = c.optional(0)
    has = value.value is not None if isinstance(value, Optional_) else value is not None
    return c.b.constant(has, i1)


@onnx_op("OptionalGetElement")
def optional_get_element(c: NodeContext):
    value = c.optional(0)
    if isinstance(value, Optional_):
        value = value.value
    if value is None:
        raise ImportError_("the optional is empty")
    return value
