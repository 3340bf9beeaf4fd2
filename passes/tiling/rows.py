"""Kernels of elements and of rows: pointwise chains, and reductions over the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from xdsl.ir import Block, SSAValue

from aicc.ir import tile
from aicc.ir.graph import Fused
from aicc.ir.graph.roles import Role, reduced_axes, role_of, space_of
from aicc.ir.op import GraphOp
from aicc.ir.symbols import Call, Dim, SymExpr, ceildiv, sym
from aicc.ir.symbols import floordiv as floordiv_
from aicc.ir.symbols import mod as mod_
from aicc.ir.symbols import product as product_of
from aicc.ir.tile.types import broadcast_tiles, tile_shape
from aicc.ir.tile.types import tile as tile_type
from aicc.ir.types import Shape, element_type, shape_of
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.emitter import AxisVar, Emitter

ROW_BLOCK = 1024
"""Elements that one program of a pointwise kernel computes."""

PERSISTENT = 8192
"""The longest row that is held in one tile."""

LOOP_BLOCK = 1024
"""How much of a longer row is held at a time."""


@dataclass
class Space:
    """What a kernel iterates over: axes with their extents, outer to inner."""

    extents: dict[str, Dim]
    reduced: frozenset[str] = frozenset()
    rename: dict[str, Dim] = field(default_factory=dict)

    @property
    def rows(self) -> list[str]:
        return [a for a in self.extents if a not in self.reduced]


def lower_rows(op: Fused) -> tuple[Block, dict]:
    """The body of a kernel for a pointwise or reduction `op`, and the kernel's parameters."""
    body = op.body.block
    shape, axes = iteration_space(op)
    names = [f"i{i}" for i in range(len(shape))]
    extents = dict(zip(names, shape, strict=True))
    tracer = n.Tracer(extents, reduce_axes={i: names[i] for i in axes})
    outputs = [_output(tracer, v, shape, axes, names) for v in op.yielded().inputs]
    space = collapsed(tracer, outputs, extents, frozenset(names[i] for i in axes))
    return _RowKernel(op, tracer, space, outputs, body).build()


@dataclass(frozen=True)
class Output:
    """A result: its node, where it is written, and the axes that it varies along."""

    node: n.Node
    offset: Dim
    axes: tuple[str, ...]


def iteration_space(op: Fused) -> tuple[tuple[Dim, ...], tuple[int, ...]]:
    """The dims that the kernel runs over, and which of them are reduced."""
    found: Shape | None = None
    for inner in op.ops():
        if isinstance(inner, GraphOp) and role_of(inner) is Role.REDUCTION:
            found, axes = space_of(inner), reduced_axes(inner)
            return _known(found), tuple(sorted(axes))
    return _known(shape_of(op.yielded().inputs[0])), ()


def _known(shape: Shape) -> tuple[Dim, ...]:
    if None in shape:
        raise n.Unsupported("a size is unknown")
    return tuple(d for d in shape if d is not None)


def _output(
    tracer: n.Tracer,
    value: SSAValue,
    shape: tuple[Dim, ...],
    axes: Sequence[int],
    names: list[str],
) -> Output:
    goal = _known(shape_of(value))
    rows = tuple(d for i, d in enumerate(shape) if i not in axes)
    kept = tuple(1 if i in axes else d for i, d in enumerate(shape))
    if goal == shape:
        coords = tuple(sym(a) for a in names)
        used = tuple(names)
    elif goal in (kept, rows):
        used = tuple(a for i, a in enumerate(names) if i not in axes)
        whole = tuple(0 if i in axes else sym(a) for i, a in enumerate(names))
        coords = whole if goal == kept else tuple(sym(a) for a in used)
    elif not axes:
        coords = n.reshaped(tuple(sym(a) for a in names), shape, goal, tracer.extents)
        used = tuple(names)
    else:
        raise n.Unsupported(f"a result of shape {goal} in a kernel over {shape}")
    return Output(tracer.value(value, coords), n.linear(coords, goal), used)


# ---------------------------------------------------------------------- collapsing dims


def collapsed(
    tracer: n.Tracer,
    outputs: Sequence[Output],
    extents: dict[str, Dim],
    reduced: frozenset[str],
) -> Space:
    """Neighbouring axes joined where every access walks through both in one stride."""
    exprs = [o.offset for o in outputs] + list(index_expressions(tracer, outputs))
    names = [a for a, d in extents.items() if d != 1]
    rename: dict[str, Dim] = {a: 0 for a, d in extents.items() if d == 1}
    sizes = {a: extents[a] for a in names}
    current = list(names)
    i = len(current) - 2
    while i >= 0:
        outer, inner = current[i], current[i + 1]
        same = (outer in reduced) == (inner in reduced)
        if same and all(_joins(e, outer, inner, sizes[inner], tracer) for e in exprs):
            sizes[inner] = sizes[outer] * sizes[inner]
            rename[outer] = 0
            exprs = [_without(e, outer) for e in exprs]
            del current[i]
        i -= 1
    return Space({a: sizes[a] for a in current}, reduced & set(current), rename)


def index_expressions(tracer: n.Tracer, outputs: Sequence[Output]):
    """Every index expression of a kernel."""
    roots = [o.node for o in outputs] + list(tracer.data.values())
    for node in n.nodes_below(*roots):
        if isinstance(node, n.Read):
            yield node.offset
            yield from node.when
        elif isinstance(node, n.Position):
            yield node.value
        elif isinstance(node, n.Choose):
            yield from node.when


def _without(expr: Dim, name: str) -> Dim:
    return expr if isinstance(expr, int) else expr.substitute({name: 0})


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


def _joins(expr: Dim, outer: str, inner: str, size: Dim, tracer: n.Tracer) -> bool:
    for s in expr.symbols() if isinstance(expr, SymExpr) else ():
        if s in tracer.data and tracer.data[s].axes & {outer, inner}:
            pass  # the index is an expression of its own, looked at by itself
    a, b = coefficient(expr, outer), coefficient(expr, inner)
    return a is not None and b is not None and a == b * size


# ---------------------------------------------------------------------- building


class _RowKernel:
    """Builds the kernel over a collapsed space."""

    def __init__(
        self,
        op: Fused,
        tracer: n.Tracer,
        space: Space,
        outputs: Sequence[Output],
        body: Block,
    ):
        self.op, self.tracer, self.space, self.outputs, self.body = (
            op,
            tracer,
            space,
            outputs,
            body,
        )
        self.schedule: dict[str, int] = {}
        self.grid: list[Dim] = []

    def build(self) -> tuple[Block, dict]:
        if all(0 in shape_of(v) for v in self.op.yielded().inputs):
            return self.nothing()
        rows = self.row_axes()
        reduce_axis = self.reduce_axis()
        tiled = [a for a in rows if a.block != 1]
        for i, a in enumerate(tiled):
            a.dim = i
        if reduce_axis is not None:
            reduce_axis.dim = len(tiled)
        rank = len(tiled) + (reduce_axis is not None)
        e = self.emitter = Emitter(rank, self.schedule, self.tracer, self.space.rename)
        block = e.scopes[0].block
        for arg in self.body.args:
            e.arguments[arg] = block.insert_arg(buffer_of(arg), len(block.args))
            e.arguments[arg].name_hint = arg.name_hint
        results = []
        for v in self.op.yielded().inputs:
            results.append(block.insert_arg(buffer_of(v), len(block.args)))
        self.grid = [ceildiv(a.extent, a.block) for a in rows]
        for i, a in enumerate(rows):
            start = e.program(i)
            if a.dim is not None:
                start = e.binary("arith.muli", start, e.size(a.block))
            e.add_axis(a, start)
        if reduce_axis is None:
            self.store(results, self.outputs)
        elif self.looped:
            self.loop(reduce_axis, results)
        else:
            e.add_axis(reduce_axis, e.size(0))
            self.store(results, self.outputs)
        block.add_op(tile.Return.make(result_types=[]))
        return block, {"grid": self.grid, "schedule": self.schedule, "inputs": len(self.body.args)}

    def nothing(self) -> tuple[Block, dict]:
        """A kernel without programs: all results are empty."""
        values = (*self.body.args, *self.op.yielded().inputs)
        block = Block(arg_types=[buffer_of(v) for v in values])
        block.add_op(tile.Return.make(result_types=[]))
        return block, {"grid": [0], "schedule": {}, "inputs": len(self.body.args)}

    def store(self, results: Sequence[SSAValue], outputs: Sequence[Output]) -> None:
        chosen = {id(o): r for o, r in zip(self.outputs, results, strict=True)}
        for o in outputs:
            axes = [a for a in o.axes if a in self.space.extents]
            self.emitter.store(o.node, chosen[id(o)], o.offset, axes)

    # ------------------------------------------------------------------ axes

    def row_axes(self) -> list[AxisVar]:
        """The axes that the grid runs over, with the blocks of the innermost."""
        names = self.space.rows
        axes = [AxisVar(a, self.space.extents[a]) for a in names]
        if self.space.reduced:
            return self.rows_of_reduction(axes)
        left = ROW_BLOCK
        wanted = self.unit_stride_axes()
        for i, axis in enumerate(reversed(axes)):
            if i and left < 2 and axis.name not in wanted:
                continue
            if i and axis.name not in wanted and i > 2:
                continue
            limit = min(left, 32) if wanted else left
            axis.block = self.block(axis, max(limit, 1), i, len(axes))
            left //= self.value(axis.block)
        return axes

    def unit_stride_axes(self) -> set[str]:
        """Axes other than the innermost along which some operand lies contiguous."""
        names = self.space.rows
        found: set[str] = set()
        for node in n.nodes_below(*(o.node for o in self.outputs)):
            if isinstance(node, n.Read):
                offset = node.offset
                if isinstance(offset, SymExpr):
                    offset = offset.substitute(self.space.rename)
                inner = coefficient(offset, names[-1]) if names else 0
                if inner in (0, 1):
                    continue
                found |= {a for a in names[:-1] if coefficient(offset, a) == 1}
        return found

    def rows_of_reduction(self, axes: list[AxisVar]) -> list[AxisVar]:
        length = product_of(
            [self.space.extents[a] for a in self.space.extents if a in self.space.reduced]
        )
        if not axes:
            return axes
        inner = axes[-1]
        width = next_power(length) if isinstance(length, int) else LOOP_BLOCK
        room = max(ROW_BLOCK // max(width, 1), 1)
        if inner.name in self.row_contiguous():
            room = max(room, 32)
        if room > 1:
            inner.block = self.block(inner, room, 0, 1, "BLOCK_M")
        return axes

    def row_contiguous(self) -> set[str]:
        """Row axes along which operands lie contiguous: columns are reduced."""
        found: set[str] = set()
        for node in n.nodes_below(*(o.node for o in self.outputs)):
            if isinstance(node, n.Read) and isinstance(node.offset, SymExpr):
                offset = node.offset.substitute(self.space.rename)
                if any((coefficient(offset, r) or 0) not in (0, 1) for r in self.space.reduced):
                    found |= {a for a in self.space.rows if coefficient(offset, a) == 1}
        return found

    def block(
        self, axis: AxisVar, limit: int, place: int, count: int, name: str | None = None
    ) -> Dim:
        """A schedule parameter for the block of an axis; 1 where the axis is no larger."""
        size = next_power(axis.extent) if isinstance(axis.extent, int) else limit
        value = min(size, limit)
        if value <= 1:
            return 1
        label = name or ("BLOCK" if count == 1 else f"BLOCK_{'XYZ'[place] if place < 3 else place}")
        self.schedule[label] = value
        return sym(label)

    def value(self, block: Dim) -> int:
        return block if isinstance(block, int) else self.schedule[str(block)]

    def reduce_axis(self) -> AxisVar | None:
        """The one axis that is reduced along; several are walked through as one."""
        names = [a for a in self.space.extents if a in self.space.reduced]
        self.looped = False
        if not self.space.reduced and not self.tracer.reduce_axes:
            return None
        if not names:  # every reduced dim is 1
            name, extent = "r", 1
            self.bind_reduced([], "r")
        elif len(names) == 1:
            name, extent = names[0], self.space.extents[names[0]]
        else:
            name, extent = "r", product_of([self.space.extents[a] for a in names])
            self.bind_reduced(names, name)
        rows = [v for k, v in self.schedule.items() if k == "BLOCK_M"]
        room = PERSISTENT // (rows[0] if rows else 1)
        if isinstance(extent, int) and next_power(extent) <= room:
            return AxisVar(name, extent, next_power(extent), 0)
        self.looped = True
        self.schedule["BLOCK_R"] = min(LOOP_BLOCK, room)
        return AxisVar(name, extent, sym("BLOCK_R"), 0)

    def bind_reduced(self, names: Sequence[str], single: str) -> None:
        index: Dim = sym(single)
        inner: Dim = 1
        for a in reversed(names):
            whole = floordiv_(index, inner)
            first = a == names[0]
            self.space.rename[a] = whole if first else mod_(whole, self.space.extents[a])
            inner = inner * self.space.extents[a]
        if not names:  # all of them are 1: let the first be the one axis
            first, *_ = self.tracer.reduce_axes.values()
            self.space.rename[first] = index

    # ------------------------------------------------------------------ rows longer than a tile

    def loop(self, axis: AxisVar, results: Sequence[SSAValue]) -> None:
        """Reduce in passes over the row, each for what the earlier ones allow; then write."""
        levels: dict[int, list[n.Reduced]] = {}
        level_of: dict[int, int] = {}
        for node in n.nodes_below(*(o.node for o in self.outputs)):
            below = max((level_of[id(m)] for m in node.inputs()), default=0)
            level_of[id(node)] = below + isinstance(node, n.Reduced)
            if isinstance(node, n.Reduced):
                levels.setdefault(below, []).append(node)
        for level in sorted(levels):
            self.reduce_pass(axis, levels[level])
        rows = [o for o in self.outputs if not set(o.axes) & self.reduced_names()]
        whole = [o for o in self.outputs if o not in rows]
        self.store(results, rows)
        if whole:
            self.open_loop(axis, [])
            self.store(results, whole)
            self.emitter.end_loop([])

    def reduced_names(self) -> set[str]:
        return set(self.tracer.reduce_axes.values())

    def open_loop(self, axis: AxisVar, carried: Sequence[SSAValue]) -> Block:
        e = self.emitter
        block = e.begin_loop(axis.block, axis.extent, carried)
        e.add_axis(AxisVar(axis.name, axis.extent, axis.block, axis.dim), block.args[0])
        return block

    def reduce_pass(self, axis: AxisVar, level: Sequence[n.Reduced]) -> None:
        e = self.emitter
        e.axes[axis.name] = axis  # what the reductions ask for; the loop has its own
        plans = [e.reduction(node)[0] for node in level]
        del e.axes[axis.name]
        carried: list[SSAValue] = []
        for node, plan in zip(level, plans, strict=True):
            shape = self.accumulator_shape(node, axis)
            total = tile_type(shape, plan.element)
            first = float(plan.neutral) if plan.dtype.is_float else int(plan.neutral)
            carried.append(e.insert(tile.Full.make(value=first, result_types=[total])))
            if plan.is_arg:
                at = tile_type(shape, tile.INDEX)
                carried.append(e.insert(tile.Full.make(value=0, result_types=[at])))
        block = self.open_loop(axis, carried)
        inner = e.axes[axis.name]
        state = list(block.args[1:])
        after: list[SSAValue] = []
        for node, plan in zip(level, plans, strict=True):
            assert node.arg is not None
            total = state.pop(0)
            value = e.covered(node, e.node(node.arg))
            value = e.broadcast(value, tile_shape(total.type))
            if plan.is_arg:
                at = state.pop(0)
                assert inner.index is not None
                index = e.broadcast(inner.index, tile_shape(total.type))
                better = plan.better(value, total)
                after += [e.scalars.select(better, value, total)]
                after += [e.scalars.select(better, index, at)]
            else:
                after.append(plan.combine(total, value))
        found = e.end_loop(after)
        for node, plan in zip(level, plans, strict=True):
            total = found.pop(0)
            if plan.is_arg:
                result = plan.arg_reduce(total, found.pop(0))
            else:
                result = e.finished(plan, plan.reduce(total))
            e.remember(node, result)

    def accumulator_shape(self, node: n.Reduced, axis: AxisVar) -> tuple[Dim, ...]:
        assert node.arg is not None
        shape: list[Dim] = [1] * self.emitter.rank
        assert axis.dim is not None
        shape[axis.dim] = axis.block
        tiles = [tuple(shape)]
        used = {s for a in node.arg.axes for s in self.emitter.kernel_axes(a)}
        for other in self.emitter.axes.values():
            if other.name in used and other.index is not None and other.dim is not None:
                tiles.append(tile_shape(other.index.type))
        return broadcast_tiles(*tiles)


def next_power(value: int) -> int:
    """The least power of two that isn't smaller."""
    return 1 << max(value - 1, 0).bit_length()


def buffer_of(value: SSAValue) -> tile.BufferType:
    return tile.BufferType.of(_known(shape_of(value)), element_type(value))
