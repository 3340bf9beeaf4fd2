"""Iteration spaces: the axes of a kernel, its results over them, and axes joined into one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.ir import Block, SSAValue

from aicc.ir import tile
from aicc.ir.graph import Fused
from aicc.ir.symbols import Call, Dim, SymExpr, floordiv, mod, sym
from aicc.ir.symbols import product as product_of
from aicc.ir.types import Shape, element_type, shape_of
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.emitter import Emitter


@dataclass(frozen=True)
class Output:
    """A result: its node, where it is written, and the axes that it varies along."""

    node: n.Node
    offset: Dim
    axes: tuple[str, ...]


@dataclass
class Space:
    """What a kernel iterates over: axes with their extents, outer to inner.

    `kinds` says what an axis is for (only those of one kind are joined), `rename` what became of
    axes that were joined to others, or are 1.
    """

    extents: dict[str, Dim]
    kinds: Mapping[str, str]
    rename: dict[str, Dim] = field(default_factory=dict)

    def of_kind(self, kind: str) -> list[str]:
        return [a for a in self.extents if self.kinds[a] == kind]


def known_shape(shape: Shape) -> tuple[Dim, ...]:
    """The dims; raises Unsupported if one is unknown."""
    if None in shape:
        raise n.Unsupported("a size is unknown")
    return tuple(d for d in shape if d is not None)


def output_of(
    tracer: n.Tracer,
    value: SSAValue,
    shape: tuple[Dim, ...],
    at: Sequence[Dim],
    used: Sequence[str],
    axes: Collection[int] = (),
) -> Output:
    """A result of a kernel that is at `at` in `shape` and reduces the dims `axes`.

    `used` are the kernel's axes that aren't reduced.
    """
    goal = known_shape(shape_of(value))
    rows = tuple(d for i, d in enumerate(shape) if i not in axes)
    kept = tuple(1 if i in axes else d for i, d in enumerate(shape))
    every = used
    if goal == shape:
        coords = tuple(at)
        every = [*used, *(tracer.reduce_axes[i] for i in axes)]
    elif goal == kept:
        coords = tuple(0 if i in axes else c for i, c in enumerate(at))
    elif goal == rows:
        coords = tuple(c for i, c in enumerate(at) if i not in axes)
    elif not axes or product_of(goal) == product_of(shape):
        coords = n.reshaped(tuple(at), shape, goal, tracer.extents)
        every = [*used, *(tracer.reduce_axes[i] for i in axes)]
    else:
        raise n.Unsupported(f"a result of shape {goal} in a kernel over {shape}")
    return Output(tracer.value(value, coords), n.linear(coords, goal), tuple(every))


def collapsed(
    extents: Mapping[str, Dim],
    kinds: Mapping[str, str],
    exprs: Iterable[Dim],
    keep: Collection[str] = (),
) -> Space:
    """Neighbouring axes joined where every index expression walks through both in one stride.

    Axes of extent 1 go, those in `keep` aside. Those of kind "batch" join their own, or "m".
    """
    exprs = list(exprs)
    gone = [a for a, d in extents.items() if d == 1 and a not in keep]
    sizes = {a: d for a, d in extents.items() if a not in gone}
    rename: dict[str, Dim] = dict.fromkeys(gone, 0)
    current = list(sizes)
    for i in range(len(current) - 2, -1, -1):
        outer, inner = current[i], current[i + 1]
        same = kinds[outer] == kinds[inner] or (kinds[outer], kinds[inner]) == ("batch", "m")
        if same and all(_joins(e, outer, inner, sizes[inner]) for e in exprs):
            sizes[inner] = sizes[outer] * sizes[inner]
            rename[outer] = 0
            exprs = [e if isinstance(e, int) else e.substitute({outer: 0}) for e in exprs]
            del current[i]
    return Space({a: sizes[a] for a in current}, kinds, rename)


def flattened(space: Space, kind: str, name: str) -> tuple[str, Dim]:
    """The one axis that all axes of a kind are walked through by, and its extent."""
    names = space.of_kind(kind)
    if len(names) == 1:
        return names[0], space.extents[names[0]]
    index: Dim = sym(name)
    inner: Dim = 1
    for a in reversed(names):
        size = space.extents[a]
        whole = floordiv(index, 1 if inner == 0 else inner)
        space.rename[a] = whole if a == names[0] or size == 0 else mod(whole, size)
        inner = inner * size
    return name, inner


def index_expressions(tracer: n.Tracer, *roots: n.Node) -> Iterator[Dim]:
    """Every index expression of a kernel."""
    for node in n.nodes_below(*roots, *tracer.data.values()):
        if isinstance(node, n.Read):
            yield node.offset
            yield from node.when
        elif isinstance(node, n.Position):
            yield node.value
        elif isinstance(node, n.Choose):
            yield from node.when


def coefficient(expr: Dim, name: str) -> Dim | None:
    """What `name` is multiplied by where the expression is linear in it, else None."""
    total: Dim = 0
    if isinstance(expr, int):
        return 0
    for monomial, c in expr.terms:
        inside = [a for a in monomial if isinstance(a, Call) and name in _symbols(a)]
        if inside or monomial.count(name) > 1:
            return None
        if name in monomial:
            rest = list(monomial)
            rest.remove(name)
            total = total + product_of([c, *(SymExpr((((a,), 1),)) for a in rest)])
    return total


def _symbols(call: Call) -> set[str]:
    return {s for a in call.args if isinstance(a, SymExpr) for s in a.symbols()}


def _joins(expr: Dim, outer: str, inner: str, size: Dim) -> bool:
    a, b = coefficient(expr, outer), coefficient(expr, inner)
    return a is not None and b is not None and a == b * size


def next_power(value: int) -> int:
    """The least power of two that isn't smaller."""
    return 1 << max(value - 1, 0).bit_length()


def buffer_of(value: SSAValue) -> tile.BufferType:
    return tile.BufferType.of(known_shape(shape_of(value)), element_type(value))


def add_buffers(e: Emitter, op: Fused) -> list[SSAValue]:
    """Give the kernel its arguments; those that it writes."""
    block, body = e.scopes[0].block, op.body.block
    for arg in body.args:
        e.arguments[arg] = block.insert_arg(buffer_of(arg), len(block.args))
        e.arguments[arg].name_hint = arg.name_hint
    return [block.insert_arg(buffer_of(v), len(block.args)) for v in op.yielded().inputs]


def finished(e: Emitter, op: Fused, grid: Sequence[Dim]) -> tuple[Block, dict]:
    """The body that was built for `op`, ended, and the kernel's parameters."""
    block = e.scopes[0].block
    block.add_op(tile.Return.make(result_types=[]))
    inputs = len(op.body.block.args)
    return block, {"grid": grid, "schedule": dict(e.schedule), "inputs": inputs}


def empty_kernel(op: Fused) -> tuple[Block, dict]:
    """A kernel without programs, for an op all of whose results are empty."""
    values = (*op.body.block.args, *op.yielded().inputs)
    block = Block(arg_types=[buffer_of(v) for v in values])
    block.add_op(tile.Return.make(result_types=[]))
    return block, {"grid": [0], "schedule": {}, "inputs": len(op.body.block.args)}


def is_empty(op: Fused) -> bool:
    return all(0 in shape_of(v) for v in op.yielded().inputs)
