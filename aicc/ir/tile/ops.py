"""Ops of the tile dialect: one kernel is one `tile.kernel`, run once for each point of its grid.

Arithmetic on tiles is `arith` and `math`, loops are `scf.for`; here stands what these lack.
`tile.cmp`, `tile.select` and `tile.cast` are among it since xDSL's `arith` has them for scalars
only, `tile.remf` since it lacks it.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import IndexType, IntegerType, i1
from xdsl.ir import Attribute
from xdsl.irdl import (
    operand_def,
    region_def,
    result_def,
    traits_def,
)
from xdsl.traits import IsolatedFromAbove, IsTerminator
from xdsl.utils.exceptions import VerifyException

from aicc.ir.graph.common import PURE, require
from aicc.ir.op import ANY, GraphOp, graph_op
from aicc.ir.params import DIMS, INTS, NUMBER, param
from aicc.ir.symbols import Dim, SymExpr
from aicc.ir.tile.types import (
    INDEX,
    SCHEDULE,
    BufferType,
    bind,
    broadcast_tiles,
    tile,
    tile_element,
    tile_shape,
    with_shape,
)
from aicc.ir.values import SymbolicValues


@graph_op
class Kernel(GraphOp):
    """A kernel: `body` runs for each point of `grid`, in any order or all at once.

    The block's arguments are buffers: inputs first, then outputs. Sizes in the body are symbols:
    those that `schedule` gives a value are schedule parameters, the others arguments of a launch
    (`sizes`). `work` (arithmetic operations) and `moved` (bytes of device memory)
    are of one launch. `origin` says what chose the schedule, `library`
    names a call that does the same and was measured to be faster. For chips whose memory is placed
    by hand: `queues`, the bytes of each of the two buffers of what is copied, `places`, the byte in
    the rest at which each tile begins, and `cubes`, how deep a block of each product is.
    """

    name = "tile.kernel"
    traits = traits_def(IsolatedFromAbove())
    body = region_def("single_block")
    sym_name: str = param(str)
    grid: tuple[Dim, ...] = param(DIMS)
    inputs: int = param(int)
    schedule: dict[str, int] = param(SCHEDULE)
    work: tuple[Dim, ...] = param(DIMS, default=())
    moved: tuple[Dim, ...] = param(DIMS, default=())
    origin: str = param(str, default="")
    library: str = param(str, default="", choices=("", "torch.mm", "cblas_sgemm"))
    queues: dict[str, int] = param(SCHEDULE, default={})
    places: dict[str, int] = param(SCHEDULE, default={})
    cubes: dict[str, int] = param(SCHEDULE, default={})

    def verify_(self) -> None:
        for arg in self.body.block.args:
            require(self, isinstance(arg.type, BufferType), f"argument {arg} is no buffer")
        require(self, isinstance(self.body.block.last_op, Return), "it must end in tile.return")
        good = self.sym_name.isidentifier() and self.sym_name.isascii()
        require(self, good, f"'{self.sym_name}' is no identifier")
        require(self, 0 <= self.inputs <= len(self.body.block.args), "more inputs than arguments")

    @property
    def sizes(self) -> list[str]:
        """Symbols that a launch must give, sorted."""
        found: set[str] = set()
        for d in self.grid:
            found |= d.symbols() if isinstance(d, SymExpr) else frozenset()
        for op in self.body.walk():
            for type in (r.type for r in op.results):
                found |= _symbols(tile_shape(type))
            if isinstance(op, GraphOp):
                for name, spec in op.PARAMS.items():
                    if spec.kind is DIMS and name in op.properties:
                        found |= _symbols(getattr(op, name))
        return sorted(found - self.schedule.keys())


def _symbols(dims: Sequence[Dim]) -> set[str]:
    return {s for d in dims if isinstance(d, SymExpr) for s in d.symbols()}


@graph_op
class Return(GraphOp):
    """Ends a kernel."""

    name = "tile.return"
    traits = traits_def(IsTerminator())


@graph_op
class ProgramId(GraphOp):
    """Where in the kernel's grid this program is, along `axis`."""

    name = "tile.program_id"
    traits = PURE
    result = result_def(ANY)
    axis: int = param(int)

    def infer(self, values: SymbolicValues) -> Sequence[Attribute]:  # type: ignore[override]
        return [INDEX]


@graph_op
class Size(GraphOp):
    """The value of an expression over sizes and schedule parameters."""

    name = "tile.size"
    traits = PURE
    result = result_def(ANY)
    value: tuple[Dim, ...] = param(DIMS)

    def infer(self, values: SymbolicValues) -> Sequence[Attribute]:  # type: ignore[override]
        return [INDEX]


@graph_op
class Axis(GraphOp):
    """`block` indices from `start` on, along dim `dim` of a tile of rank `rank`.

    Those that are not below `bound` lie outside: what is loaded or stored there is to be masked by
    `tile.in_bounds`.
    """

    name = "tile.axis"
    traits = PURE
    start = operand_def(ANY)
    result = result_def(ANY)
    block: tuple[Dim, ...] = param(DIMS)
    bound: tuple[Dim, ...] = param(DIMS)
    dim: int = param(int)
    rank: int = param(int)

    def infer(self, values: SymbolicValues) -> Sequence[Attribute]:  # type: ignore[override]
        require(self, 0 <= self.dim < self.rank <= 64, "dim or rank is out of range")
        shape: list[Dim] = [1] * self.rank
        shape[self.dim] = self.block[0]
        return [tile(shape, INDEX)]

    def is_exact(self, schedule: dict[str, int]) -> bool:
        """Whether every index is below the bound: the block divides it, and so does the start."""
        block, bound = bind(self.block[0], schedule), bind(self.bound[0], schedule)
        if block == 1:
            return bound != 0
        return isinstance(block, int) and isinstance(bound, int) and bound % block == 0


@graph_op
class InBounds(GraphOp):
    """Which indices of an axis are below its bound."""

    name = "tile.in_bounds"
    traits = PURE
    axis = operand_def(ANY)
    result = result_def(ANY)

    def infer(self, values: SymbolicValues) -> Sequence[Attribute]:  # type: ignore[override]
        require(self, isinstance(self.axis.owner, Axis), "the operand must be a tile.axis")
        return [tile(tile_shape(self.axis.type), i1)]


@graph_op
class Full(GraphOp):
    """A tile of one value."""

    name = "tile.full"
    traits = PURE
    result = result_def(ANY)
    value: int | float = param(NUMBER)


@graph_op
class Broadcast(GraphOp):
    """A tile repeated along its dims of 1."""

    name = "tile.broadcast"
    traits = PURE
    input = operand_def(ANY)
    result = result_def(ANY)

    def verify_(self) -> None:
        try:
            shape = broadcast_tiles(tile_shape(self.input.type), tile_shape(self.result.type))
        except ValueError as e:
            raise VerifyException(f"{self.name}: {e}") from None
        require(self, shape == tile_shape(self.result.type), "the result must be the larger")


@graph_op
class Transpose(GraphOp):
    """A tile with its dims permuted: dim i of the result is dim ``perm[i]`` of the operand."""

    name = "tile.transpose"
    traits = PURE
    input = operand_def(ANY)
    result = result_def(ANY)
    perm: tuple[int, ...] = param(INTS)

    def infer(self, values: SymbolicValues) -> Sequence[Attribute]:  # type: ignore[override]
        shape = tile_shape(self.input.type)
        require(self, sorted(self.perm) == list(range(len(shape))), "perm is no permutation")
        return [with_shape(self.input.type, [shape[i] for i in self.perm])]


@graph_op
class Reshape(GraphOp):
    """A tile with dims of 1 added or removed."""

    name = "tile.reshape"
    traits = PURE
    input = operand_def(ANY)
    result = result_def(ANY)

    def verify_(self) -> None:
        old, new = tile_shape(self.input.type), tile_shape(self.result.type)
        kept = [d for d in old if d != 1] == [d for d in new if d != 1]
        require(self, kept, f"{old} and {new} differ in more than dims of 1")


@graph_op
class Cast(GraphOp):
    """A tile with its elements converted, `unsigned` integers taken as such.

    Floats are rounded to nearest even and, on the way to integers, toward zero.
    """

    name = "tile.cast"
    traits = PURE
    input = operand_def(ANY)
    result = result_def(ANY)
    unsigned: bool = param(bool, default=False)

    def verify_(self) -> None:
        same = tile_shape(self.input.type) == tile_shape(self.result.type)
        require(self, same, "a cast keeps the shape")


PREDICATES = (
    *("oeq", "une", "olt", "ole", "ogt", "oge", "uno"),
    *("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge"),
)


@graph_op
class Cmp(GraphOp):
    """A comparison of elements: those of `arith.cmpf` first, then those of `arith.cmpi`."""

    name = "tile.cmp"
    traits = PURE
    x = operand_def(ANY)
    y = operand_def(ANY)
    result = result_def(ANY)
    predicate: str = param(str, choices=PREDICATES)

    def infer(self, values: SymbolicValues) -> Sequence[Attribute]:  # type: ignore[override]
        require(self, self.x.type == self.y.type, "both operands must have one type")
        floats = not isinstance(tile_element(self.x.type), (IntegerType, IndexType))
        fits = floats == (PREDICATES.index(self.predicate) < PREDICATES.index("eq"))
        require(self, fits, f"{self.predicate} doesn't compare {tile_element(self.x.type)}")
        return [tile(tile_shape(self.x.type), i1)]


@graph_op
class Select(GraphOp):
    """Elements of `true` where the condition holds, else of `false`."""

    name = "tile.select"
    traits = PURE
    condition = operand_def(ANY)
    true = operand_def(ANY)
    false = operand_def(ANY)
    result = result_def(ANY)

    def infer(self, values: SymbolicValues) -> Sequence[Attribute]:  # type: ignore[override]
        require(self, tile_element(self.condition.type) == i1, "the condition must be of i1")
        require(self, self.true.type == self.false.type, "both branches must have one type")
        same = tile_shape(self.condition.type) == tile_shape(self.true.type)
        require(self, same, "the condition must have the branches' shape")
        return [self.true.type]


@graph_op
class RemF(GraphOp):
    """The remainder of float division with the sign of the dividend: C's fmod, `arith.remf`."""

    name = "tile.remf"
    traits = PURE
    x = operand_def(ANY)
    y = operand_def(ANY)
    result = result_def(ANY)

    def infer(self, values: SymbolicValues) -> Sequence[Attribute]:  # type: ignore[override]
        require(self, self.x.type == self.y.type, "both operands must have one type")
        return [self.x.type]


REDUCTIONS = ("add", "mul", "max", "min", "or", "and")


@graph_op
class Reduce(GraphOp):
    """Elements combined along one dim, which becomes 1. `max` and `min` give NaN for NaN."""

    name = "tile.reduce"
    traits = PURE
    input = operand_def(ANY)
    result = result_def(ANY)
    kind: str = param(str, choices=REDUCTIONS)
    dim: int = param(int)

    def infer(self, values: SymbolicValues) -> Sequence[Attribute]:  # type: ignore[override]
        shape = list(tile_shape(self.input.type))
        require(self, 0 <= self.dim < len(shape), "dim is out of range")
        shape[self.dim] = 1
        return [with_shape(self.input.type, shape)]


@graph_op
class ArgReduce(GraphOp):
    """The greatest or least element along one dim and the index given beside it.

    NaN wins; among equals the least index does. Both results have 1 along the dim.
    """

    name = "tile.arg_reduce"
    traits = PURE
    input = operand_def(ANY)
    index = operand_def(ANY)
    value = result_def(ANY)
    at = result_def(ANY)
    kind: str = param(str, choices=("max", "min"))
    dim: int = param(int)

    def infer(self, values: SymbolicValues) -> Sequence[Attribute]:  # type: ignore[override]
        shape = list(tile_shape(self.input.type))
        require(self, tile_shape(self.index.type) == tuple(shape), "an index for each element")
        shape[self.dim] = 1
        return [with_shape(self.input.type, shape), with_shape(self.index.type, shape)]


PRECISIONS = ("ieee", "tf32")


@graph_op
class Dot(GraphOp):
    """``acc + a @ b`` of tiles ``[M, K]`` and ``[K, N]``, accumulated in the type of `acc`."""

    name = "tile.dot"
    traits = PURE
    a = operand_def(ANY)
    b = operand_def(ANY)
    acc = operand_def(ANY)
    result = result_def(ANY)
    precision: str = param(str, default="ieee", choices=PRECISIONS)

    def infer(self, values: SymbolicValues) -> Sequence[Attribute]:  # type: ignore[override]
        a, b, acc = (tile_shape(v.type) for v in (self.a, self.b, self.acc))
        fits = len(a) == len(b) == 2 and a[1] == b[0] and acc == (a[0], b[1])
        require(self, fits, f"tiles of {a}, {b} and {acc}")
        same = tile_element(self.a.type) == tile_element(self.b.type)
        require(self, same, "a and b must have one element type")
        return [self.acc.type]
