"""Which pieces of device memory loads and stores go to: strips whose elements lie side by side.

A tile is copied strip by strip. Where its rows don't lie so, strips lie along another dim of it, or
reach from the first element of a row to the last, or one from the tile's first element to its last;
`Gather` then takes out the elements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from xdsl.ir import SSAValue

from aicc.backends.ascendc.locals import BLOCK, Local, row_dim, up
from aicc.backends.ascendc.spellings import SIZES, memory_type
from aicc.backends.ascendc.writer import Writer
from aicc.backends.c_text import bracketed, plus
from aicc.ir import tile
from aicc.ir.tile.types import bind

MOST_STAGED = 64 * 1024
"""Bytes of strips that a gathered tile may take."""

MOST_WHOLE = 16 * 1024
"""Bytes of a strip that has all of a tile."""

STRIP_BYTES = 1024
"""Bytes that could be copied in the time that it takes to begin a copy: an estimate."""


@dataclass(frozen=True)
class Strips:
    """Strips of an access: its dims in the order in which the tile has them, the last along them.

    `counts` says how many there are along each dim, the last one how long they are. Elements of a
    row are every `step` elements of what was copied; 1 says that these are the tile, and 0 that
    their distances follow no rule. What a mask says beyond where axes end: `guards` of other dims,
    under which strips are copied at all, and `checks` of that along them. Where a check is false an
    element is found `fill_at` elements from the beginning of its row's strip. A strip may be cut
    into `runs` of so many elements, with so many from one to the next. `whole` says that there is
    one strip, of all rows.
    """

    order: tuple[int, ...]
    shape: tuple[int, ...]
    counts: tuple[str, ...]
    step: int = 1
    guards: tuple[SSAValue, ...] = ()
    checks: tuple[SSAValue, ...] = ()
    fill_at: int = 0
    runs: tuple[int, int] | None = None
    whole: bool = False

    @property
    def is_tile(self) -> bool:
        """Whether what is copied are the rows of the tile."""
        return self.step == 1 and not self.whole


class StripPlans(Writer):
    """Finds the strips of loads and stores. `crowded` says that some would take too much room."""

    crowded = False

    @staticmethod
    def stored_type(op: tile.Access) -> str:
        """The element type in device memory."""
        assert isinstance(op.buffer.type, tile.BufferType)
        return memory_type(op.buffer.type.dtype)

    def access_shape(self, op: tile.Access) -> tuple[int, ...]:
        """The shape that an access goes over."""
        value = op.result if isinstance(op, tile.Load) else op.value  # type: ignore[attr-defined]
        shapes = [self.shape(v) for v in (*op.subscripts, value)]
        rank = max(map(len, shapes))
        return tuple(max(s[i] for s in shapes if s) for i in range(rank)) or (1,)

    def access_counts(self, op: tile.Access) -> list[str]:
        """How many elements of each dim an access goes to, by the ends that its mask says."""
        axes: dict[int, tile.Axis] = {}
        for c in op.conditions():
            if isinstance(c.owner, tile.InBounds) and isinstance(c.owner.axis.owner, tile.Axis):
                axes[c.owner.axis.owner.dim] = c.owner.axis.owner
        shape = self.access_shape(op)
        return [self.axis_count(axes[d]) if d in axes else str(n) for d, n in enumerate(shape)]

    def is_cut_by_ends(self, op: tile.Access) -> bool:
        """Whether masks say no more than where axes end."""
        return op.only_ends() and all(
            isinstance(c.owner.operands[0].owner, tile.Axis)  # type: ignore[union-attr]
            for c in op.conditions()
        )

    # ------------------------------------------------------------------ kinds of strips

    def rows_of(self, op: tile.Access) -> Strips | None:
        """Rows, where their elements lie side by side, or runs of them do."""
        shape = self.access_shape(op)
        last = row_dim(shape)
        if not self.is_cut_by_ends(op):
            return None
        step = self.address_step(op, last) if shape[last] != 1 else 1
        runs = self.runs_of(op, last, shape[last]) if step is None else None
        if step != 1 and runs is None:
            return None
        counts = self.access_counts(op)
        rows = shape[: last + 1], tuple(counts[: last + 1])
        return Strips(tuple(range(last + 1)), *rows, runs=runs)

    def runs_of(self, op: tile.Access, dim: int, block: int) -> tuple[int, int] | None:
        """How many elements lie side by side along a dim, and how far apart such runs are.

        Runs are whole blocks of the unified buffer, and the tile has whole runs.
        """
        distances = self.distances(op, dim)
        if distances is None or len(distances) < 2:
            return None
        jumps = np.flatnonzero(np.diff(distances) != 1)
        run = int(jumps[0]) + 1 if len(jumps) else len(distances)
        if block % run or len(distances) % run or run * SIZES[self.stored_type(op)] % BLOCK:
            return None
        apart = np.diff(distances[::run])
        inside = np.diff(distances.reshape(-1, run)) == 1
        if not inside.all() or len(set(apart.tolist())) > 1:
            return None
        return run, int(apart[0]) if len(apart) else run

    def strips_of(self, op: tile.Load) -> Strips | None:
        """The strips of a load; None where elements have to be loaded one by one."""
        if (rows := self.rows_of(op)) is not None:
            return rows
        if SIZES[self.stored_type(op)] not in (2, 4):
            return None
        if self.is_cut_by_ends(op):
            found = self.whole_of(op, self.columns_of(op) or self.windows_of(op))
        else:
            found = self.masked_of(op)
        if found is None:
            return None
        staged = Local("", self.stored_type(op), found.shape, self.grain)
        if staged.bytes > MOST_STAGED:
            self.crowded = True
            return None
        return found

    def columns_of(self, op: tile.Load) -> Strips | None:
        """Strips along another dim than the rows."""
        shape = self.access_shape(op)
        last = row_dim(shape)
        along = [d for d in range(last) if shape[d] != 1 and self.address_step(op, d) == 1]
        if not along or self.address_step(op, last) is None:
            return None
        side = max(along, key=lambda d: shape[d])
        order = (*(d for d in range(last) if d != side), last, side)
        counts = self.access_counts(op)
        pitch = Local("", self.stored_type(op), (shape[side],), self.grain).pitch
        return Strips(order, tuple(shape[d] for d in order), tuple(counts[d] for d in order), pitch)

    def windows_of(self, op: tile.Load) -> Strips | None:
        """Strips from the first element of a row to the last."""
        shape = self.access_shape(op)
        last = row_dim(shape)
        step, counts = self.address_step(op, last), self.access_counts(op)
        if isinstance(step, int) and step > 1:
            reach = (shape[last] - 1) * step + 1
            n = counts[last]
            length = str((int(n) - 1) * step + 1) if n.isdigit() else f"({n} - 1) * {step} + 1"
        else:
            distances = self.distances(op, last)
            if distances is None:
                return None
            step, reach = 0, reach_of(distances, shape[last])
            length = self.window_length(op, last, counts[last])
        order = tuple(range(last + 1))
        return Strips(order, (*shape[:last], reach), (*counts[:last], length), step)

    def whole_of(self, op: tile.Load, others: Strips | None) -> Strips | None:
        """One strip that all of a tile lies in, where it is copied sooner than other strips are."""
        shape, size = self.access_shape(op), SIZES[self.stored_type(op)]
        last, counts = row_dim(shape), self.access_counts(op)
        dims = [d for d in range(last + 1) if shape[d] != 1]
        spans = [self.distances(op, d) for d in dims]
        if len(dims) < 2 or any(s is None for s in spans):
            return others
        reach = 1 + sum(
            reach_of(s, shape[d]) - 1 for d, s in zip(dims, spans, strict=True) if s is not None
        )
        if others is not None:
            *rows, row = others.shape
            there = math.prod(rows) * (row * size + STRIP_BYTES)
            if there <= reach * size + STRIP_BYTES:
                return others
        if reach * size > MOST_WHOLE:
            return others
        length = plus(*(self.extent(op, d, counts[d]) for d in dims), "1")
        step = self.address_step(op, last)
        return Strips(
            (last,), (reach,), (length,), step if isinstance(step, int) else 0, whole=True
        )

    def masked_of(self, op: tile.Load) -> Strips | None:
        """Rows, or strips that have them, where a mask says of each dim what counts."""
        shape = self.access_shape(op)
        last, counts = row_dim(shape), self.access_counts(op)
        guards, checks = list[SSAValue](), list[SSAValue]()
        for c in op.conditions():
            if isinstance(c.owner, tile.InBounds) and isinstance(c.owner.axis.owner, tile.Axis):
                continue
            along = [d for d in range(len(shape)) if self.is_along(c, d, len(shape))]
            if len(along) > 1 or self.locals_below(c):
                return None
            (checks if along == [last] else guards).append(c)
        step = self.address_step(op, last)
        order = tuple(range(last + 1))
        if not checks and step == 1:
            rows = shape[: last + 1], tuple(counts[: last + 1])
            return Strips(order, *rows, guards=tuple(guards))
        if not checks and (columns := self.columns_of(op)) is not None:
            side = columns.order[-1]
            along_side = tuple(c for c in guards if self.is_along(c, side, len(shape)))
            others = tuple(c for c in guards if c not in along_side)
            return replace(columns, guards=others, checks=along_side)
        distances = self.distances(op, last)
        if distances is None:
            return None
        fill_at = up(reach_of(distances, shape[last]), self.grain)
        length = counts[last] if checks else self.window_length(op, last, counts[last])
        found = (*shape[:last], fill_at + self.grain), (*counts[:last], length)
        return Strips(order, *found, 0, tuple(guards), tuple(checks), fill_at)

    def is_along(self, value: SSAValue, dim: int, rank: int) -> bool:
        """Whether a value of fewer dims has more than one element along a dim."""
        own = (1,) * (rank - len(self.shape(value))) + self.shape(value)
        return own[dim] != 1

    def window_length(self, op: tile.Load, dim: int, count: str) -> str:
        """From the first of so many elements along a dim to the last, and both of them."""
        return f"{self.extent(op, dim, count)} + 1"

    def extent(self, op: tile.Load, dim: int, count: str) -> str:
        """How far the last of so many elements along a dim is from the first."""
        return self.apart(op, dim, f"{bracketed(count)} - 1")

    def apart(self, op: tile.Access, dim: int, index: str) -> str:
        """How far an element along a dim is from the tile's first."""
        if index == "0":
            return "0"
        step = self.address_step(op, dim)
        if isinstance(step, int):
            return index if step == 1 else f"{bracketed(index)} * {step}"
        first = bracketed(self.distance(op, dim, "0"))
        return f"{self.distance(op, dim, index)} - {first}"

    # ------------------------------------------------------------------ distances

    def along(self, op: tile.Access, dim: int) -> list[tuple[SSAValue, int]] | None:
        """The subscripts that vary along a dim, with strides that are known."""
        by_dims = op.by_dims()
        if by_dims is None or dim >= len(by_dims):
            return None
        found = []
        for value, stride in by_dims[dim]:
            shape = self.shape(value)
            bound = bind(stride, self.kernel.schedule)
            if shape and shape[dim] != 1:
                if not isinstance(bound, int):
                    return None
                found.append((value, bound))
        return found

    def distance(self, op: tile.Access, dim: int, index: str) -> str:
        """How far an element along a dim is from the beginning, as an expression."""
        terms = []
        for value, stride in self.along(op, dim) or ():
            at = [index if d == dim else "0" for d in range(len(self.shape(value)))]
            terms.append(f"{bracketed(self.text(value, at))} * {stride}")
        return plus(*terms) if terms else "0"

    def distances(self, op: tile.Access, dim: int) -> np.ndarray | None:
        """How far the elements of an axis are along a dim, where they are known and never fall."""
        found = self.along(op, dim)
        if not found:
            return None
        axes = {a for value, _ in found for a in op.axes(value)}
        bound = bind(next(iter(axes)).bound[0], self.kernel.schedule) if len(axes) == 1 else None
        if not isinstance(bound, int) or bound < 1:
            return None
        at, total = np.arange(bound), np.zeros(bound, np.int64)
        for value, stride in found:
            numbers = self.numbers(value, at)
            if numbers is None:
                return None
            total = total + numbers * stride
        return total if (np.diff(total) >= 0).all() else None

    def numbers(self, value: SSAValue, at: np.ndarray) -> np.ndarray | int | None:
        """An index at each element of the one axis that it is made of."""
        op = value.owner
        if isinstance(op, tile.Axis):
            return at
        if isinstance(size := self.extents.size_of(value), int):
            return size
        if isinstance(op, tile.Broadcast):
            return self.numbers(op.input, at)
        rule = RULES.get(getattr(op, "name", ""))
        parts = [self.numbers(v, at) for v in op.operands] if rule else []  # type: ignore[union-attr]
        return rule(*parts) if rule and all(p is not None for p in parts) else None


RULES = {
    "arith.addi": np.add,
    "arith.subi": np.subtract,
    "arith.muli": np.multiply,
    "arith.divui": np.floor_divide,
    "arith.remui": np.remainder,
    "arith.divsi": np.floor_divide,
    "arith.remsi": np.remainder,
}
"""Arithmetic of indices, which are never negative."""


def reach_of(distances: np.ndarray, block: int) -> int:
    """The most elements from the first of a block to its last, wherever it begins."""
    n = min(block, len(distances))
    return int((distances[n - 1 :] - distances[: len(distances) - n + 1]).max()) + 1


def joined(indices: Sequence[str], order: Sequence[int], rank: int) -> list[str]:
    """Indices in a tile's order as those of an access."""
    at = ["0"] * rank
    for d, i in zip(order, indices, strict=False):
        at[d] = i
    return at
