"""How far tiles of a kernel reach: their sizes, and the axes whose ends cut them short."""

from __future__ import annotations

from xdsl.dialects import scf
from xdsl.ir import Block, SSAValue

from aicc.ir.symbols import Dim
from aicc.ir.tile.ops import Axis, Broadcast, Dot, Full, InBounds, Kernel, Reshape, Size, Transpose
from aicc.ir.tile.types import bind, tile_shape


class UnknownSize(Exception):
    """A tile whose size the schedule doesn't say."""


class Extents:
    """Sizes of a kernel's tiles under its schedule, and which part of them counts.

    What was asked for is kept: the kernel and its schedule must stay as they are.
    """

    def __init__(self, kernel: Kernel):
        self.kernel = kernel
        self._schedule = kernel.schedule
        self._shapes: dict[SSAValue, tuple[int, ...]] = {}
        self._extents: dict[tuple[SSAValue, int], Axis | None] = {}

    def shape(self, value: SSAValue) -> tuple[int, ...]:
        if (found := self._shapes.get(value)) is None:
            found = tuple(self.dim(d) for d in tile_shape(value.type))
            self._shapes[value] = found
        return found

    def is_tile(self, value: SSAValue) -> bool:
        """Whether a value has more than one element."""
        return any(d != 1 for d in self.shape(value))

    def dim(self, d: Dim) -> int:
        bound = bind(d, self._schedule)
        if not isinstance(bound, int):
            raise UnknownSize(f"a tile of {d}")
        return bound

    @staticmethod
    def is_constant(value: SSAValue) -> bool:
        return isinstance(value.owner, Full)

    @staticmethod
    def is_zero(value: SSAValue) -> bool:
        return isinstance(value.owner, Full) and value.owner.value == 0

    def size_of(self, value: SSAValue) -> Dim | None:
        """The expression that a value is everywhere, if it is a size."""
        while isinstance(value.owner, (Broadcast, Reshape)):
            value = value.owner.input
        if isinstance(value.owner, Size):
            return bind(value.owner.value[0], self.kernel.schedule)
        if isinstance(value.owner, Full) and isinstance(value.owner.value, int):
            return value.owner.value
        return None

    def extent(self, value: SSAValue, dim: int) -> Axis | None:
        """The axis whose end cuts the tile short along a dim; None where all of it counts."""
        key = value, dim
        if key not in self._extents:
            self._extents[key] = self._extent(value, dim, set())
        return self._extents[key]

    def _extent(self, value: SSAValue, dim: int, seen: set[tuple[SSAValue, int]]):
        if (value, dim) in seen or not isinstance(value, SSAValue):
            return None
        seen.add((value, dim))
        shape = self.shape(value)
        if dim >= len(shape) or shape[dim] == 1:
            return None
        owner = value.owner
        if isinstance(owner, Block):
            return self._carried_extent(value, owner, dim, seen)
        if isinstance(owner, Axis):
            masked = any(isinstance(u.operation, InBounds) for u in owner.result.uses)
            return owner if masked and owner.dim == dim else None
        if isinstance(owner, scf.ForOp):
            i = owner.results.index(value)
            return self._carried_extent(owner.body.block.args[1 + i], owner.body.block, dim, seen)
        if isinstance(owner, Transpose):
            return self._extent(owner.input, owner.perm[dim], seen)
        if isinstance(owner, Reshape):
            kept = [i for i, d in enumerate(self.shape(owner.input)) if d != 1]
            place = [i for i, d in enumerate(shape) if d != 1].index(dim)
            return self._extent(owner.input, kept[place], seen)
        if isinstance(owner, Dot):
            sides = [(owner.a, 0) if dim == 0 else (owner.b, 1), (owner.acc, dim)]
        else:
            sides = [(v, dim) for v in owner.operands]
        for v, d in sides:
            if (found := self._extent(v, d, seen)) is not None:
                return found
        return None

    def _carried_extent(self, arg: SSAValue, block: Block, dim: int, seen):
        """That of what the loop makes of a carried tile, by an axis from outside the loop."""
        end = block.last_op
        if not isinstance(end, scf.YieldOp):
            return None
        i = block.args.index(arg) - 1  # type: ignore[arg-type]
        loop = block.parent_op()
        assert isinstance(loop, scf.ForOp)
        if not self.is_constant(loop.iter_args[i]):
            return None
        found = self._extent(end.operands[i], dim, seen)
        return found if found is not None and found.parent is not block else None
