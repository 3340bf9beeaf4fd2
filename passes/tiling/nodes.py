"""Where each element of a kernel's result comes from, as a graph over index expressions.

An element is asked for at coordinates, one expression for each dim, over *axes* (symbols that run
over the kernel's iteration space) and sizes. Ops that only move elements change the coordinates;
what is left are reads from memory, arithmetic, and reductions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from xdsl.ir import BlockArgument, SSAValue

from aicc.ir import graph
from aicc.ir.dtypes import DType, dtype_of, i64
from aicc.ir.graph.roles import Role, reduced_axes, role_of
from aicc.ir.op import GraphOp
from aicc.ir.symbols import (
    Dim,
    SymExpr,
    product,
    sym,
)
from aicc.ir.types import element_type, rank_of, shape_of
from aicc.passes.tiling.coords import (
    Coords,
    Unsupported,
    broadcast_coords,
    first_index,
    linear,
    reshaped,
)


@dataclass(eq=False)
class Node:
    """A value at some coordinates; `axes` are those that it varies along."""

    dtype: DType
    axes: frozenset[str] = frozenset()

    def inputs(self) -> Sequence[Node]:
        return ()


@dataclass(eq=False)
class Read(Node):
    """An element of a kernel's argument; not to be touched where one of `when` is negative."""

    arg: BlockArgument | None = None
    offset: Dim = 0
    when: tuple[Dim, ...] = ()
    indices: tuple[Node, ...] = ()

    def inputs(self) -> Sequence[Node]:
        return self.indices


@dataclass(eq=False)
class Position(Node):
    """The value of an index expression."""

    value: Dim = 0


@dataclass(eq=False)
class Literal(Node):
    """A constant."""

    value: bool | int | float = 0


@dataclass(eq=False)
class Apply(Node):
    """A pointwise op on elements."""

    op: GraphOp | None = None
    args: tuple[Node, ...] = ()

    def inputs(self) -> Sequence[Node]:
        return self.args


@dataclass(eq=False)
class Choose(Node):
    """`inside` where none of the expressions is negative, else `outside`."""

    when: tuple[Dim, ...] = ()
    inside: Node | None = None
    outside: Node | None = None

    def inputs(self) -> Sequence[Node]:
        assert self.inside is not None and self.outside is not None
        return self.inside, self.outside


@dataclass(eq=False)
class Combine(Node):
    """An op of `arith` on two values."""

    name: str = ""
    first: Node | None = None
    second: Node | None = None

    def inputs(self) -> Sequence[Node]:
        assert self.first is not None and self.second is not None
        return self.first, self.second


@dataclass(eq=False)
class Convert(Node):
    """A value as one of another dtype."""

    source: Node | None = None

    def inputs(self) -> Sequence[Node]:
        assert self.source is not None
        return (self.source,)


def combined(dtype: DType, name: str, parts: Sequence[Node]) -> Node:
    """One value of several, two at a time, as a tree: independent sums can run side by side."""
    parts = list(parts)
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        joined: list[Node] = [Combine(dtype, a.axes | b.axes, name, a, b) for a, b in pairs]
        parts = [*joined, *parts[len(parts) // 2 * 2 :]]
    return parts[0]


@dataclass(eq=False)
class Reduced(Node):
    """A reduction of `arg` along the axes `over`; `result` says which result of the op it is."""

    op: GraphOp | None = None
    arg: Node | None = None
    over: tuple[str, ...] = ()

    def inputs(self) -> Sequence[Node]:
        assert self.arg is not None
        return (self.arg,)


@dataclass(eq=False)
class Given(Node):
    """A value that the kernel's own loop computes: an accumulator."""


def axis_name(name: str) -> str:
    """The symbol of an axis: none of a model's sizes is called so."""
    return AXIS + name


AXIS = "axis."


def nodes_below(*roots: Node, skip: Callable[[Node], bool] = lambda n: False) -> Iterator[Node]:
    """Every node that the roots are computed from, each once, inputs first.

    Those that `skip` holds for are left out, with what only they are computed from.
    """
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(r, False) for r in reversed(roots)]
    while stack:
        node, done = stack.pop()
        if done:
            yield node
        elif id(node) not in seen and not skip(node):
            seen.add(id(node))
            stack.append((node, True))
            stack += [(n, False) for n in reversed(node.inputs()) if id(n) not in seen]


def axes_in(expr: Dim, axes: Sequence[str] | frozenset[str] | dict) -> frozenset[str]:
    return frozenset(s for s in expr.symbols() if s in axes) if isinstance(expr, SymExpr) else NONE


NONE: frozenset[str] = frozenset()


@dataclass
class Tracer:
    """Builds nodes for the values of one fused kernel.

    `extents` gives the size of each axis. Coordinates of values in `given` aren't looked at: they
    stand for an accumulator that has the kernel's own iteration space. `rows` says that all axes
    but those that are reduced are of one kind: neighbours may become one.
    """

    extents: dict[str, Dim]
    given: dict[SSAValue, Node] = field(default_factory=dict)
    reduce_axes: dict[int, str] = field(default_factory=dict)
    data: dict[str, Node] = field(default_factory=dict)
    memo: dict[tuple, Node] = field(default_factory=dict)
    made: dict[tuple, Node] = field(default_factory=dict)
    rows: bool = False

    def value(self, v: SSAValue, coords: Coords, when: tuple[Dim, ...] = ()) -> Node:
        """The node of `v` at `coords`, where all of `when` are ≥ 0.

        Elements that are the same under coordinates of two shapes are one node.
        """
        key = (v, coords, when)
        if key not in self.memo:
            node = self.trace(v, coords, when)
            self.memo[key] = self.made.setdefault(identity(node), node)
        return self.memo[key]

    def trace(self, v: SSAValue, coords: Coords, when: tuple[Dim, ...]) -> Node:
        if v in self.given:
            return self.given[v]
        if isinstance(v, BlockArgument):
            return self.read(v, coords, when)
        op = v.owner
        assert isinstance(op, GraphOp)
        if isinstance(op, graph.Constant):
            value = op.value.array.reshape(-1)[0]
            return Literal(element_type(v), NONE, _python(value))
        move = MOVES.get(type(op))
        if move is not None:
            return move(self, op, coords, when)
        if isinstance(op, graph.Iota):
            return self.position(coords[op.axis], op.dtype)
        role = role_of(op)
        if role is Role.REDUCTION:
            return self.reduced(op, v, coords, when)
        if role is not Role.POINTWISE:
            raise Unsupported(f"{op.kind} isn't lowered inside another kernel")
        args = tuple(self.value(a, broadcast_coords(a, v, coords), when) for a in op.operands)
        axes = NONE.union(*(a.axes for a in args))
        return Apply(element_type(v), axes, op, args)

    def read(self, arg: BlockArgument, coords: Coords, when: tuple[Dim, ...]) -> Read:
        offset = linear(coords, shape_of(arg))
        indices = tuple(self.data[s] for s in sorted(axes_in(offset, self.data)))
        axes = self.varies(offset, *when)
        return Read(element_type(arg), axes, arg, offset, when, indices)

    def varies(self, *exprs: Dim) -> frozenset[str]:
        """The axes that index expressions vary along, through data that they hold too."""
        found = NONE
        for e in exprs:
            found |= axes_in(e, self.extents)
            for s in axes_in(e, self.data):
                found |= self.data[s].axes
        return found

    def position(self, value: Dim, dtype: DType) -> Node:
        return Position(dtype, self.varies(value), value)

    def chosen(self, inside: Sequence[Dim], value: Node, outside: int | float) -> Node:
        """`value` where none of `inside` is negative, else a number."""
        if any(isinstance(e, int) and e < 0 for e in inside):
            return Literal(value.dtype, NONE, outside)
        inside = [e for e in inside if not isinstance(e, int)]
        if not inside:
            return value
        axes = value.axes | self.varies(*inside)
        return Choose(value.dtype, axes, tuple(inside), value, Literal(value.dtype, NONE, outside))

    def index_of(self, node: Node, size: Dim) -> Dim:
        """A coordinate that is read from memory; negative ones count from the end."""
        if isinstance(node, Position):
            return node.value
        if isinstance(node, Literal):
            return int(node.value) + (size if node.value < 0 else 0)
        name = axis_name(f"index{len(self.data)}")
        self.data[name] = Index(i64, node.axes, node, size)
        return sym(name)

    def reduced(self, op: GraphOp, v: SSAValue, coords: Coords, when: tuple[Dim, ...]) -> Node:
        axes = sorted(reduced_axes(op))
        keepdims = getattr(op, "keepdims", True)
        kept = list(coords)
        full: list[Dim] = []
        for i in range(rank_of(op.operands[0])):
            if i in axes:
                if keepdims:
                    kept.pop(0)
                name = self.reduce_axes[i]
                full.append(0 if self.extents.get(name) == 1 else sym(name))
            else:
                full.append(kept.pop(0))
        over = tuple(self.reduce_axes[i] for i in axes)
        arg = self.value(op.operands[0], tuple(full), when)
        node = Reduced(element_type(v), arg.axes - set(over), op, arg, over)
        return node


def identity(node: Node) -> tuple:
    """What two nodes have in common that stand for one element."""
    match node:
        case Read():
            return Read, node.arg, node.offset, node.when, *map(id, node.indices)
        case Apply():
            return Apply, node.op, *map(id, node.args)
        case Choose():
            return Choose, node.when, *map(id, node.inputs())
        case Reduced():
            return Reduced, node.op, node.dtype, node.over, id(node.arg)
    return Node, id(node)


@dataclass(eq=False)
class Index(Node):
    """An index from memory, made non-negative: `size` is added to negative ones."""

    source: Node | None = None
    size: Dim = 0

    def inputs(self) -> Sequence[Node]:
        assert self.source is not None
        return (self.source,)


def _python(value: np.generic) -> bool | int | float:
    if isinstance(value, np.bool_):
        return bool(value)
    d = dtype_of(value.dtype)
    return float(value) if d.is_float else int(value)  # type: ignore[arg-type]


# ---------------------------------------------------------------------- ops that move elements


def _transpose(t: Tracer, op: graph.Transpose, coords: Coords, when: tuple[Dim, ...]) -> Node:
    source: list[Dim] = [0] * len(coords)
    for i, p in enumerate(op.permutation):
        source[p] = coords[i]
    return t.value(op.input, tuple(source), when)


def _expand(t: Tracer, op: graph.Expand, coords: Coords, when: tuple[Dim, ...]) -> Node:
    return t.value(op.input, broadcast_coords(op.input, op.result, coords), when)


def _slice(t: Tracer, op: graph.Slice, coords: Coords, when: tuple[Dim, ...]) -> Node:
    if None in (op.starts, op.steps):
        raise Unsupported("a slice has bounds that depend on data")
    source = list(coords)
    for axis, start, step in zip(op.axes, op.starts, op.steps, strict=True):
        size = shape_of(op.input)[axis]
        assert size is not None
        if not isinstance(step, int):
            raise Unsupported("a slice has a step that isn't known")
        source[axis] = coords[axis] * step + first_index(start, size, step)
    return t.value(op.input, tuple(source), when)


def _reshape(t: Tracer, op: graph.Reshape, coords: Coords, when: tuple[Dim, ...]) -> Node:
    shape, goal = shape_of(op.result), shape_of(op.input)
    return t.value(op.input, reshaped(coords, shape, goal, t.extents), when)


def _pad(t: Tracer, op: graph.Pad, coords: Coords, when: tuple[Dim, ...]) -> Node:
    if op.low is None or op.high is None or op.mode != "constant":
        raise Unsupported(f"a pad of mode {op.mode}, or by amounts that depend on data")
    shape, inside = shape_of(op.input), []
    source = [c - low for c, low in zip(coords, op.low, strict=True)]
    for i, (low, high, size) in enumerate(zip(op.low, op.high, shape, strict=True)):
        if low == high == 0:
            continue
        assert size is not None
        at, end = source[i], size
        if t.rows and is_whole(t, coords[i:], op.low[i + 1 :], op.high[i + 1 :]):
            at = linear(tuple(source[i:]), shape[i:])
            end = product(d for d in shape[i:] if d is not None)
        if low != 0:
            inside.append(at)
        if high != 0:
            inside.append(end - 1 - at)
    outside = t.value(op.value, ())
    if not inside:
        return t.value(op.input, tuple(source), when)
    value = t.value(op.input, tuple(source), (*when, *inside))
    axes = value.axes | t.varies(*inside)
    return Choose(value.dtype, axes, tuple(inside), value, outside)


def is_whole(t: Tracer, coords: Coords, low: Sequence[int], high: Sequence[int]) -> bool:
    """Whether coordinates are axes of a kernel, of which a pad leaves all but the first as it is.

    A place in those dims, counted through, says as well whether the first is inside, and neighbours
    that all expressions count through become one axis.
    """
    axes = t.extents.keys() - set(t.reduce_axes.values())
    plain = all(any(c == sym(a) for a in axes) or c == 0 for c in coords)
    return plain and not any(low) and not any(high)


def _concat(t: Tracer, op: graph.Concat, coords: Coords, when: tuple[Dim, ...]) -> Node:
    end: Dim = 0
    parts: list[tuple[SSAValue, Dim, Dim]] = []
    for v in op.inputs:
        size = shape_of(v)[op.axis]
        assert size is not None
        if size == 0:
            continue
        parts.append((v, end, end + size))
        end = end + size
    node: Node | None = None
    at = coords[op.axis]
    for v, start, stop in reversed(parts):
        inner = (*coords[: op.axis], at - start, *coords[op.axis + 1 :])
        inside: tuple[Dim, ...] = () if node is None else (stop - 1 - at,)
        guard = inside if isinstance(start, int) and start == 0 else (*inside, at - start)
        value = t.value(v, inner, (*when, *guard))
        if node is None:
            node = value
        else:
            axes = value.axes | node.axes | t.varies(*inside)
            node = Choose(value.dtype, axes, inside, value, node)
    if node is None:
        raise Unsupported("a concat of nothing")
    return node


def _gather(t: Tracer, op: graph.Gather, coords: Coords, when: tuple[Dim, ...]) -> Node:
    n = rank_of(op.indices)
    picked = t.value(op.indices, coords[op.axis : op.axis + n], when)
    size = shape_of(op.input)[op.axis]
    assert size is not None
    at = t.index_of(picked, size)
    return t.value(op.input, (*coords[: op.axis], at, *coords[op.axis + n :]), when)


def _gather_elements(
    t: Tracer, op: graph.GatherElements, coords: Coords, when: tuple[Dim, ...]
) -> Node:
    size = shape_of(op.input)[op.axis]
    assert size is not None
    at = t.index_of(t.value(op.indices, coords, when), size)
    return t.value(op.input, (*coords[: op.axis], at, *coords[op.axis + 1 :]), when)


def _gather_nd(t: Tracer, op: graph.GatherND, coords: Coords, when: tuple[Dim, ...]) -> Node:
    shape, lead = shape_of(op.input), shape_of(op.indices)[:-1]
    (depth,) = shape_of(op.indices)[-1:]
    if not isinstance(depth, int):
        raise Unsupported("index tuples whose length isn't known")
    batch = op.batch_dims
    place, rest = coords[: len(lead)], coords[len(lead) :]
    at = []
    for i in range(depth):
        size = shape[batch + i]
        assert size is not None
        at.append(t.index_of(t.value(op.indices, (*place, i), when), size))
    return t.value(op.input, (*coords[:batch], *at, *rest), when)


MOVES = {
    graph.GatherElements: _gather_elements,
    graph.GatherND: _gather_nd,
    graph.Transpose: _transpose,
    graph.Expand: _expand,
    graph.Slice: _slice,
    graph.Reshape: _reshape,
    graph.Pad: _pad,
    graph.Concat: _concat,
    graph.Gather: _gather,
}
"""What each op that moves elements does to coordinates: one row an op."""


__all__ = [
    "Apply",
    "Choose",
    "Given",
    "Index",
    "Literal",
    "Node",
    "Position",
    "Read",
    "Reduced",
    "Tracer",
    "Unsupported",
    "linear",
    "nodes_below",
    "reshaped",
]
