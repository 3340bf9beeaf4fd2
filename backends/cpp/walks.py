"""Over which elements a nest goes, and along which dim it takes them in vectors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from xdsl.ir import Block, Operation, SSAValue

from aicc.backends.cpp.stages import Nest
from aicc.ir import tile
from aicc.ir.symbols import Dim
from aicc.ir.tile.types import bind

if TYPE_CHECKING:
    from aicc.backends.cpp.kernels import KernelPrinter

LONG_SEGMENT = 128
"""Segments of one length that are shorter are not worth it if they are more than they must be."""

Place = tuple[int | None, ...]
"""For each dim of a value the dim of the nest that walks through it; None where it has one."""


class Walk:
    """The dims of a nest: where each ends, which is the innermost and goes by vectors.

    That is the one along which most accesses lie contiguous. Where quotients and rests of the index
    along it occur, `segment` is that index and the number at whose multiples they jump; `even` is
    how long all segments are, where they are of one length.
    """

    def __init__(self, kernel: KernelPrinter, nest: Nest):
        self.kernel, self.nest = kernel, nest
        self.stages = kernel.stages
        self.linear: dict[tuple[SSAValue, Place], dict[int, Dim] | None] = {}
        self.axes = self.clipped_axes()
        dims = [d for d, size in enumerate(nest.shape) if size != 1]
        self.loose = True  # for the choice, an index that jumps now and then counts as linear
        self.vector = self.vector_dim(dims) if dims else None
        self.loose = False
        self.linear.clear()
        self.loops = [d for d in dims if d != self.vector]
        self.segment = self.segments()
        self.even = self.even_segments()

    def home(self) -> Place:
        return tuple(d if size != 1 else None for d, size in enumerate(self.nest.shape))

    def sink_places(self) -> list[tuple[SSAValue, Place]]:
        """The values that the nest needs, and their places."""
        found: list[tuple[SSAValue, Place]] = []
        for s in self.nest.sinks:
            found += [(v, self.place_of(v)) for v in self.stages.roots(s)]
        return found

    def place_of(self, value: SSAValue) -> Place:
        shape = self.stages.shape(value)
        return tuple(d if size != 1 else None for d, size in enumerate(shape))

    def clipped_axes(self) -> dict[int, tile.Axis]:
        """The axis whose end each dim of the nest goes to, where it isn't the block's own."""
        found: dict[int, tile.Axis] = {}
        for value, _ in self.sink_places():
            for d, size in enumerate(self.nest.shape):
                if size == 1 or d in found:
                    continue
                axis = self.stages.extent(value, d)
                if axis is not None and self.is_outside(axis):
                    found[d] = axis
        return found

    def is_outside(self, axis: tile.Axis) -> bool:
        """Whether the axis is known where the nest runs."""
        return axis.start in self.kernel.scalars

    def length(self, dim: int) -> str:
        if dim in self.axes:
            return self.kernel.count(self.axes[dim])
        return str(self.nest.shape[dim])

    def below(self) -> list[tuple[Operation, Place]]:
        """The ops that the nest computes, with the places of their results."""
        pending = self.sink_places()
        seen: set[tuple[SSAValue, Place]] = set()
        ops: list[tuple[Operation, Place]] = []
        while pending:
            value, place = pending.pop()
            if (value, place) in seen or not self.stages.is_tile(value):
                continue
            seen.add((value, place))
            if isinstance(value.owner, Block) or self.in_array(value):
                continue
            ops.append((value.owner, place))
            for v in value.owner.operands:
                if not isinstance(v.type, tile.BufferType):
                    pending.append((v, self.operand_place(value.owner, v, place)))
        return ops

    def operand_place(self, op: Operation, operand: SSAValue, place: Place) -> Place:
        shape = self.stages.shape(operand)
        if isinstance(op, tile.Transpose):
            moved: list[int | None] = [None] * len(shape)
            for i, p in enumerate(op.perm):
                moved[p] = place[i]
        elif isinstance(op, tile.Reshape):
            rest = [p for p, d in zip(place, self.stages.shape(op.result), strict=True) if d != 1]
            moved = [None if d == 1 else rest.pop(0) for d in shape]
        else:
            moved = list(place)
        return tuple(None if d == 1 else p for d, p in zip(shape, moved, strict=False))

    def in_array(self, value: SSAValue) -> bool:
        """Whether the value is read from its array here."""
        if value not in self.kernel.arrays:
            return False
        return value not in self.nest.sinks

    def vector_dim(self, dims: list[int]) -> int:
        """The dim to walk through in vectors: where most memory is contiguous."""
        score = {d: 0.01 * d for d in dims}
        for s in self.nest.sinks:
            if isinstance(s, tile.ArgReduce):
                score[s.dim] = 1e9
        accesses: list[tuple[tile.Access, Place]] = [
            (op, p) for op, p in self.below() if isinstance(op, tile.Load)
        ]
        accesses += [(s, self.home()) for s in self.nest.sinks if isinstance(s, tile.Store)]
        for op, place in accesses:
            steps = self.access_steps(op, place)
            for d in dims:
                step = None if steps is None else steps.get(d, 0)
                if step == 1:
                    score[d] += 2
                elif step != 0:
                    score[d] -= 1
        for place in self.array_places():
            for d in dims:
                score[d] += 1 if d == place[-1] else -0.5 if d in place else 0
        for d in dims:
            size = self.nest.shape[d]
            if d in self.axes and isinstance(bound := self.axes[d].bound[0], int):
                size = min(size, bound)
            if min(size, self.run_length(d)) < 8:
                score[d] -= 0.6 * len(accesses)
        return max(dims, key=lambda d: score[d])

    def array_places(self) -> list[Place]:
        """Places of what the nest reads from arrays."""
        found = set(self.sink_places())
        for op, place in self.below():
            for v in op.operands:
                if self.stages.is_tile(v):
                    found.add((v, self.operand_place(op, v, place)))
        return [place for value, place in found if place and self.in_array(value)]

    def access_steps(self, op: tile.Access, place: Place) -> dict[int, Dim] | None:
        """How far apart elements are along each dim; None where that isn't one number."""
        total: dict[int, Dim] = {}
        for s, stride in zip(op.subscripts, op.strides, strict=True):
            steps = self.steps_of(s, self.operand_place(op, s, place))
            if steps is None:
                return None
            for d, step in steps.items():
                total[d] = total.get(d, 0) + step * bind(stride, self.kernel.schedule)
        return total

    def steps_of(self, value: SSAValue, place: Place) -> dict[int, Dim] | None:
        """What an index grows by along each dim; None where it isn't linear in them."""
        key = (value, place)
        if key not in self.linear:
            self.linear[key] = self.find_steps(value, place)
        return self.linear[key]

    def find_steps(self, value: SSAValue, place: Place) -> dict[int, Dim] | None:
        if not self.stages.is_tile(value):
            return {}
        op = value.owner
        if isinstance(op, Block) or value in self.kernel.arrays:
            return None
        if isinstance(op, tile.Axis):
            dim = place[op.dim]
            return {dim: 1} if dim is not None else {}
        operands = [v for v in op.operands if not isinstance(v.type, tile.BufferType)]
        parts = [self.steps_of(v, self.operand_place(op, v, place)) for v in operands]
        if isinstance(op, (tile.Broadcast, tile.Reshape, tile.Transpose)):
            return parts[0]
        if any(p is None for p in parts):
            return None
        if self.loose and op.name in ("arith.divui", "arith.remui"):
            return parts[0] if op.name == "arith.remui" else {}
        if op.name in ("arith.addi", "arith.subi"):
            x, y = parts
            assert x is not None and y is not None
            sign = 1 if op.name == "arith.addi" else -1
            return {d: x.get(d, 0) + sign * y.get(d, 0) for d in {**x, **y}}
        if op.name == "arith.muli":
            for one, factor in ((0, 1), (1, 0)):
                size = self.stages.size_of(operands[factor])
                if not parts[factor] and size is not None:
                    return {d: s * size for d, s in (parts[one] or {}).items()}
        return {} if not any(parts) else None

    def segments(self) -> tuple[SSAValue, int] | None:
        """An index along the vector dim whose quotients and rests by multiples of a number occur.

        The loop is cut where the index passes a multiple of that number.
        """
        if self.vector is None:
            return None
        for root, numbers in self.divisors(self.vector).items():
            least = min(numbers)
            if least > 1 and all(n % least == 0 for n in numbers):
                return root, least
        return None

    def even_segments(self) -> int | None:
        if self.segment is None or self.vector is None:
            return None
        root, by = self.segment
        if not isinstance(root.owner, tile.Axis):
            return None
        length = self.nest.shape[self.vector]
        bound = bind(root.owner.bound[0], self.kernel.schedule)
        total = bound if self.vector in self.axes else length
        if not isinstance(total, int) or not isinstance(bound, int):
            return None
        found = min(total, by) if bound <= length else math.gcd(length, by)
        return found if total % found == 0 and found >= min(total, by, LONG_SEGMENT) else None

    def divisors(self, dim: int) -> dict[SSAValue, list[int]]:
        """Indices that grow along a dim, with the numbers that they are divided by."""
        found: dict[SSAValue, list[int]] = {}
        for op, place in self.below():
            if op.name not in ("arith.divui", "arith.remui"):
                continue
            root = self.stripped(op.operands[0])
            steps = self.steps_of(op.operands[0], self.operand_place(op, op.operands[0], place))
            by = self.stages.size_of(op.operands[1])
            if steps and steps.get(dim) == 1 and isinstance(by, int) and by > 0:
                found.setdefault(root, []).append(by)
        return found

    def run_length(self, dim: int) -> float:
        """How many elements along a dim lie before an index jumps."""
        numbers = [n for found in self.divisors(dim).values() for n in found if n > 1]
        return min(numbers, default=float("inf"))

    @staticmethod
    def stripped(value: SSAValue) -> SSAValue:
        while isinstance(value.owner, (tile.Broadcast, tile.Reshape)):
            value = value.owner.input
        return value
