"""Kernels of elements and of rows: pointwise chains, and reductions over the same rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xdsl.ir import Block, SSAValue

from aicc.ir import tile
from aicc.ir.graph import Fused
from aicc.ir.graph.roles import Role, reduced_axes, role_of, space_of
from aicc.ir.op import GraphOp
from aicc.ir.symbols import Dim, SymExpr, ceildiv, sym
from aicc.ir.symbols import product as product_of
from aicc.ir.tile.types import broadcast_tiles, tile_shape
from aicc.ir.tile.types import tile as tile_type
from aicc.ir.types import shape_of
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.emitter import AxisVar, Emitter
from aicc.passes.tiling.online import Elements, online_sums
from aicc.passes.tiling.reductions import Reduction
from aicc.passes.tiling.spaces import (
    Output,
    Space,
    add_buffers,
    coefficient,
    collapsed,
    finished,
    flattened,
    index_expressions,
    known_shape,
    next_power,
    output_of,
)

ROW, REDUCED = "row", "reduced"
"""Kinds of axes."""

ROW_BLOCK = 1024
"""Elements that one program of a pointwise kernel computes."""

PERSISTENT = 8192
"""The longest row that is held in one tile, where nothing else is said."""

LOOP_BLOCK = 1024
"""How much of a longer row is held at a time."""


def lower_rows(op: Fused, longest: int = PERSISTENT, online: bool = False) -> tuple[Block, dict]:
    """The body of a kernel for a pointwise or reduction `op`, and the kernel's parameters.

    Rows of up to `longest` elements are held in one tile. Longer ones are read once for each
    reduction that needs an earlier one; fewer times where those that can be are `online`.
    """
    shape, axes = iteration_space(op)
    names = [n.axis_name(f"i{i}") for i in range(len(shape))]
    extents = dict(zip(names, shape, strict=True))
    kinds = {a: REDUCED if i in axes else ROW for i, a in enumerate(names)}
    tracer = n.Tracer(extents, reduce_axes={i: names[i] for i in axes}, rows=True)
    rows = [a for a in names if kinds[a] == ROW]
    at = [0 if extents[a] == 1 else sym(a) for a in names]
    outputs = [output_of(tracer, v, shape, at, rows, axes) for v in op.yielded().inputs]
    exprs = index_expressions(tracer, *(o.node for o in outputs))
    space = collapsed(extents, kinds, [*exprs, *(o.offset for o in outputs)])
    return RowKernel(op, tracer, space, outputs, longest, online).build()


def iteration_space(op: Fused) -> tuple[tuple[Dim, ...], tuple[int, ...]]:
    """The dims that the kernel runs over, and which of them are reduced."""
    for inner in op.ops():
        if isinstance(inner, GraphOp) and role_of(inner) is Role.REDUCTION:
            return known_shape(space_of(inner)), tuple(sorted(reduced_axes(inner)))
    return known_shape(shape_of(op.yielded().inputs[0])), ()


# ---------------------------------------------------------------------- building


class RowKernel:
    """Builds the kernel over a collapsed space."""

    def __init__(
        self,
        op: Fused,
        tracer: n.Tracer,
        space: Space,
        outputs: Sequence[Output],
        longest: int = PERSISTENT,
        online: bool = False,
    ):
        self.op, self.tracer, self.space, self.outputs = op, tracer, space, outputs
        self.longest = longest
        self.online = online_sums(n.nodes_below(*(o.node for o in outputs))) if online else {}
        self.rows, self.reduced = space.of_kind(ROW), space.of_kind(REDUCED)
        self.schedule: dict[str, int] = {}
        self.looped = False

    def build(self) -> tuple[Block, dict]:
        rows = self.row_axes()
        reduce_axis = self.reduce_axis()
        tiled = [a for a in rows if a.block != 1]
        for i, a in enumerate(tiled):
            a.dim = i
        if reduce_axis is not None:
            reduce_axis.dim = len(tiled)
        rank = len(tiled) + (reduce_axis is not None)
        blocks = [a.block for a in (*tiled, *([reduce_axis] if reduce_axis else []))]
        self.schedule["num_warps"] = warps_for(math.prod(self.value(b) for b in blocks))
        e = self.emitter = Emitter(rank, self.schedule, self.tracer, self.space.rename)
        results = add_buffers(e, self.op)
        grid = [ceildiv(a.extent, a.block) for a in rows]
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
        return finished(e, self.op, grid)

    def store(self, results: Sequence[SSAValue], outputs: Sequence[Output]) -> None:
        chosen = {id(o): r for o, r in zip(self.outputs, results, strict=True)}
        for o in outputs:
            self.emitter.store(o.node, chosen[id(o)], o.offset, o.axes)

    # ------------------------------------------------------------------ axes

    def row_axes(self) -> list[AxisVar]:
        """The axes that the grid runs over, with the blocks of the innermost."""
        names = self.rows
        axes = [AxisVar(a, self.space.extents[a]) for a in names]
        if self.reduced:
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
        names = self.rows
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
        length = product_of([self.space.extents[a] for a in self.reduced])
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
                if any((coefficient(offset, r) or 0) not in (0, 1) for r in self.reduced):
                    found |= {a for a in self.rows if coefficient(offset, a) == 1}
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
        names = self.reduced
        if not self.tracer.reduce_axes:
            return None
        name, extent = flattened(self.space, REDUCED, n.axis_name("r"))
        if not names:  # every reduced dim is 1: let the first be the one axis
            first, *_ = self.tracer.reduce_axes.values()
            self.space.rename[first] = sym(name)
        rows = [v for k, v in self.schedule.items() if k == "BLOCK_M"]
        room = self.longest // (rows[0] if rows else 1)
        if isinstance(extent, int) and next_power(extent) <= room:
            return AxisVar(name, extent, next_power(extent), 0)
        self.looped = True
        self.schedule["BLOCK_R"] = min(LOOP_BLOCK, room)
        return AxisVar(name, extent, sym("BLOCK_R"), 0)

    # ------------------------------------------------------------------ rows longer than a tile

    def loop(self, axis: AxisVar, results: Sequence[SSAValue]) -> None:
        """Reduce in passes over the row, each for what the earlier ones allow; then write."""
        levels: dict[int, list[n.Reduced]] = {}
        level_of: dict[int, int] = {}
        for node in n.nodes_below(*(o.node for o in self.outputs)):
            below = max((level_of[id(m)] for m in node.inputs()), default=0)
            if isinstance(node, n.Reduced):
                if node in self.online:
                    below -= 1  # all that the sum waits for is found in the pass that it joins
                levels.setdefault(below, []).append(node)
                below += 1
            level_of[id(node)] = below
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
        plans = {node: e.reduction(node)[0] for node in level}
        del e.axes[axis.name]
        carried = [self.accumulators(node, plans[node], axis) for node in level]
        block = self.open_loop(axis, [v for of_node in carried for v in of_node])
        inner, arguments = e.axes[axis.name], iter(block.args[1:])
        for arg, value in zip(block.args[1:], (v for c in carried for v in c), strict=True):
            arg.name_hint = value.name_hint
        before = {k: [next(arguments) for _ in c] for k, c in zip(level, carried, strict=True)}
        after: dict[n.Reduced, list[SSAValue]] = {}
        values: dict[n.Reduced, SSAValue] = {}
        for node, plan in plans.items():
            if node in self.online:
                first = self.online[node].first
                lanes = before[first][0], after[first][0]
                new = Elements(values[first], inner.inside, *lanes)
                after[node] = self.online[node].step(e, before[node], new)
                continue
            assert node.arg is not None and inner.index is not None
            total = before[node][0]
            value = e.broadcast(e.covered(node, e.node(node.arg)), tile_shape(total.type))
            values[node] = value
            if plan.is_arg:
                index = e.broadcast(inner.index, tile_shape(total.type))
                better = plan.better(value, total)
                pairs = zip((value, index), before[node], strict=True)
                after[node] = [e.scalars.select(better, new, old) for new, old in pairs]
            else:
                after[node] = [plan.combine(total, value)]
        ends = iter(e.end_loop([v for state in after.values() for v in state]))
        found = {node: [next(ends) for _ in state] for node, state in after.items()}
        for node, plan in plans.items():
            if plan.is_arg:
                result = plan.arg_reduce(*found[node])
            elif node in self.online:
                first = self.online[node].first
                result = self.online[node].joined(e, plan, found[node], found[first][0])
                result = e.finished(plan, result)
            else:
                result = e.finished(plan, plan.reduce(found[node][0]))
            assert node.op is not None
            result.name_hint = node.op.results[0].name_hint or node.op.kind.removeprefix("reduce_")
            e.remember(node, result)

    def accumulators(self, node: n.Reduced, plan: Reduction, axis: AxisVar) -> list[SSAValue]:
        """What the loop carries for a reduction, as it is at first."""
        e, shape = self.emitter, self.accumulator_shape(node, axis)
        if node in self.online:
            return self.online[node].start(e, plan, shape)
        if not plan.is_arg:
            return [plan.start(shape)]
        at = tile_type(shape, tile.INDEX)
        return [plan.start(shape), e.insert(tile.Full.make(value=0, result_types=[at]))]

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


def warps_for(elements: int) -> int:
    """Warps for a program over so many elements: eight a thread, or more for the largest tiles."""
    return min(max(next_power(elements // 256), 1), 16)
