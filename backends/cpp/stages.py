"""Splits a kernel's block into stages: loops over tiles, and what must be done between them.

A tile holds more elements than a CPU has registers, so an op on tiles is no instruction there but
part of a loop over elements. Ops whose elements depend on one another place by place share a loop;
a reduction, a dot or a loop of the kernel ends a stage, since what comes after needs all of it.
A tile that later stages need is kept in an array, or computed again where that is cheaper.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import f32
from xdsl.ir import Block, Operation, SSAValue

from aicc.ir import tile
from aicc.ir.symbols import Dim
from aicc.ir.tile.extents import Extents
from aicc.ir.tile.types import bind, tile_element

PANEL = 64
"""Columns of a panel, as the runtime multiplies by it."""

FEW_ROWS = 4
"""Products of so many rows take each element of the right operand about as often as it is made."""

CHEAP = 4
"""Computing a tile again is worth no array up to so many steps an element."""

REPEATED = 8
"""Rows from which on what they are broadcast from is put in an array first, if it is dear."""

COSTS = {
    "math.exp": 12,
    "math.exp2": 12,
    "math.log": 12,
    "math.tanh": 20,
    "math.erf": 20,
    "math.sin": 20,
    "math.cos": 20,
    "math.sqrt": 4,
    "math.rsqrt": 4,
    "arith.divf": 4,
    "tile.load": 1,
    "tile.axis": 0,
    "tile.in_bounds": 0,
    "tile.full": 0,
    "tile.broadcast": 0,
    "tile.reshape": 0,
    "tile.transpose": 0,
    "tile.size": 0,
    "tile.program_id": 0,
}
"""Steps an element that an op takes; others of `arith` and `tile` take one, of `math` 16."""

ENDS = (tile.Reduce, tile.ArgReduce, tile.Dot, scf.ForOp)
"""Ops that end a stage: what comes after needs all of their result."""


def step_cost(op: Operation) -> int:
    return COSTS.get(op.name, 16 if op.name.startswith("math.") else 1)


@dataclass(frozen=True)
class Distances:
    """Where the rows (`dim` 0) or columns (1) of a load lie that a dot reads: a sink of a nest."""

    load: tile.Load
    dim: int

    @property
    def subscripts(self) -> list[tuple[SSAValue, Dim]]:
        """Those along the dim, with their strides."""
        found = self.load.by_dims()
        assert found is not None
        return found[self.dim]


@dataclass(frozen=True)
class Thin:
    """A dot of few rows whose right operand is computed as it is summed: a sink of a nest."""

    dot: tile.Dot


Sink = Operation | SSAValue | Distances | Thin


@dataclass
class Nest:
    """A loop over the elements of tiles of one shape; `sinks` are what it is run for.

    A sink is a store, a reduction, or what goes to an array. `ends` tells the places apart
    to which loops go.
    """

    stage: int
    shape: tuple[int, ...]
    ends: tuple[tuple | None, ...]
    sinks: list[Sink] = field(default_factory=list)


Step = Operation | Nest
"""An op on scalars, a loop of the kernel, a dot, or a nest."""


class Stages(Extents):
    """What a block does, stage by stage; blocks of loops in it have stages of their own.

    `kept` are the values that have arrays, `inplace` maps those to the value whose array they
    take over.
    """

    def __init__(self, kernel: tile.Kernel):
        super().__init__(kernel)
        self.kept: set[SSAValue] = set()
        self.inplace: dict[SSAValue, SSAValue] = {}
        self.level: dict[SSAValue, int] = {}
        self.cost: dict[SSAValue, int] = {}
        self.blocks: dict[Block, list[Step]] = {}
        self.thin = {
            op for op in kernel.body.walk() if isinstance(op, tile.Dot) and self.is_thin(op)
        }
        for block in self.walk(kernel.body.block):
            self.levels(block)
        for block in reversed(list(self.walk(kernel.body.block))):
            self.blocks[block] = self.steps(block)

    def walk(self, block: Block) -> Iterator[Block]:
        yield block
        for op in block.ops:
            if isinstance(op, scf.ForOp):
                yield from self.walk(op.body.block)

    # ------------------------------------------------------------------ when a value is known

    def levels(self, block: Block) -> None:
        """The stage from which on each value of the block can be computed, and its cost."""
        for arg in block.args:
            self.level[arg], self.cost[arg] = 0, 0
        for op in block.ops:
            inputs = list(self.inputs(op, block))
            level = max((self.level[v] for v in inputs), default=0)
            cost = step_cost(op) + sum(self.cost[v] for v in op.operands)
            ends = isinstance(op, ENDS) or self.repeats(op)
            for r in op.results:
                self.level[r] = level + ends
                self.cost[r] = 0 if ends or not self.is_tile(r) else cost

    def repeats(self, op: Operation) -> bool:
        """Whether an outer loop would compute again and again what is dear and the same each time.

        So it is with what has a number a column, which rows are broadcast from.
        """
        if not isinstance(op, tile.Broadcast) or self.cost[op.input] <= CHEAP:
            return False
        sizes = list(zip(self.shape(op.input), self.shape(op.result), strict=True))
        inner = next((i for i, (size, _) in enumerate(sizes) if size != 1), None)
        return inner is not None and any(goal >= REPEATED for _, goal in sizes[:inner])

    def inputs(self, op: Operation, block: Block) -> Iterator[SSAValue]:
        """The values of a block that an op of it needs, those inside its regions among them."""
        for inner in op.walk():
            for v in inner.operands:
                if self.block_of(v) is block:
                    yield v

    @staticmethod
    def block_of(value: SSAValue) -> Block | None:
        owner = value.owner
        return owner if isinstance(owner, Block) else owner.parent

    # ------------------------------------------------------------------ what is done when

    def steps(self, block: Block) -> list[Step]:
        """The block's steps in order; marks what is kept on the way."""
        ops = list(block.ops)
        self.take_over(block)
        listed: list[Distances] = []
        thin: list[tuple[int, list[SSAValue]]] = []
        # What other blocks and dots need as arrays.
        for op in ops:
            if isinstance(op, scf.ForOp):
                for v in op.iter_args:
                    if self.is_tile(v) and not self.is_constant(v):
                        self.keep(v)
            elif isinstance(op, tile.Dot):
                for v in (op.a, op.b):
                    load = self.loaded(v)
                    if v is op.b and (places := self.places(op)) is not None:
                        listed += [Distances(places, dim) for dim in (0, 1)]
                    elif v is op.b and op in self.thin:
                        thin.append((self.level[v], [v]))
                    elif load is None or self.direct(load) is None:
                        self.keep(v)
                if not self.is_zero(op.acc):
                    self.keep(op.acc)
        end = block.last_op
        if isinstance(end, scf.YieldOp):
            for v in end.operands:
                if self.is_tile(v) and not self.is_constant(v):
                    self.keep(v)
        last = max((self.level[v] for op in ops if isinstance(op, tile.Store)
                    for v in self.inputs(op, block)), default=0)  # fmt: skip
        sinks: list[tuple[int, Sink]] = []
        for s in listed:
            stage = max((self.level[v] for v, _ in s.subscripts if v in self.level), default=0)
            sinks.append((stage, s))
        for op in ops:
            if isinstance(op, tile.Store):
                sinks.append((last, op))
            elif isinstance(op, (tile.Reduce, tile.ArgReduce)) and self.is_tile(op.input):
                sinks.append((self.level[op.input], op))
        stores = {self.sink_shape(s) for _, s in sinks if isinstance(s, tile.Store)}
        for _, s in sinks[1:] if len(stores) > 1 else []:
            if isinstance(s, tile.Store):  # an earlier store may be over what it reads
                self.keep(s.value)
        done: set[SSAValue] = set()
        pending = sorted(sinks, key=lambda pair: pair[0])  # later ones read what is kept for them
        work = [*((stage, list(self.roots(s))) for stage, s in pending), *thin]
        nests: list[Nest] = []
        for stage, s in sinks:
            self.join(nests, stage, s)
        while True:
            for stage, roots in work:
                self.mark(roots, stage, block)
            new = [v for v in self.ordered(block) if v in self.kept and v not in done]
            if not new:
                break
            work = []
            for v in new:
                done.add(v)
                if isinstance(v.owner, ENDS):
                    continue
                self.join(nests, self.level[v], v)
                assert isinstance(v.owner, Operation)
                work.append((self.level[v], list(v.owner.operands)))
        return self.arranged(ops, nests)

    def ordered(self, block: Block) -> Iterator[SSAValue]:
        return (r for op in block.ops for r in op.results)

    @staticmethod
    def roots(sink: Sink) -> Iterable[SSAValue]:
        """The values that a sink needs."""
        if isinstance(sink, Distances):
            return [v for v, _ in sink.subscripts]
        if isinstance(sink, Thin):
            return [sink.dot.b]
        operands = sink.operands if isinstance(sink, Operation) else [sink]
        return [v for v in operands if not isinstance(v.type, tile.BufferType)]

    def mark(self, roots: list[SSAValue], stage: int, block: Block) -> None:
        """Keep what was known before `stage` and is dear to compute again."""
        pending, seen = list(roots), set[SSAValue]()
        while pending:
            v = pending.pop()
            if (
                v in seen
                or v in self.kept
                or not self.is_tile(v)
                or not isinstance(v.owner, Operation)
            ):
                continue
            seen.add(v)
            own = self.block_of(v) is block
            ends = isinstance(v.owner, ENDS)
            if ends:
                continue
            earlier = not own or self.level[v] < stage
            if earlier and self.again(v) > CHEAP and not isinstance(v.owner, tile.Broadcast):
                self.keep(v)
                continue
            pending += v.owner.operands

    def again(self, value: SSAValue) -> int:
        """Steps an element to compute a value again from what is kept."""
        if value in self.kept:
            return COSTS["tile.load"]
        if self.cost[value] <= CHEAP or not isinstance(value.owner, Operation):
            return self.cost[value]
        total = step_cost(value.owner)
        for v in value.owner.operands:
            if total > CHEAP:
                break
            total += self.again(v)
        return total

    def keep(self, value: SSAValue) -> None:
        """Give a value an array, in the block that computes it."""
        if not self.is_tile(value) or not isinstance(value.owner, Operation):
            return
        if value in self.kept:
            return
        self.kept.add(value)
        block = self.block_of(value)
        if block in self.blocks:  # an outer block is arranged after those inside it
            raise AssertionError("a value of a block that was arranged already")

    def take_over(self, block: Block) -> None:
        """Find carried tiles that are replaced place by place: what they become has their array."""
        end = block.last_op
        if not isinstance(end, scf.YieldOp):
            return
        for arg, goal in zip(block.args[1:], end.operands, strict=True):
            chain: list[SSAValue] = []
            value: SSAValue = arg
            while self.is_tile(value) and value is not goal and len(uses := list(value.uses)) == 1:
                op = uses[0].operation
                if op.parent is not block or len(op.results) != 1:
                    break
                if isinstance(op, tile.Dot):
                    if op.acc is not value:
                        break
                elif not op.name.startswith(("arith.", "math.", "tile.select")):
                    break
                value = op.results[0]
                if self.shape(value) != self.shape(arg):
                    break
                chain.append(value)
            if value is goal and chain and len(list(goal.uses)) == 1:
                self.inplace.update(dict.fromkeys(chain, arg))

    def join(self, nests: list[Nest], stage: int, sink: Sink) -> None:
        shape = self.sink_shape(sink)
        ends = tuple(self.sink_end(sink, d) for d in range(len(shape)))
        for nest in nests:
            if nest.stage == stage and nest.shape == shape and nest.ends == ends:
                nest.sinks.append(sink)
                return
        nests.append(Nest(stage, shape, ends, [sink]))

    def sink_end(self, sink: Sink, dim: int) -> tuple | None:
        """What tells where a sink ends along a dim from where others do."""
        for v in self.roots(sink):
            axis = self.extent(v, dim)
            if axis is not None:
                return axis.start, axis.block, axis.bound
        return None

    def sink_shape(self, sink: Sink) -> tuple[int, ...]:
        if isinstance(sink, Distances):
            return tuple(
                d if i == sink.dim else 1 for i, d in enumerate(self.shape(sink.load.result))
            )
        if isinstance(sink, Thin):
            return self.shape(sink.dot.b)
        if isinstance(sink, SSAValue):
            return self.shape(sink)
        if isinstance(sink, tile.Store):
            shapes = [self.shape(v) for v in (*sink.subscripts, sink.value)]
            rank = max(map(len, shapes))
            return tuple(max(s[i] for s in shapes if s) for i in range(rank))
        return self.shape(sink.operands[0])

    def arranged(self, ops: list[Operation], nests: list[Nest]) -> list[Step]:
        """Scalars of a stage come first, then its nests, then dots and loops."""
        steps: list[tuple[int, int, int, Step]] = []
        for i, op in enumerate(ops):
            if isinstance(op, (tile.Store, tile.Return, scf.YieldOp)):
                continue
            if isinstance(op, (tile.Dot, scf.ForOp)):
                stage = max((self.level[v] for v in self.inputs(op, op.parent)), default=0)  # type: ignore[arg-type]
                steps.append((stage, 2, i, op))
            elif not any(map(self.is_tile, op.results)) and not (
                isinstance(op, (tile.Reduce, tile.ArgReduce)) and self.is_tile(op.input)
            ):
                steps.append((self.level[op.results[0]], 0, i, op))
        for i, nest in enumerate(nests):
            steps.append((nest.stage, 1, i, nest))
        return [step for *_, step in sorted(steps, key=lambda s: s[:3])]

    # ------------------------------------------------------------------ what a value is

    def direct(self, load: tile.Load) -> tuple[Dim, Dim] | None:
        """Strides of a load that a dot can read from memory itself; None if it can't."""
        if not load.only_ends():
            return None
        shape = self.shape(load.result)
        if len(shape) != 2:
            return None
        strides: list[Dim] = [0, 0]
        if self.panel(load, 0) is not None or self.panel(load, 1) is not None:
            return PANEL, 1
        for s, stride in zip(load.subscripts, load.strides, strict=True):
            if not self.is_tile(s):
                continue
            if not isinstance(s.owner, tile.Axis):
                return None
            strides[s.owner.dim] = strides[s.owner.dim] + stride
        return strides[0], strides[1]

    def is_thin(self, dot: tile.Dot) -> bool:
        """Whether a product has few rows and a right operand that nothing else needs computed."""
        left, right = self.loaded(dot.a), self.loaded(dot.b)
        if right is not None and (self.direct(right) is not None or self.places(dot) is not None):
            return False
        if left is None or self.panel(left, 0) is not None or self.direct(left) is None:
            return False
        if any(tile_element(v.type) != f32 for v in (dot.a, dot.b, dot.acc)):
            return False
        (rows, depth), (_, columns) = self.shape(dot.a), self.shape(dot.b)
        alone = len(list(dot.b.uses)) == 1 and not isinstance(dot.b.owner, (Block, *ENDS))
        return rows <= FEW_ROWS and depth > 1 and columns >= PANEL // 4 and alone

    def loaded(self, value: SSAValue) -> tile.Load | None:
        """The load that an operand of a dot is: as it stands, or with zeros beyond an end."""
        op = value.owner
        if isinstance(op, tile.Select) and self.is_zero(op.false):
            condition = op.condition
            while isinstance(condition.owner, tile.Broadcast):
                condition = condition.owner.input
            if isinstance(condition.owner, tile.InBounds):
                op = op.true.owner
        return op if isinstance(op, tile.Load) else None

    def places(self, dot: tile.Dot) -> tile.Load | None:
        """The right operand of a dot where it is read by lists of where rows and columns lie.

        That needs f32 and no masks but ends; it is done where the left operand lies in panels, and
        where the columns are not evenly spaced.
        """
        load, left = self.loaded(dot.b), self.loaded(dot.a)
        if load is None or tile_element(load.result.type) != f32 or load.by_dims() is None:
            return None
        if not load.only_ends():
            return None
        if len(self.shape(load.result)) != 2:
            return None
        packed = left is not None and self.panel(left, 0) is not None
        return load if packed or self.direct(load) is None else None

    def panel(self, load: tile.Load, dim: int) -> tuple[tile.Axis, tile.Axis, Dim] | None:
        """What a load takes from panels, and how far apart those are; None if it takes none.

        That is the axis along panels and the one across, which lies along `dim` of the tile. Of
        elements narrower than 32 bits, those of a group along lie side by side.
        """
        owners = [s.owner for s in load.subscripts]
        assert isinstance(load.buffer.type, tile.BufferType)
        group = max(32 // load.buffer.type.dtype.bits, 1)
        if load.offset[0] != 0 or len(owners) != (3 if group == 1 else 4):
            return None
        if load.strides[1:] != ((PANEL, 1) if group == 1 else (PANEL * group, group, 1)):
            return None
        column = self.parts(owners[0], owners[2], PANEL)
        row = owners[1] if group == 1 else self.parts(owners[1], owners[3], group)
        if not isinstance(column, tile.Axis) or not isinstance(row, tile.Axis):
            return None
        aligned = self.in_steps(column, PANEL) and (group == 1 or self.in_steps(row, 16 * group))
        return (row, column, load.strides[0]) if aligned and column.dim == dim else None

    def parts(self, outer: Operation | Block, inner: Operation | Block, of: int) -> object:
        """What two subscripts are the quotient and the remainder of."""
        if not isinstance(outer, arith.DivUIOp) or not isinstance(inner, arith.RemUIOp):
            return None
        same = outer.lhs is inner.lhs
        numbers = [self.size_of(op.rhs) for op in (outer, inner)]
        return outer.lhs.owner if same and numbers == [of, of] else None

    def in_steps(self, axis: tile.Axis, step: int) -> bool:
        """Whether each block of an axis begins a step."""
        block, bound = self.dim(axis.block[0]), bind(axis.bound[0], self.kernel.schedule)
        return block % step == 0 or (isinstance(bound, int) and bound <= block)
