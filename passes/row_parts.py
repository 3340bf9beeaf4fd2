"""In how many parts rows are reduced side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import DType
from aicc.ir.graph import Pad, ReduceMax, ReduceMin, ReduceProd
from aicc.ir.graph.reduce import ReduceOp
from aicc.ir.types import static_shape

COLUMNS = 32
"""Results that one program computes where they lie side by side in memory."""

MORE = 4
"""How many times as many parts as wanted are still good."""

KEPT = 32
"""A partial result stands for at least so many elements: few are written and read again."""


@dataclass(frozen=True)
class RowParts:
    """Parts for `programs` programs or more, each of `least` elements or more.

    Columns are summed one row after the other on some targets: `longest` is how many at most.
    """

    programs: int = 256
    least: int = 8192
    longest: int = 0

    def of(
        self, shape: tuple[int, ...], axes: tuple[int, ...], padded: bool = False
    ) -> tuple[int, int] | None:
        """Which of the axes that are reduced to split and in how many parts; None to split none.

        The parts divide the axis, or if none do and it may be `padded`, the last is shorter.
        """
        kept = [d for i, d in enumerate(shape) if i not in axes]
        length = math.prod(shape[a] for a in axes)
        columns = bool(kept) and len(shape) - 1 not in axes
        beside = min(kept[-1], COLUMNS) if columns else 1
        programs = math.prod(kept) // beside
        wanted = min(-(-self.programs // programs), length * beside // self.least)
        if columns and self.longest:
            wanted = max(wanted, length // self.longest)
        wanted = min(wanted, length // KEPT)
        if wanted < 2:
            return None
        for axis in sorted(axes):
            size = shape[axis]
            if wanted <= size <= MORE * wanted and size < length:
                return axis, size
            divisors = [d for d in range(2, MORE * wanted + 1) if size % d == 0 and d < length]
            if not divisors:
                continue
            best = min(divisors, key=lambda d: abs(math.log(d / wanted)))
            if best * MORE >= wanted:
                return axis, best
        longest = max(axes, key=lambda a: shape[a])
        return (longest, wanted) if padded and shape[longest] >= KEPT * wanted else None


def neutral_of(kind: type[ReduceOp], dtype: DType) -> float | int:
    """What changes nothing in a reduction."""
    if kind not in (ReduceMax, ReduceMin):
        return int(kind is ReduceProd)
    if dtype.is_float:
        return math.inf if kind is ReduceMin else -math.inf
    if dtype.kind == "bool":
        return int(kind is ReduceMin)
    limits = np.iinfo(dtype.np)
    return int(limits.max if kind is ReduceMin else limits.min)


def in_parts(
    b: GraphBuilder, x: SSAValue, axis: int, parts: int, neutral: float | int | None = None
) -> SSAValue:
    """`x` with an axis of the parts before that of a part's elements.

    The last part is filled up with `neutral` elements where they don't divide the axis.
    """
    shape = static_shape(x)
    assert shape is not None
    size = -(-shape[axis] // parts)
    if (more := size * parts - shape[axis]) > 0:
        assert neutral is not None
        low, high = [0] * len(shape), [more * (i == axis) for i in range(len(shape))]
        x = b.emit(Pad, x, b.scalar_like(neutral, x), low=low, high=high)
    return b.reshape(x, (*shape[:axis], parts, size, *shape[axis + 1 :]))
