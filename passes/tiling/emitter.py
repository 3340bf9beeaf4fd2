"""Writes the tile ops of a kernel from nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.dialects import scf
from xdsl.dialects.builtin import TensorType, i1
from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from aicc.ir import tile
from aicc.ir.dtypes import DType
from aicc.ir.symbols import Call, Dim, SymExpr, recombined
from aicc.ir.symbols import product as product_of
from aicc.ir.tile.types import broadcast_tiles, signless, tile_element, tile_shape
from aicc.ir.tile.types import tile as tile_type
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.reductions import Reduction
from aicc.passes.tiling.scalars import Scalars, apply, computed


def may_be_negative(expr: Dim) -> bool:
    """Whether an index expression subtracts: its symbols are all ≥ 0."""
    if isinstance(expr, int):
        return expr < 0
    return expr.constant < 0 or any(c < 0 for _, c in expr.terms)


@dataclass
class AxisVar:
    """An axis of the kernel: `dim` is its place in tiles, None where a program has one index."""

    name: str
    extent: Dim
    block: Dim = 1
    dim: int | None = None
    index: SSAValue | None = None
    inside: SSAValue | None = None
    """Which indices are in bounds; None where all are."""
    depth: int = 0

    @property
    def label(self) -> str:
        return self.name.removeprefix(n.AXIS)


@dataclass
class Scope:
    """A block under construction, and what was computed in it."""

    block: Block
    values: dict[object, SSAValue] = field(default_factory=dict)


class Emitter:
    """Builds one kernel's body.

    `rename` says what the axes of nodes are in terms of this kernel's; scopes are nested loops, and
    each op goes to the outermost scope that has what it needs.
    """

    def __init__(
        self,
        rank: int,
        schedule: Mapping[str, int],
        tracer: n.Tracer,
        rename: Mapping[str, Dim],
    ):
        self.rank, self.schedule, self.tracer, self.rename = rank, schedule, tracer, rename
        self.axes: dict[str, AxisVar] = {}
        self.scopes = [Scope(Block())]
        self.depths: dict[SSAValue, int] = {}
        self.scalars = Scalars(self.insert)
        self.arguments: dict[BlockArgument, SSAValue] = {}
        self.loops: list[tuple[list[SSAValue], list[SSAValue], Block]] = []

    # ------------------------------------------------------------------ inserting

    @property
    def depth(self) -> int:
        return len(self.scopes) - 1

    def insert(self, op: Operation) -> SSAValue:
        """Add an op to the outermost scope that has its operands."""
        depth = max((self.depth_of(v) for v in op.operands), default=0)
        self.scopes[depth].block.add_op(op)
        for r in op.results:
            self.depths[r] = depth
        return op.results[0] if op.results else op.operands[0]

    def depth_of(self, value: SSAValue) -> int:
        return self.depths.get(value, 0)

    def known(self, key: object) -> SSAValue | None:
        for scope in reversed(self.scopes):
            if key in scope.values:
                return scope.values[key]
        return None

    def remember(self, key: object, value: SSAValue) -> SSAValue:
        self.scopes[min(self.depth_of(value), self.depth)].values[key] = value
        return value

    # ------------------------------------------------------------------ axes and loops

    def add_axis(self, axis: AxisVar, start: SSAValue) -> None:
        """Define an axis whose tile begins at `start` (its index, where it has no dim)."""
        self.axes[axis.name] = axis
        axis.depth = self.depth_of(start)
        if axis.dim is None:
            axis.index = start
            start.name_hint = axis.label
            return
        made = tile.Axis.make(
            start, block=[axis.block], bound=[axis.extent], dim=axis.dim, rank=self.rank
        )
        axis.index = self.insert(made)
        axis.index.name_hint = axis.label
        if not made.is_exact(dict(self.schedule)):
            axis.inside = self.insert(tile.InBounds.make(axis.index))
            axis.inside.name_hint = f"{axis.label}_inside"

    def program(self, position: int) -> SSAValue:
        return self.insert(tile.ProgramId.make(axis=position))

    def size(self, value: Dim) -> SSAValue:
        """A scalar over sizes and schedule parameters."""
        key = ("size", value)
        found = self.known(key)
        return found or self.remember(key, self.insert(tile.Size.make(value=[value])))

    def begin_loop(
        self,
        step: Dim,
        extent: Dim | SSAValue,
        carried: Sequence[SSAValue],
        start: SSAValue | None = None,
    ) -> Block:
        """Open a loop to `extent`; the block's arguments are the index and what is carried.

        It begins at 0, or at `start`, a multiple of `step`.
        """
        end = extent if isinstance(extent, SSAValue) else self.size(extent)
        bounds = [start or self.size(0), end, self.size(step)]
        block = Block(arg_types=[tile.INDEX, *(v.type for v in carried)])
        self.loops.append((bounds, list(carried), block))
        self.scopes.append(Scope(block))
        for arg in block.args:
            self.depths[arg] = self.depth
        return block

    def end_loop(self, results: Sequence[SSAValue]) -> list[SSAValue]:
        """Close the innermost loop; what it yields last are the results."""
        (low, high, step), carried, block = self.loops.pop()
        block.add_op(scf.YieldOp(*results))
        self.scopes.pop()
        loop = scf.ForOp(low, high, step, carried, block)
        self.scopes[self.depth].block.add_op(loop)
        for r in loop.results:
            self.depths[r] = self.depth
        for name in [a for a, axis in self.axes.items() if axis.depth > self.depth]:
            del self.axes[name]
        return list(loop.results)

    # ------------------------------------------------------------------ index expressions

    def renamed(self, expr: Dim) -> Dim:
        if isinstance(expr, int) or not expr.symbols() & self.rename.keys():
            return expr
        return expr.substitute(dict(self.rename))

    def index(self, expr: Dim) -> SSAValue:
        """The value of an index expression, as a tile or scalar of index."""
        return self.built(self.renamed(expr))

    def built(self, expr: Dim) -> SSAValue:
        if isinstance(expr, int) or not any(self.varies(s) for s in expr.symbols()):
            return self.size(expr)
        key = ("index", expr)
        if (found := self.known(key)) is not None:
            return found
        constant: Dim = expr.constant
        total: SSAValue | None = None
        for monomial, coefficient in expr.terms:
            term: Dim = SymExpr(((monomial, coefficient),))
            if not any(self.varies(s) for s in term.symbols()):  # type: ignore[union-attr]
                constant = constant + term
                continue
            value = self.term(monomial, coefficient)
            total = value if total is None else self.binary("arith.addi", total, value)
        assert total is not None
        if constant != 0:
            total = self.binary("arith.addi", total, self.size(constant))
        return self.remember(key, total)

    def varies(self, symbol: str) -> bool:
        return symbol in self.axes or symbol in self.tracer.data

    def term(self, monomial: tuple[str, ...], coefficient: int) -> SSAValue:
        fixed: Dim = coefficient
        total: SSAValue | None = None
        for atom in monomial:
            if not isinstance(atom, Call) and not self.varies(atom):
                fixed = fixed * SymExpr((((atom,), 1),))
                continue
            value = self.atom(atom)
            total = value if total is None else self.binary("arith.muli", total, value)
        if total is None:
            return self.size(fixed)
        return total if fixed == 1 else self.binary("arith.muli", total, self.size(fixed))

    def atom(self, atom: str) -> SSAValue:
        if isinstance(atom, Call):
            args = [self.built(a) for a in atom.args]
            if atom.function in ("floordiv", "mod") and may_be_negative(atom.args[0]):
                return self.rounded_down(atom.function, *args)
            name = {
                "floordiv": "arith.divui",
                "mod": "arith.remui",
                "min": "arith.minsi",
                "max": "arith.maxsi",
            }[atom.function]
            value = args[0]
            for other in args[1:]:
                value = self.binary(name, value, other)
            return value
        if atom in self.axes:
            index = self.axes[atom].index
            assert index is not None
            return index
        return self.node(self.tracer.data[atom])

    def rounded_down(self, function: str, x: SSAValue, y: SSAValue) -> SSAValue:
        """Quotient or remainder of a number that may be negative, rounded down as in Python."""
        rest = self.binary("arith.addi", self.binary("arith.remsi", x, y), y)
        rest = self.binary("arith.remui", rest, y)
        if function == "mod":
            return rest
        return self.binary("arith.divsi", self.binary("arith.subi", x, rest), y)

    def binary(self, name: str, x: SSAValue, y: SSAValue) -> SSAValue:
        """An op on two tiles or scalars, which broadcast."""
        x, y = self.together([x, y])
        return self.scalars.op(name, x, y)

    # ------------------------------------------------------------------ tiles

    def together(self, values: Sequence[SSAValue]) -> list[SSAValue]:
        """The values broadcast to one shape; scalars stay so if all are."""
        shape = broadcast_tiles(*(tile_shape(v.type) for v in values))
        if not shape and any(isinstance(v.type, TensorType) for v in values):
            return [self.tile_of(v) for v in values]
        return [self.broadcast(v, shape) for v in values]

    def tile_of(self, value: SSAValue) -> SSAValue:
        """A scalar as a tile without dims; tiles stay as they are."""
        if isinstance(value.type, TensorType):
            return value
        return self.insert(tile.Broadcast.make(value, result_types=[tile_type((), value.type)]))

    def broadcast(self, value: SSAValue, shape: Sequence[Dim]) -> SSAValue:
        if tile_shape(value.type) == tuple(shape):
            return value
        goal = tile_type(shape, tile_element(value.type))
        if isinstance(value.owner, tile.Full):
            return self.insert(tile.Full.make(value=value.owner.value, result_types=[goal]))
        key = ("broadcast", value, tuple(shape))
        found = self.known(key)
        if found is None:
            made = self.insert(tile.Broadcast.make(value, result_types=[goal]))
            found = self.remember(key, made)
        return found

    def full(self, value: float | int, shape: Sequence[Dim], dtype: DType) -> SSAValue:
        number = float(value) if dtype.is_float else int(value)
        goal = tile_type(shape, computed(dtype))
        return self.insert(tile.Full.make(value=number, result_types=[goal]))

    # ------------------------------------------------------------------ nodes

    def node(self, root: n.Node) -> SSAValue:
        """The tile of a node, as wide as the axes that it varies along."""
        for node in n.nodes_below(root, skip=lambda m: self.known(m) is not None):
            self.remember(node, self.emit(node))
        found = self.known(root)
        assert found is not None
        return found

    def emit(self, node: n.Node) -> SSAValue:
        match node:
            case n.Literal():
                return self.full(node.value, (), node.dtype)
            case n.Read():
                return self.read(node)
            case n.Position():
                return self.position(node)
            case n.Index():
                return self.checked_index(node)
            case n.Apply():
                assert node.op is not None
                args = self.together([self.node(a) for a in node.args])
                result = apply(self.scalars, node.op, args)
                result.name_hint = node.op.results[0].name_hint or node.op.kind
                return result
            case n.Choose():
                assert node.inside is not None and node.outside is not None
                mask = self.conditions(node.when)
                if mask is None:
                    return self.node(node.inside)
                parts = self.together([mask, self.node(node.inside), self.node(node.outside)])
                return self.scalars.select(*parts)
            case n.Convert():
                assert node.source is not None
                return self.scalars.convert(self.node(node.source), node.source.dtype, node.dtype)
            case n.Combine():
                x, y = self.together([self.node(m) for m in node.inputs()])
                return self.scalars.op(node.name, x, y)
            case n.Reduced():
                return self.reduce(node)
        raise AssertionError(f"{type(node).__name__} has no value here")

    def position(self, node: n.Position) -> SSAValue:
        value = self.tile_of(self.index(node.value))
        return self.scalars.cast(value, computed(node.dtype))

    def checked_index(self, node: n.Index) -> SSAValue:
        assert node.source is not None
        source = self.node(node.source)
        unsigned = node.source.dtype.kind == "uint"
        at = self.scalars.cast(source, tile.INDEX, unsigned)
        if unsigned:
            return at
        size = self.binary("arith.addi", at, self.size(self.renamed(node.size)))
        zero = self.scalars.full(0, at)
        return self.scalars.select(self.scalars.compare("slt", at, zero), size, at)

    def read(self, node: n.Read) -> SSAValue:
        return self.scalars.cast(self.load(node), computed(node.dtype))

    def load(self, node: n.Read, other: int | float | None = None) -> SSAValue:
        """The elements that a node reads, as they are in memory."""
        assert node.arg is not None
        for index in node.indices:
            self.node(index)
        subscripts, strides, offset = self.access(node.offset)
        mask = self.mask(node.axes, node.when)
        buffer = self.arguments[node.arg]
        made = tile.Load.make(
            buffer,
            mask,
            subscripts,
            strides=strides,
            offset=[offset],
            other=None if mask is None else other,
        )
        value = self.insert(made)
        value.name_hint = buffer.name_hint
        return value

    def factor(self, node: n.Node, axis: str, dtype: DType, shape: Sequence[Dim]) -> SSAValue:
        """An operand of a dot, of elements as in memory: 0 beyond the end of the summed axis."""
        zero: int | float = 0.0 if dtype.is_float else 0
        if isinstance(node, n.Read):
            value = self.load(node, zero)
        else:
            value = self.scalars.cast(self.node(node), signless(dtype))
        value = self.broadcast(value, shape)
        inside = self.axes[axis].inside
        masked = isinstance(node, n.Read) and axis in node.axes
        if masked or inside is None:
            return value
        inside = self.broadcast(inside, shape)
        return self.scalars.select(inside, value, self.scalars.full(zero, value))

    def access(self, offset: Dim) -> tuple[list[SSAValue], list[Dim], Dim]:
        """Subscripts, their strides, and the rest of an offset, axes before other expressions."""
        offset = recombined(self.renamed(offset))
        if isinstance(offset, int):
            return [], [], offset
        fixed: Dim = offset.constant
        strides: dict[str, Dim] = {}
        others: list[tuple[SSAValue, Dim]] = []
        for monomial, coefficient in offset.terms:
            moving = [a for a in monomial if self.moves(a)]
            rest = [a for a in monomial if not self.moves(a)]
            stride = product_of([coefficient, *(SymExpr((((a,), 1),)) for a in rest)])
            if not moving:
                fixed = fixed + stride
            elif len(moving) == 1:
                strides[moving[0]] = strides.get(moving[0], 0) + stride
            else:
                others.append((self.term(tuple(moving), 1), stride))
        order = [a for a in self.axes if a in strides]
        order += [a for a in strides if a not in self.axes]
        found = [(self.atom(a), strides[a]) for a in order] + others
        return [v for v, _ in found], [s for _, s in found], fixed

    def moves(self, atom: str) -> bool:
        if isinstance(atom, Call):
            return any(
                self.varies(s) for a in atom.args if isinstance(a, SymExpr) for s in a.symbols()
            )
        return self.varies(atom)

    def mask(self, axes: frozenset[str], when: Sequence[Dim] = ()) -> SSAValue | None:
        """Where all of the axes are in bounds and none of the expressions is negative."""
        used = {s for a in sorted(axes) for s in self.kernel_axes(a)}
        parts = [v.inside for name, v in self.axes.items() if name in used and v.inside is not None]
        condition = self.conditions(when)
        return self.all_of([*parts, *([condition] if condition is not None else [])])

    def kernel_axes(self, name: str) -> frozenset[str]:
        """This kernel's axes that an axis of the nodes is computed from."""
        if name not in self.rename:
            return frozenset({name})
        expr = self.rename[name]
        return expr.symbols() if isinstance(expr, SymExpr) else frozenset()

    def conditions(self, when: Sequence[Dim]) -> SSAValue | None:
        parts = []
        for expr in when:
            expr = self.renamed(expr)
            if isinstance(expr, int) and expr >= 0:
                continue
            key = ("condition", expr)
            if (found := self.known(key)) is None:
                found = self.remember(key, self.not_negative(expr))
            parts.append(found)
        return self.all_of(parts)

    def not_negative(self, expr: Dim) -> SSAValue:
        """Where ``expr >= 0``, with what is subtracted in it on the other side."""
        if isinstance(expr, int):
            value = int(expr >= 0)
            return self.insert(tile.Full.make(value=value, result_types=[tile_type((), i1)]))
        less: Dim = -min(expr.constant, 0)
        for monomial, coefficient in expr.terms:
            if coefficient < 0:
                less = less - SymExpr(((monomial, coefficient),))
        sides = []
        for side in (less, expr + less):
            sides.append(self.tile_of(self.built(side)))
        return self.scalars.compare("sle", *self.together(sides))

    def all_of(self, parts: Sequence[SSAValue]) -> SSAValue | None:
        total: SSAValue | None = None
        for p in parts:
            if total is None:
                total = p
                continue
            key = ("and", total, p)
            total = self.known(key) or self.remember(key, self.binary("arith.andi", total, p))
        return total

    def store(
        self,
        node: n.Node,
        buffer: SSAValue,
        offset: Dim,
        axes: Sequence[str],
        when: Sequence[Dim] = (),
    ) -> None:
        """Write a node at `offset`, which varies along `axes`, where none of `when` is negative."""
        value = self.node(node)
        subscripts, strides, fixed = self.access(offset)
        used = {s for a in axes for s in self.kernel_axes(a)}
        for axis in self.axes.values():  # of extent 1: the offset doesn't say it, a tile has it
            if axis.name in used and axis.dim is not None and axis.index not in subscripts:
                assert axis.index is not None
                subscripts.append(axis.index)
                strides.append(0)
        mask = self.mask(frozenset(axes), when)
        shape = broadcast_tiles(*(tile_shape(s.type) for s in subscripts))
        assert isinstance(buffer.type, tile.BufferType)
        value = self.scalars.cast(value, signless(buffer.type.dtype))
        if not shape and tile_shape(value.type):
            goal = tile_type((), tile_element(value.type))
            value = self.insert(tile.Reshape.make(value, result_types=[goal]))
        value = self.broadcast(value, shape)
        op = tile.Store.make(
            value, buffer, mask, subscripts, strides=strides, offset=[fixed], result_types=[]
        )
        self.scopes[self.depth].block.add_op(op)

    # ------------------------------------------------------------------ reductions

    def reduce(self, node: n.Reduced) -> SSAValue:
        """A reduction along an axis that is whole in this tile."""
        assert node.arg is not None
        reduction, axis = self.reduction(node)
        value = self.covered(node, self.node(node.arg))
        if reduction.is_arg:
            assert axis.index is not None
            value, index = self.together([value, axis.index])
            return reduction.arg_reduce(value, index)
        return self.finished(reduction, reduction.reduce(value))

    def reduction(self, node: n.Reduced) -> tuple[Reduction, AxisVar]:
        """How the node's elements combine, and the axis of this kernel that they lie along."""
        assert node.op is not None
        over = {s for a in node.over for s in self.kernel_axes(a)}
        axis = next(a for name, a in self.axes.items() if name in over)
        assert axis.dim is not None
        return Reduction(node.op, axis.dim, self.scalars), axis

    def covered(self, node: n.Reduced, value: SSAValue) -> SSAValue:
        """An operand as wide as the reduced axis, with the neutral element beyond its end."""
        reduction, axis = self.reduction(node)
        assert axis.index is not None
        value = reduction.prepared(value)
        value, _ = self.together([value, axis.index])
        if axis.inside is None:
            return value
        inside, value = self.together([axis.inside, value])
        fill = self.scalars.full(reduction.neutral, value)
        return self.scalars.select(inside, value, fill)

    def finished(self, reduction: Reduction, total: SSAValue) -> SSAValue:
        count = None
        if reduction.counts:
            scalar = self.size(self.renamed(reduction.count()))
            goal = tile_type(tile_shape(total.type), tile.INDEX)
            count = self.insert(tile.Broadcast.make(scalar, result_types=[goal]))
        return reduction.finished(total, count)
